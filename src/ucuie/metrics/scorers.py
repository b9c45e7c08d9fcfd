"""The rules by which texts are scored: ours and those of published systems.

A scorer takes an example and the records predicted for its text and gives, for every row it reports, the
counts of each label. Counts of texts add up, so every text is scored alone. `SCORERS` holds them by name.

The published rules are those of the systems' own programs, mistakes included, because their published
numbers were made with them:

- UIE (Lu et al. 2022), `uie/extraction/scorer.py`
- InstructUIE (Wang et al. 2023): in a module of its own
- GoLLIE (Sainz et al. 2024), `src/tasks/utils_scorer.py`, `utils_typing.py`
- KnowCoder (Li et al. 2024), `eval/src/metric.py`, exact match with outliers filtered
- IEPile (Gui et al. 2024), `ie2instruction/eval/metric`

UIE scores opinions as relations; the others know none, and here do as UIE.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from ucuie.language.align import align
from ucuie.language.linearize import without_offsets
from ucuie.metrics.counts import (
    Element,
    LabelCounts,
    RowCounts,
    arguments,
    count_members,
    count_multiset,
    elements_by_row,
    elements_of_capability,
    mentions,
    span_key,
    text_key,
    whole_records,
)
from ucuie.metrics.instructuie import score_instructuie, score_instructuie_fixed
from ucuie.schema import CAPABILITIES, Capability, Example, Filler, Record

Scorer = Callable[[Example, Sequence[Record]], RowCounts]

_ROWS_OF_STRINGS = ("NER", "RE boundary", "ED", "EAE pooled", "ABSA", *CAPABILITIES)
_ROWS_OF_UIE = ("RE strict", *_ROWS_OF_STRINGS)


def score_offset(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """Ours: exact types and spans, each gold element matched once."""
    gold = elements_by_row(example.task, example.schema, example.records, span_key)
    found = elements_by_row(example.task, example.schema, predicted, span_key)
    return {row: count_multiset(gold[row], found[row]) for row in gold}


def score_capabilities(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """Judging, locating and associating, each apart; entities have nothing to associate."""
    capabilities: Sequence[Capability] = CAPABILITIES[:2] if example.task == "NER" else CAPABILITIES
    if example.task in CAPABILITIES:
        capabilities = [example.task]
    return {
        capability: count_multiset(
            elements_of_capability(capability, example.records, span_key),
            elements_of_capability(capability, predicted, span_key),
        )
        for capability in capabilities
    }


def score_uie_offset(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """UIE on offsets: the predicted strings are placed by `align`, whatever offsets they came with.

    UIE counts offsets in tokens, this in characters: a span that ends within a token differs only here.
    """
    placed = align([without_offsets(record) for record in predicted], example.text, example.schema)
    rows = score_offset(example, placed.records)
    return {row: counts for row, counts in rows.items() if row in _ROWS_OF_UIE}


def score_uie_string(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """UIE on strings: exact texts as multisets, arguments pooled over the events of a type."""
    return _score_strings(example, predicted, count_multiset, _ROWS_OF_UIE)


def score_iepile(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """IEPile: exact texts as multisets, arguments pooled over the events of a type."""
    return _score_strings(example, predicted, count_multiset, _ROWS_OF_STRINGS)


def score_knowcoder_em(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """KnowCoder: exact texts; of a repeated prediction every copy is a match.

    What is not in the text or the schema is removed first: an argument alone, a relation altogether.
    """
    kept = (_within(example, record) for record in predicted)
    return _score_strings(
        example, [record for record in kept if record is not None], count_members, _ROWS_OF_STRINGS
    )


def _score_strings(
    example: Example,
    predicted: Sequence[Record],
    count: Callable[[Iterable[Element], Iterable[Element]], LabelCounts],
    rows: Sequence[str],
) -> RowCounts:
    gold = elements_by_row(example.task, example.schema, example.records, text_key)
    found = elements_by_row(example.task, example.schema, predicted, text_key)
    return {row: count(gold[row], found[row]) for row in gold if row in rows}


def _within(example: Example, record: Record) -> Record | None:
    """The record without arguments outside the text or schema, if the record itself is within."""
    if record.frame not in example.schema:
        return None
    slot_names = example.schema[record.frame].slot_names
    slots = tuple(
        filled
        for filled in record.slots
        if filled.slot in slot_names and (filled.filler is None or filled.filler.text in example.text)
    )
    if record.filler is None:
        return record if len(slots) == len(record.slots) else None
    return record.model_copy(update={"slots": slots}) if record.filler.text in example.text else None


def score_gollie(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """GoLLIE: strings as multisets, entities in lower case, arguments only under a matched event.

    Its partial matches of triggers on CASIE are not followed.
    """
    gold, found = example.records, without_hallucinations(example.text, predicted)
    match example.task:
        case "NER":
            return {"NER": count_multiset(mentions(gold, _lower_key), mentions(found, _lower_key))}
        case "EE":
            return {
                "ED": count_multiset(mentions(gold, text_key), mentions(found, text_key)),
                "EAE linked": count_multiset(_arguments_by_event(gold), _arguments_by_event(found)),
            }
        case task:
            row = "RE boundary" if task == "RE" else task
    return {row: count_multiset(whole_records(gold, text_key), whole_records(found, text_key))}


def without_hallucinations(text: str, predicted: Iterable[Record]) -> list[Record]:
    """The predictions that are in the lower-cased text, arguments apart, relations as a whole.

    Of frames with the same filler, whatever their types, no more than the text has occurrences.
    """
    text = text.lower()
    num_seen: Counter[str] = Counter()
    kept = []
    for record in predicted:
        slots = tuple(
            filled for filled in record.slots if filled.filler is None or filled.filler.text.lower() in text
        )
        if record.filler is None:
            if slots == record.slots:
                kept.append(record)
            continue
        mention = record.filler.text.lower()
        num_seen[mention] += 1
        if num_seen[mention] <= text.count(mention):
            kept.append(record.model_copy(update={"slots": slots}))
    return kept


def _arguments_by_event(records: Iterable[Record]) -> Iterator[Element]:
    """Arguments under their event; the k-th event of a type and trigger meets the k-th such gold event."""
    num_seen: Counter[Hashable] = Counter()
    for record in records:
        event = tuple(mentions([record], text_key))
        for label, argument in arguments([record], text_key):
            yield label, (event, num_seen[event], argument)
        num_seen[event] += 1


def _lower_key(filler: Filler) -> Hashable:
    return filler.text.lower().strip()


SCORERS: Mapping[str, Scorer] = MappingProxyType(
    {
        "offset": score_offset,
        "capabilities": score_capabilities,
        "uie-offset": score_uie_offset,
        "uie-string": score_uie_string,
        "instructuie": score_instructuie,
        "instructuie-fixed": score_instructuie_fixed,
        "knowcoder-em": score_knowcoder_em,
        "gollie": score_gollie,
        "iepile": score_iepile,
    }
)
"""Every scorer by name; `offset` is the default."""
