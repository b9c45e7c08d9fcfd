"""Relations and opinions between marked words: RelationPrompt, FewRel, DocRED, SemEval; ASTE and ACOS."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, chain, product
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault, Readings, relation, tuple_record
from ucuie.data.readers.items import ReaderOptions, TokenOptions, reader_of, reason_of
from ucuie.data.sources import read_blocks, read_json, read_json_items, read_lines
from ucuie.data.tokens import JoinedTokens, join_tokens, record_of_indices
from ucuie.errors import DataError, show
from ucuie.schema import Record, Span


def read_relation_prompt(paths: Sequence[Path], options: TokenOptions) -> Readings:
    """A draft for each `{"triplets": [{"tokens", "head": [indices], "tail": [indices], "label"}, ...]}`.

    The labels offered are those of the file, which is one seed's selection of unseen relations. A head
    or tail whose tokens are not contiguous fills its slot with each piece; an empty one has no text
    and its triplet is left out.
    """
    for path in paths:
        readings = list(_read_prompts([path], options))
        drafts = [reading for reading in readings if isinstance(reading, Draft)]
        offered = tuple(sorted({label for draft in drafts for label in draft.offered or ()}))
        for reading in readings:
            yield replace(reading, offered=offered) if isinstance(reading, Draft) else reading


@reader_of(read_json_items)
def _read_prompts(place: str, item: dict[str, Any], options: TokenOptions) -> Draft:
    triplets = item["triplets"]
    joined = join_tokens(triplets[0]["tokens"], options.spacing)
    complete = [triplet for triplet in triplets if triplet["head"] and triplet["tail"]]
    return Draft(
        place,
        joined.text,
        tuple(_relation(joined, triplet["label"], triplet["head"], triplet["tail"]) for triplet in complete),
        offered=tuple(triplet["label"] for triplet in triplets),
        changes=("triplet without head or tail left out",) * (len(triplets) - len(complete)),
    )


def _instances(path: Path) -> Iterator[tuple[str, Any] | Fault]:
    relations = read_json(path)
    if not isinstance(relations, dict):
        raise DataError(str(path), ["it holds no object of relations with their instances"])
    for label, instances in relations.items():
        if not isinstance(instances, list):
            yield Fault(f"{path.name} {label}", "no list of instances")
            continue
        for number, instance in enumerate(instances, start=1):
            yield f"{path.name} {label} {number}", (label, instance)


@reader_of(_instances)
def read_fewrel(place: str, labelled: tuple[str, dict[str, Any]], options: TokenOptions) -> Draft:
    """A draft for each instance of `{relation: [{"tokens", "h": [name, id, [[indices]]], "t"}, ...]}`."""
    label, instance = labelled
    joined = join_tokens(instance["tokens"], options.spacing)
    return Draft(place, joined.text, (_relation(joined, label, instance["h"][2][0], instance["t"][2][0]),))


def _relation(joined: JoinedTokens, label: str, head: Sequence[int], tail: Sequence[int]) -> Record:
    return record_of_indices(label, joined, [("subject", head), ("object", tail)])


@reader_of(read_json_items)
def read_docred(place: str, document: dict[str, Any], options: TokenOptions) -> Draft:
    """A draft for each document, all its sentences one text, whose entities have several mentions.

    A relation becomes one record, between the two mentions that stand nearest to each other.
    """
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
    records = (
        relation(one["r"], joined.text, *_nearest(entities[one["h"]], entities[one["t"]]))
        for one in document["labels"]
    )
    return Draft(place, joined.text, tuple(records))


def _nearest(subjects: Sequence[Span], objects: Sequence[Span]) -> tuple[Span, Span]:
    return min(product(subjects, objects), key=lambda pair: (abs(pair[0][0] - pair[1][0]), pair))


_MARKED = re.compile(r"^(.*?)<e1>(.*?)</e1>(.*?)<e2>(.*?)</e2>(.*)$", re.DOTALL)
_LABEL = re.compile(r"^([^(]+)(?:\((e[12]),e[12]\))?$")


class SemevalOptions(ReaderOptions):
    """The sentences of the file that are read.

    Args:
        ids: name of a list of sentence numbers in the second file; None takes every sentence.
    """

    ids: str | None = None


def read_semeval(paths: Sequence[Path], options: SemevalOptions) -> Readings:
    """A draft for each sentence of SemEval-2010 task 8 with its one relation, in blocks of four lines.

        1<TAB>"The <e1>child</e1> was wrapped into the <e2>cradle</e2>."
        Entity-Destination(e1,e2)
        Comment: ...

    `(e2,e1)` means that e2 is the subject. Marks may stand inside a word, so removing them adds no blank.
    """
    path, *others = paths
    wanted = None if options.ids is None else _wanted(others[0], options.ids)
    missing = set(wanted or ())
    for (place, first), *rest in read_blocks(path):
        sentence_id, tab, sentence = first.strip().partition("\t")
        if not tab or not sentence_id.isdigit() or not rest:
            yield Fault(place, "not a block of number TAB sentence, relation, comment")
        elif wanted is None or int(sentence_id) in wanted:
            missing.discard(int(sentence_id))
            yield _draft(place, sentence.strip().removeprefix('"').removesuffix('"'), rest[0][1].strip())
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


@reader_of(read_lines)
def read_aste(place: str, line: str, options: TokenOptions) -> Draft:
    """A draft for each line `The bread is good .####[([1], [3], 'POS')]`, which lists every token of a span.

    An opinion is a frame of its polarity with slots aspect and opinion.
    """
    sentence, mark, triplets = line.rpartition("####")
    if not mark:
        raise ValueError("no #### between sentence and triplets")
    # One blank is the separator: the indices count empty tokens too.
    joined = join_tokens(sentence.split(" "), options.spacing)
    try:
        records = tuple(
            record_of_indices(polarity, joined, [("aspect", aspect), ("opinion", opinion)])
            for aspect, opinion, polarity in ast.literal_eval(triplets)
        )
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"triplets cannot be read: {reason_of(error)}") from None
    return Draft(place, joined.text, records)


@reader_of(read_lines)
def read_acos(place: str, line: str, options: TokenOptions) -> Draft:
    """A draft for each line `the bread is good .<TAB>1,2 FOOD#QUALITY 2 3,4`, with records as in ASTE.

    Ranges are half-open, -1,-1 is an implicit aspect or opinion. The category is left out, so two quadruples
    may give the same record.
    """
    sentence, *quadruples = line.split("\t")
    joined = join_tokens(sentence.split(" "), options.spacing)
    try:
        records = tuple(_quadruple(joined, quadruple) for quadruple in quadruples)
    except ValueError as error:
        raise ValueError(f"quadruples cannot be read: {reason_of(error)}") from None
    return Draft(place, joined.text, records)


def _quadruple(joined: JoinedTokens, quadruple: str) -> Record:
    aspect, _, polarity, opinion = quadruple.split(" ")
    slots = []
    for slot, piece in (("aspect", aspect), ("opinion", opinion)):
        start, end = map(int, piece.split(","))
        if start >= 0:
            slots.append((slot, joined.span(start, end)))
    return tuple_record(polarity, joined.text, slots)
