"""Opinions marked by token indices: ASTE triplets and ACOS quadruples, one text per line.

    ASTE: The bread is good .####[([1], [3], 'POS')]
    ACOS: the bread is good .<TAB>1,2 FOOD#QUALITY 2 3,4

An opinion is a frame of its polarity with slots aspect and opinion.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from ucuie.data.draft import Draft, Fault, tuple_record
from ucuie.data.readers.items import TokenOptions, reason_of
from ucuie.data.sources import read_lines
from ucuie.data.tokens import JoinedTokens, join_tokens, record_of_indices
from ucuie.schema import Record


def read_aste(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each line of triplets; each lists every token of its aspect and its opinion."""
    for path in paths:
        for number, line in read_lines(path):
            place = f"{path.name} line {number}"
            sentence, mark, triplets = line.rpartition("####")
            if not mark:
                yield Fault(place, "no #### between sentence and triplets")
                continue
            # One blank is the separator: the indices count empty tokens too.
            joined = join_tokens(sentence.split(" "), options.spacing)
            try:
                records = tuple(_triplet(joined, triplet) for triplet in ast.literal_eval(triplets))
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
                yield Fault(place, f"triplets cannot be read: {reason_of(error)}")
                continue
            yield Draft(place, joined.text, records)


def _triplet(joined: JoinedTokens, triplet: tuple[list[int], list[int], str]) -> Record:
    aspect, opinion, polarity = triplet
    return record_of_indices(polarity, joined, [("aspect", aspect), ("opinion", opinion)])


def read_acos(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each line of quadruples; ranges are half-open, -1,-1 is an implicit aspect or opinion.

    The category is left out, so two quadruples may give the same record.
    """
    for path in paths:
        for number, line in read_lines(path):
            place = f"{path.name} line {number}"
            sentence, *quadruples = line.split("\t")
            joined = join_tokens(sentence.split(" "), options.spacing)
            try:
                records = tuple(_quadruple(joined, quadruple) for quadruple in quadruples)
            except ValueError as error:
                yield Fault(place, f"quadruples cannot be read: {reason_of(error)}")
                continue
            yield Draft(place, joined.text, records)


def _quadruple(joined: JoinedTokens, quadruple: str) -> Record:
    aspect, _, polarity, opinion = quadruple.split(" ")
    slots = []
    for slot, piece in (("aspect", aspect), ("opinion", opinion)):
        start, end = map(int, piece.split(","))
        if start >= 0:
            slots.append((slot, joined.span(start, end)))
    return tuple_record(polarity, joined.text, slots)
