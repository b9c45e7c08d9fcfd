"""CASIE: cybersecurity articles with events, cut into the sentences that hold one.

The copy of the article inside the annotation (`content`) is the text that offsets count in, but some
are off by one or two: they are repaired by the annotated string. An argument outside the sentence of
its trigger is left out. Splits are those of UIE and InstructUIE: articles sorted from the newest, the
first 200 for test, the next 100 for validation, the rest for training; three articles are left out.
"""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from ucuie.data.draft import Draft, Fault, event
from ucuie.data.readers.items import ReaderOptions, drafts_of, reason_of
from ucuie.data.sources import archive_members, read_json
from ucuie.errors import DataError
from ucuie.schema import Span, Split

_LEFT_OUT = frozenset({"999", "10001", "10002"})
_ARTICLES: dict[Split, slice] = {"test": slice(200), "validation": slice(200, 300), "train": slice(300, None)}
_SENTENCE_BORDER = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"”’')]))\s+(?=[\"“‘'(\[]*[A-Z0-9])")
_MAX_SHIFT = 2


class CasieOptions(ReaderOptions):
    """Which articles of the archive."""

    split: Literal["train", "validation", "test"]


def read_casie(paths: Sequence[Path], options: CasieOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence with an event.

    An article without a readable date belongs to no split: it is a fault of every one.
    """
    articles: list[tuple[tuple[str, int], Path, dict[str, Any]]] = []
    for member in (member for path in paths for member in archive_members(path, ".json")):
        if member.stem in _LEFT_OUT:
            continue
        try:
            article = read_json(member)
            articles.append(((str(article["info"]["date"]), int(member.stem)), member, article))
        except DataError as error:
            yield Fault(member.name, "; ".join(error.faults))
        except (LookupError, TypeError, ValueError) as error:
            yield Fault(member.name, reason_of(error))
    articles.sort(key=lambda one: one[0], reverse=True)
    for _, member, article in articles[_ARTICLES[options.split]]:
        yield from drafts_of(member.name, article, _drafts)


def _drafts(place: str, article: dict[str, Any]) -> Iterator[Draft | Fault]:
    text = article["content"]
    starts = [0, *(border.end() for border in _SENTENCE_BORDER.finditer(text))]
    ends = [*starts[1:], len(text)]
    events: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for hopper in article["cyberevent"]["hopper"]:
        for found in hopper["events"]:
            events[bisect_right(starts, found["nugget"]["startOffset"]) - 1].append(found)
    for index in sorted(events):
        sentence = text[starts[index] : ends[index]].rstrip()
        changes: Counter[str] = Counter()
        records = []
        for found in events[index]:
            trigger = _repaired(text, found["nugget"], starts[index], sentence, changes)
            if trigger is None:
                changes["event whose trigger is not found left out"] += 1
                continue
            arguments = [
                (argument["role"]["type"], _repaired(text, argument, starts[index], sentence, changes))
                for argument in found.get("argument", [])
            ]
            slots = [(role, span) for role, span in arguments if span is not None]
            changes["argument in another sentence left out"] += len(arguments) - len(slots)
            records.append(event(found["subtype"], sentence, trigger, slots))
        yield Draft(
            f"{place} sentence {index + 1}", sentence, tuple(records), changes=tuple(changes.elements())
        )


def _repaired(
    text: str, mention: dict[str, Any], sentence_start: int, sentence: str, changes: Counter[str]
) -> Span | None:
    """The range of a mention in its sentence; None where it lies outside."""
    start, string = mention["startOffset"], mention["text"]
    shifts = sorted(range(-_MAX_SHIFT, _MAX_SHIFT + 1), key=abs)
    shift = next((shift for shift in shifts if text.startswith(string, max(start + shift, 0))), None)
    if shift is None:
        changes["mention not found at its offset left out"] += 1
        return None
    changes["offset repaired"] += bool(shift)
    start += shift - sentence_start
    end = start + len(string)
    return (start, end) if start >= 0 and end <= len(sentence) else None
