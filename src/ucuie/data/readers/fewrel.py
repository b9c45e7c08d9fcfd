"""Single relations between marked tokens: RelationPrompt (FewRel, Wiki-ZSL) and FewRel's own JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault, contiguous_pieces, tuple_record
from ucuie.data.readers.items import TokenOptions, read_items, reason_of
from ucuie.data.sources import read_json
from ucuie.data.tokens import JoinedTokens, join_tokens
from ucuie.errors import DataError
from ucuie.schema import Record


def read_relation_prompt(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each `{"triplets": [{"tokens", "head": [indices], "tail": [indices], "label"}, ...]}`.

    The labels offered are those of the file, which is one seed's selection of unseen relations. A head
    or tail whose tokens are not contiguous fills its slot with each piece; an empty one has no text
    and its triplet is left out.
    """
    for path in paths:
        readings = list(read_items([path], lambda place, item: _prompt_draft(place, item, options)))
        drafts = [reading for reading in readings if isinstance(reading, Draft)]
        offered = tuple(sorted({label for draft in drafts for label in draft.offered or ()}))
        for reading in readings:
            yield replace(reading, offered=offered) if isinstance(reading, Draft) else reading


def _prompt_draft(place: str, item: dict[str, Any], options: TokenOptions) -> Draft:
    triplets = item["triplets"]
    joined = join_tokens(triplets[0]["tokens"], options.spacing)
    complete = [triplet for triplet in triplets if triplet["head"] and triplet["tail"]]
    records = tuple(
        _record(joined, triplet["label"], triplet["head"], triplet["tail"]) for triplet in complete
    )
    return Draft(
        place,
        joined.text,
        records,
        offered=tuple(triplet["label"] for triplet in triplets),
        changes=("triplet without head or tail left out",) * (len(triplets) - len(complete)),
    )


def read_fewrel(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each instance of `{relation: [{"tokens", "h": [name, id, [[indices]]], "t"}, ...]}`.

    Raises:
        DataError: a file holds something else.
    """
    for path in paths:
        relations = read_json(path)
        if not isinstance(relations, dict):
            raise DataError(str(path), ["it holds no object of relations with their instances"])
        for label, instances in relations.items():
            if not isinstance(instances, list):
                yield Fault(f"{path.name} {label}", "no list of instances")
                continue
            for number, instance in enumerate(instances, start=1):
                place = f"{path.name} {label} {number}"
                try:
                    joined = join_tokens(instance["tokens"], options.spacing)
                    record = _record(joined, label, instance["h"][2][0], instance["t"][2][0])
                except (LookupError, TypeError, ValueError, AttributeError) as error:
                    yield Fault(place, reason_of(error))
                    continue
                yield Draft(place, joined.text, (record,))


def _record(joined: JoinedTokens, label: str, head: Sequence[int], tail: Sequence[int]) -> Record:
    slots = [
        (slot, joined.span(*piece))
        for slot, indices in (("subject", head), ("object", tail))
        for piece in contiguous_pieces(indices)
    ]
    return tuple_record(label, joined.text, slots)
