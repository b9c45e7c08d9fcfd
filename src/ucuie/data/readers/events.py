"""Events with their arguments, in the JSON of DuEE, MAVEN, RAMS, PHEE and CASIE."""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ucuie.data.draft import Draft, Fault, Readings, checked_span, event
from ucuie.data.readers.items import ReaderOptions, TokenOptions, drafts_of, reader_of, reason_of
from ucuie.data.sources import archive_members, read_json, read_json_items
from ucuie.data.tokens import join_tokens
from ucuie.errors import DataError
from ucuie.schema import Record, Span, Split

_RAMS_ROLE = re.compile(r"evt\d+arg\d+(\w+)$")
_PHEE_ROLES = ("Subject", "Treatment", "Effect")
_ATTRIBUTES = ("Negated", "Speculated", "Severity")


@reader_of(read_json_items)
def read_duee(place: str, item: dict[str, Any], options: ReaderOptions) -> Draft:
    """A draft for each text of DuEE, whose triggers and arguments are strings with their start."""
    text = item["text"]

    def span(mention: dict[str, Any], key: str) -> Span:
        return checked_span(text, mention[f"{key}_start_index"], mention[key])

    records = []
    for found in item["event_list"]:
        slots = [(one["role"], span(one, "argument")) for one in found["arguments"]]
        records.append(event(found["event_type"], text, span(found, "trigger"), slots))
    return Draft(place, text, tuple(records))


@reader_of(read_json_items)
def read_maven(place: str, document: dict[str, Any], options: TokenOptions) -> Iterator[Draft]:
    """A draft for each sentence of MAVEN-like JSON lines; entity ids end with their token range."""
    joined = [join_tokens(sentence["tokens"], options.spacing) for sentence in document["content"]]
    records: list[list[Record]] = [[] for _ in joined]
    for kind in document["events"]:
        for mention in kind["mention"]:
            sentence = joined[mention["sent_id"]]
            slots = []
            for argument in mention["arguments"]:
                start, end = map(int, argument["entity_id"].split("_")[-2:])
                slots.append((argument["role"], sentence.span(start, end)))
            trigger = sentence.span(*mention["offset"])
            records[mention["sent_id"]].append(event(kind["type"], sentence.text, trigger, slots))
    for sentence, found in zip(joined, records, strict=True):
        yield Draft(place, sentence.text, tuple(found))


@reader_of(read_json_items)
def read_rams(place: str, window: dict[str, Any], options: TokenOptions) -> Draft:
    """A draft for each window of five sentences around an event; token ranges END INCLUSIVE.

    The links of some copies point at the head word of an argument; `ent_spans` has the whole of it. The
    role is what follows the argument number: `evt043arg01communicator`.
    """
    joined = join_tokens(list(chain.from_iterable(window["sentences"])), options.spacing)
    slots = []
    for first, last, roles in window["ent_spans"]:
        for role, _ in roles:
            match = _RAMS_ROLE.match(role)
            if match is None:
                raise ValueError(f"no role in {role!r}")
            slots.append((match[1], joined.span(first, last + 1)))
    records = [
        event(label, joined.text, joined.span(first, last + 1), slots)
        for first, last, labels in window["evt_triggers"]
        for label, _ in labels
    ]
    return Draft(place, joined.text, tuple(records))


@reader_of(read_json_items)
def read_phee(place: str, sentence: dict[str, Any], options: ReaderOptions) -> Draft:
    """A draft for each sentence of PHEE, its events with all arguments and sub-arguments.

    Every argument lists its entities, every entity the pieces of text it consists of. A piece is one filler
    of its slot, so that all fillers stand in the text as they are; a main argument of two pieces gives the
    slot twice. Slots are named `Treatment` or `Treatment.Drug`. Attributes are no roles and stay out.
    """
    text = sentence["context"]
    changes: list[str] = []
    records = []
    for annotation in sentence["annotations"]:
        for found in annotation["events"]:
            changes += [f"attribute {name} left out" for name in _ATTRIBUTES if name in found]
            trigger = _pieces(text, found["Trigger"], changes)[0]
            slots = [
                (slot, span)
                for role in _PHEE_ROLES
                if role in found
                for slot, argument in _arguments(role, found[role])
                for span in _pieces(text, argument, changes)
            ]
            records.append(event(found["event_type"], text, trigger, dict.fromkeys(slots)))
    return Draft(place, text, tuple(records), changes=tuple(changes))


def _arguments(role: str, argument: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The argument and, below it, its sub-arguments with the name of the slot each fills."""
    yield role, argument
    for name, value in argument.items():
        if name == "Combination":  # drugs given together, in an event of their own
            for combination in value:
                yield f"{role}.Combination", combination["Drug"]
        elif isinstance(value, dict):
            yield f"{role}.{name}", value


def _pieces(text: str, argument: dict[str, Any], changes: list[str]) -> list[Span]:
    spans = []
    for pieces, starts in zip(argument["text"], argument["start"], strict=True):
        spans += [checked_span(text, start, piece) for piece, start in zip(pieces, starts, strict=True)]
        if len(pieces) > 1:
            changes.append("discontinuous argument split into its pieces")
    return spans


_LEFT_OUT = frozenset({"999", "10001", "10002"})
_ARTICLES: dict[Split, slice] = {"test": slice(200), "validation": slice(200, 300), "train": slice(300, None)}
_SENTENCE_BORDER = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"”’')]))\s+(?=[\"“‘'(\[]*[A-Z0-9])")
_MAX_SHIFT = 2


class CasieOptions(ReaderOptions):
    """Says which articles of the archive are read."""

    split: Literal["train", "validation", "test"]


def read_casie(paths: Sequence[Path], options: CasieOptions) -> Readings:
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
        yield from drafts_of(member.name, article, options, _drafts)


def _drafts(place: str, article: dict[str, Any], options: CasieOptions) -> Iterator[Draft]:
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
