"""SemEval-2010 task 8: two marked nominals and their relation, in blocks of four lines.

    1<TAB>"The <e1>child</e1> was wrapped into the <e2>cradle</e2>."
    Entity-Destination(e1,e2)
    Comment: ...

`(e2,e1)` means that e2 is the subject. Marks may stand inside a word, so removing them adds no blank.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from ucuie.data.draft import Draft, Fault, tuple_record
from ucuie.data.readers.items import ReaderOptions
from ucuie.data.sources import read_json, read_lines
from ucuie.errors import DataError, show

_MARKED = re.compile(r"^(.*?)<e1>(.*?)</e1>(.*?)<e2>(.*?)</e2>(.*)$", re.DOTALL)
_LABEL = re.compile(r"^([^(]+)(?:\((e[12]),e[12]\))?$")


class SemevalOptions(ReaderOptions):
    """Which sentences of the file.

    Args:
        ids: name of a list of sentence numbers in the second file; None takes every sentence.
    """

    ids: str | None = None


def read_semeval(paths: Sequence[Path], options: SemevalOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence with its one relation."""
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
    """The sentence numbers of a split.

    Raises:
        DataError: the file has no such list of numbers.
    """
    splits = read_json(path)
    identifiers = splits.get(name) if isinstance(splits, dict) else None
    if not isinstance(identifiers, list) or not all(isinstance(one, int) for one in identifiers):
        raise DataError(str(path), [f"no list of sentence numbers {show(name)} is in it"])
    return set(identifiers)


def _draft(place: str, sentence: str, relation: str) -> Draft | Fault:
    marked, label = _MARKED.match(sentence), _LABEL.match(relation)
    if marked is None or label is None:
        return Fault(place, f"no <e1> and <e2>, or no relation in {relation!r}")
    before, first, between, second, after = marked.groups()
    start, other_start = len(before), len(before) + len(first) + len(between)
    spans = [(start, start + len(first)), (other_start, other_start + len(second))]
    if label[2] == "e2":
        spans.reverse()
    text = before + first + between + second + after
    return Draft(place, text, (tuple_record(label[1], text, zip(("subject", "object"), spans, strict=True)),))
