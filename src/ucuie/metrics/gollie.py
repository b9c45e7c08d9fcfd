"""GoLLIE's rules (Sainz et al. 2024; `src/tasks/utils_scorer.py`, `utils_typing.py` of its repository).

Strings as multisets, entities in lower case, arguments only under a matched event. Its partial matches of
triggers on CASIE are not followed.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence

from ucuie.metrics.counts import Element, RowCounts, count_multiset
from ucuie.metrics.elements import arguments, mentions, text_key, whole_records
from ucuie.schema import Example, Filler, Record


def score_gollie(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """GoLLIE: strings as multisets, entities in lower case, arguments only under a matched event."""
    gold, found = example.records, without_hallucinations(example.text, predicted)
    match example.task:
        case "NER":
            return {"NER": count_multiset(mentions(gold, _lower_key), mentions(found, _lower_key))}
        case "EE":
            return {
                "ED": count_multiset(mentions(gold, text_key), mentions(found, text_key)),
                "EAE linked": count_multiset(_arguments_by_event(gold), _arguments_by_event(found)),
            }
        case "RE":
            row = "RE boundary"
        case other:
            row = other
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
