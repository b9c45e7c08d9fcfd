"""brat standoff: `name.txt` with the text, `name.ann` with T (span), R (relation) and E (event) lines.

brat allows no blanks in names, so a blank is written as an underscore. A text span may consist of
pieces (`T1<TAB>Drug 0 5;10 12`); each is a span of its own here, unless only white space is between them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ucuie.data.draft import Draft, Fault, Readings, event
from ucuie.data.formats.graph import Graph, GraphOptions, Link, Node, graph_of, records_of, spans_of, task_of
from ucuie.data.readers.items import reason_of
from ucuie.data.sources import read_lines, read_text
from ucuie.errors import show
from ucuie.schema import Example, Record, Span, Task

CONFIGURATION = "annotation.conf"
_NUMBER = re.compile(r"(?<=[^\W\d_])[0-9]+\Z")
"""Of a role that an event has more than once: Theme, Theme2."""
_LEFT_OUT = frozenset("AMN#*")
"""First letters of attributes, normalisations, notes and equivalences."""


def read_brat(paths: Sequence[Path], options: GraphOptions) -> Readings:
    """A draft for each text file; a folder stands for all of its texts."""
    for path in paths:
        folder = path if path.is_dir() else path.parent
        for text_path in sorted(path.glob("**/*.txt")) if path.is_dir() else [path]:
            yield _draft(text_path, folder, options)
        for annotation in sorted(path.glob("**/*.ann")):
            if not annotation.with_suffix(".txt").exists():
                yield Fault(annotation.relative_to(folder).as_posix(), "there is no .txt file beside it")


class _Event(NamedTuple):
    """An E line; its trigger is a span, an argument a role with a span or another event."""

    label: str
    trigger: str
    arguments: list[tuple[str, str]]


@dataclass
class _Annotation:
    """The lines of an .ann file so far."""

    text: str
    nodes: list[Node] = field(default_factory=list)
    relations: list[Link] = field(default_factory=list)
    events: dict[str, _Event] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    identifiers: set[str] = field(default_factory=set)

    def add(self, line: str) -> None:
        """Takes a line in.

        Raises:
            ValueError: it is malformed, or its words do not stand in the text.
        """
        identifier, *columns = line.split("\t")
        if identifier[:1] in _LEFT_OUT:
            self.changes.append(f"{identifier[:1]} line left out")
            return
        if identifier[:1] not in frozenset("TER"):
            raise ValueError(f"{show(identifier)} is no T, R or E with a number")
        if not columns:
            raise ValueError(f"{show(line)} has no tab")
        if identifier in self.identifiers:
            raise ValueError(f"{identifier} stands twice")
        self.identifiers.add(identifier)
        if identifier.startswith("T"):
            self.nodes += _nodes(self.text, identifier, columns, self.changes)
            return
        first, *parts = columns[0].split()
        if any(columns[1:]):
            raise ValueError(f"{show(columns[1])} stands after the arguments")
        if identifier.startswith("R"):
            if len(parts) != 2:
                raise ValueError(f"{show(columns[0])} is no relation with two arguments")
            (role, source), (other, target) = map(_role_of, parts)
            if (role, other) == ("Arg2", "Arg1"):
                source, target = target, source
            self.relations.append(Link(_with_blanks(first), source, target))
        else:
            label, trigger = _role_of(first)
            arguments = [
                (_with_blanks(_NUMBER.sub("", role)), target) for role, target in map(_role_of, parts)
            ]
            self.events[identifier] = _Event(_with_blanks(label), trigger, arguments)

    def records(self, task: Task) -> tuple[Record, ...]:
        """The records that the lines stand for in a task.

        Raises:
            ValueError: they name a span or an event that is not there.
        """
        triggers = {identifier: one.trigger for identifier, one in self.events.items()}
        if task == "EE":
            self.changes += ["R line left out"] * len(self.relations)
            spans = spans_of(self.nodes)
            return tuple(self._event(one, spans, triggers) for one in self.events.values())
        of_events = (
            Link(role, one.trigger, target) for one in self.events.values() for role, target in one.arguments
        )
        links = [
            Link(one.label, triggers.get(one.source, one.source), triggers.get(one.target, one.target))
            for one in (*self.relations, *of_events)
        ]
        return records_of(self.text, self.nodes, links, task)

    def _event(self, found: _Event, spans: Mapping[str, list[Span]], triggers: Mapping[str, str]) -> Record:
        trigger, *others = _found(spans, found.trigger)
        self.changes += ["trigger of several pieces cut to the first"] * bool(others)
        slots = [
            (role, span)
            for role, target in found.arguments
            for span in _found(spans, triggers.get(target, target))
        ]
        return event(found.label, self.text, trigger, slots)


def _found(spans: Mapping[str, list[Span]], identifier: str) -> list[Span]:
    if identifier not in spans:
        raise ValueError(f"an event names {show(identifier)}, which is no span")
    return spans[identifier]


def _role_of(part: str) -> tuple[str, str]:
    role, colon, target = part.partition(":")
    if not (role and colon and target):
        raise ValueError(f"{show(part)} is no role and target such as Agent:T1")
    return role, target


def _draft(text_path: Path, folder: Path, options: GraphOptions) -> Draft | Fault:
    annotation_path = text_path.with_suffix(".ann")
    place = annotation_path.relative_to(folder)
    text = read_text(text_path, encoding="utf-8")  # brat counts a byte order mark
    annotation = _Annotation(text)
    if not annotation_path.exists():
        annotation.changes.append("text without an .ann file")
    else:
        for line_place, line in read_lines(annotation_path):
            try:
                if line.strip():
                    annotation.add(line)
            except (LookupError, ValueError) as error:
                return Fault(place.with_name(line_place).as_posix(), reason_of(error))
    try:
        records = annotation.records(options.task)
    except (LookupError, ValueError) as error:
        return Fault(place.as_posix(), reason_of(error))
    return Draft(text_path.relative_to(folder).as_posix(), text, records, changes=tuple(annotation.changes))


def _nodes(text: str, identifier: str, columns: Sequence[str], changes: list[str]) -> list[Node]:
    """The spans of a T line: `Label 0 5;10 12<TAB>words`."""
    label, _, ranges = columns[0].partition(" ")
    try:
        pieces = [(int(start), int(end)) for start, end in (piece.split() for piece in ranges.split(";"))]
    except ValueError:
        raise ValueError(f"{show(columns[0])} is no label with start and end") from None
    words, said = " ".join(text[slice(*piece)] for piece in pieces), "\t".join(columns[1:])
    if len(columns) > 1 and _one_line(words) != _one_line(said):
        raise ValueError(f"{identifier} says {show(said)}, the text there is {show(words)}")
    spans = pieces[:1]
    for start, end in pieces[1:]:
        last = spans[-1]
        if last[1] <= start and not text[last[1] : start].strip():  # a line end divides spans of brat
            spans[-1] = last[0], end
        else:
            spans.append((start, end))
    if len(spans) > 1:
        changes.append("span of several pieces split into them")
    return [Node(identifier, _with_blanks(label), span) for span in spans]


def write_brat(examples: Iterable[Example], folder: Path) -> Iterator[list[str]]:
    """Writes a .txt and an .ann file for each example, and brat's own list of the labels."""
    labels: set[str] = set()
    for number, example in enumerate(examples, start=1):
        graph = graph_of(example, has_events=True)
        (folder / f"{number:06}.txt").write_text(example.text, encoding="utf-8", newline="")
        lines = _lines(example, graph)
        (folder / f"{number:06}.ann").write_text("".join(lines), encoding="utf-8", newline="\n")
        labels |= {_with_underscores(node.label or "") for node in graph.nodes}
        yield graph.lost + _lost_names(graph)
    lines = ["[entities]", *sorted(labels), "[relations]", "[events]", "[attributes]"]
    (folder / CONFIGURATION).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _lines(example: Example, graph: Graph) -> list[str]:
    """The lines of an .ann file."""
    lines = []
    events: dict[str, str] = {}
    for node in graph.nodes:
        label = _with_underscores(node.label or "")
        start, end = node.span
        lines.append(f"{node.id}\t{label} {start} {end}\t{_one_line(example.text[start:end])}\n")
        if node.id in graph.own and task_of(example) == "EE":
            events[node.id] = f"{label}:{node.id}"
    relations = []
    for link in graph.links:
        label = _with_underscores(link.label)
        if link.source in events:
            events[link.source] += f" {label}:{link.target}"
        else:
            relations.append(f"{label} Arg1:{link.source} Arg2:{link.target}")
    lines += [f"R{number}\t{relation}\n" for number, relation in enumerate(relations, start=1)]
    return lines + [f"E{number}\t{one}\n" for number, one in enumerate(events.values(), start=1)]


def _lost_names(graph: Graph) -> list[str]:
    """A loss for each name that brat gives back otherwise; roles lose the number at their end."""
    roles = {link.label for link in graph.links if link.source in graph.own}
    names = {*(link.label for link in graph.links), *(node.label or "" for node in graph.nodes)}
    written = {name: _with_underscores(name) for name in names}
    back = {name: _NUMBER.sub("", written[name]) if name in roles else written[name] for name in names}
    return ["name written otherwise"] * sum(_with_blanks(back[name]).strip() != name for name in names)


def _one_line(words: str) -> str:
    return re.sub(r"\s", " ", words)


def _with_underscores(name: str) -> str:
    written = re.sub(r"\s", "_", name).replace(":", "-")
    return written if written.strip("_") else "-"


def _with_blanks(name: str) -> str:
    return name.replace("_", " ")
