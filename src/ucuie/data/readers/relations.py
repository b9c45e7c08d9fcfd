"""Relations between marked words: RelationPrompt (FewRel, Wiki-ZSL), FewRel's own JSON, DocRED, SemEval."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, chain, groupby, product
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault, relation
from ucuie.data.readers.items import ReaderOptions, TokenOptions, drafts_of, read_items
from ucuie.data.sources import read_json, read_lines
from ucuie.data.tokens import JoinedTokens, join_tokens, record_of_indices
from ucuie.errors import DataError, show
from ucuie.schema import Record, Span


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
    """A draft for each instance of `{relation: [{"tokens", "h": [name, id, [[indices]]], "t"}, ...]}`."""

    def draft(place: str, instance: dict[str, Any]) -> Draft:
        joined = join_tokens(instance["tokens"], options.spacing)
        return Draft(place, joined.text, (_record(joined, label, instance["h"][2][0], instance["t"][2][0]),))

    for path in paths:
        relations = read_json(path)
        if not isinstance(relations, dict):
            raise DataError(str(path), ["it holds no object of relations with their instances"])
        for label, instances in relations.items():
            if not isinstance(instances, list):
                yield Fault(f"{path.name} {label}", "no list of instances")
                continue
            for number, instance in enumerate(instances, start=1):
                yield from drafts_of(f"{path.name} {label} {number}", instance, draft)


def _record(joined: JoinedTokens, label: str, head: Sequence[int], tail: Sequence[int]) -> Record:
    return record_of_indices(label, joined, [("subject", head), ("object", tail)])


def read_docred(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each document, all its sentences one text, whose entities have several mentions.

    A relation becomes one record, between the two mentions that stand nearest to each other.
    """

    def draft(place: str, document: dict[str, Any]) -> Draft:
        sentences = document["sents"]
        joined = join_tokens(list(chain.from_iterable(sentences)), options.spacing)
        starts = [0, *accumulate(map(len, sentences))]
        entities = [
            [
                joined.span(*(starts[mention["sent_id"]] + place for place in mention["pos"]))
                for mention in mentions
            ]
            for mentions in document["vertexSet"]
        ]
        records = []
        for label in document["labels"]:
            pair = _nearest(entities[label["h"]], entities[label["t"]])
            records.append(relation(label["r"], joined.text, *pair))
        return Draft(place, joined.text, tuple(records))

    return read_items(paths, draft)


def _nearest(subjects: Sequence[Span], objects: Sequence[Span]) -> tuple[Span, Span]:
    return min(product(subjects, objects), key=lambda pair: (abs(pair[0][0] - pair[1][0]), pair))


_MARKED = re.compile(r"^(.*?)<e1>(.*?)</e1>(.*?)<e2>(.*?)</e2>(.*)$", re.DOTALL)
_LABEL = re.compile(r"^([^(]+)(?:\((e[12]),e[12]\))?$")


class SemevalOptions(ReaderOptions):
    """Which sentences of the file.

    Args:
        ids: name of a list of sentence numbers in the second file; None takes every sentence.
    """

    ids: str | None = None


def read_semeval(paths: Sequence[Path], options: SemevalOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence of SemEval-2010 task 8 with its one relation, in blocks of four lines.

        1<TAB>"The <e1>child</e1> was wrapped into the <e2>cradle</e2>."
        Entity-Destination(e1,e2)
        Comment: ...

    `(e2,e1)` means that e2 is the subject. Marks may stand inside a word, so removing them adds no blank.
    """
    path, *others = paths
    wanted = None if options.ids is None else _wanted(others[0], options.ids)
    missing = set(wanted or ())
    lines = ((number, line.strip()) for number, line in read_lines(path))
    for has_text, block in groupby(lines, key=lambda line: bool(line[1])):
        if not has_text:
            continue
        (number, first), *rest = block
        place = f"{path.name} line {number}"
        sentence_id, tab, sentence = first.partition("\t")
        if not tab or not sentence_id.isdigit() or not rest:
            yield Fault(place, "not a block of number TAB sentence, relation, comment")
        elif wanted is None or int(sentence_id) in wanted:
            missing.discard(int(sentence_id))
            yield _draft(place, sentence.strip().removeprefix('"').removesuffix('"'), rest[0][1])
    for identifier in sorted(missing):
        yield Fault(path.name, f"there is no sentence {identifier}")


def _wanted(path: Path, name: str) -> set[int]:
    """The sentence numbers of a split."""
    splits = read_json(path)
    identifiers = splits.get(name) if isinstance(splits, dict) else None
    if not isinstance(identifiers, list) or not all(isinstance(one, int) for one in identifiers):
        raise DataError(str(path), [f"no list of sentence numbers {show(name)} is in it"])
    return set(identifiers)


def _draft(place: str, sentence: str, named: str) -> Draft | Fault:
    marked, label = _MARKED.match(sentence), _LABEL.match(named)
    if marked is None or label is None:
        return Fault(place, f"no <e1> and <e2>, or no relation in {named!r}")
    before, first, between, second, after = marked.groups()
    start, other_start = len(before), len(before) + len(first) + len(between)
    spans = [(start, start + len(first)), (other_start, other_start + len(second))]
    if label[2] == "e2":
        spans.reverse()
    text = before + first + between + second + after
    return Draft(place, text, (relation(label[1], text, *spans),))
