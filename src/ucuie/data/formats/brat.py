"""brat standoff: `name.txt` with the text, `name.ann` with T (span), R (relation) and E (event) lines.

brat allows no blanks in names, so a blank is written as an underscore. A text span may consist of
pieces (`T1<TAB>Drug 0 5;10 12`); each piece is a span of its own here.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ucuie.data.draft import Draft, Fault, Readings
from ucuie.data.formats.annotation_tools import GraphOptions, Link, Node, graph_of, records_of
from ucuie.data.readers.items import reason_of
from ucuie.data.sources import read_lines, read_text
from ucuie.errors import show
from ucuie.schema import Example, Span

CONFIGURATION = "annotation.conf"
_NUMBER = re.compile(r"\d+$")


def read_brat(paths: Sequence[Path], options: GraphOptions) -> Readings:
    """A draft for each text file; a folder stands for all of its texts."""
    for path in paths:
        folder = path if path.is_dir() else path.parent
        for text_path in sorted(path.glob("**/*.txt")) if path.is_dir() else [path]:
            yield _draft(text_path, folder, options)
        for annotation in sorted(path.glob("**/*.ann")):
            if not annotation.with_suffix(".txt").exists():
                yield Fault(annotation.relative_to(folder).as_posix(), "there is no .txt file beside it")


@dataclass
class _Annotation:
    """The lines of an .ann file so far."""

    text: str
    nodes: list[Node] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    """Those of events lead from an event, or to one, where `triggers` has it."""
    triggers: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Takes a line in.

        Raises:
            ValueError: it is malformed, or its words do not stand in the text.
        """
        identifier, *columns = line.split("\t")
        if identifier[:1] in "TER" and not columns:
            raise ValueError(f"{show(line)} has no tab")
        if identifier.startswith("T"):
            self.nodes += _nodes(self.text, identifier, columns, self.changes)
        elif identifier.startswith("R"):
            parts = columns[0].split()
            if len(parts) != 3:
                raise ValueError(f"{show(columns[0])} is no relation with two arguments")
            source, target = (part.partition(":")[2] for part in parts[1:])
            self.links.append(Link(_with_blanks(parts[0]), source, target))
        elif identifier.startswith("E"):
            (_, trigger), *arguments = (_role_of(part) for part in columns[0].split())
            self.triggers[identifier] = trigger
            self.links += [
                Link(_with_blanks(_NUMBER.sub("", role)), identifier, target) for role, target in arguments
            ]
        else:
            self.changes.append(f"{identifier[:1]} line left out")


def _role_of(part: str) -> tuple[str, str]:
    role, colon, target = part.partition(":")
    if not (role and colon and target):
        raise ValueError(f"{show(part)} is no role and target such as Agent:T1")
    return role, target


def _draft(text_path: Path, folder: Path, options: GraphOptions) -> Draft | Fault:
    annotation_path = text_path.with_suffix(".ann")
    place = annotation_path.relative_to(folder)
    text = read_text(text_path)
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
    nodes, triggers = annotation.nodes, annotation.triggers
    links = [
        Link(one.label, triggers.get(one.source, one.source), triggers.get(one.target, one.target))
        for one in annotation.links
    ]
    if options.task == "EE":
        wanted = {*triggers.values(), *(link.target for link in links)}
        nodes = [node for node in nodes if node.id in wanted]
    try:
        records = records_of(text, nodes, links, options.task)
    except (LookupError, ValueError) as error:
        return Fault(place.as_posix(), reason_of(error))
    return Draft(text_path.relative_to(folder).as_posix(), text, records, changes=tuple(annotation.changes))


def _nodes(text: str, identifier: str, columns: Sequence[str], changes: list[str]) -> list[Node]:
    """The spans of a T line: `Label 0 5;10 12<TAB>words`."""
    label, _, ranges = columns[0].partition(" ")
    try:
        spans = [(int(start), int(end)) for start, end in (piece.split() for piece in ranges.split(";"))]
    except ValueError:
        raise ValueError(f"{show(columns[0])} is no label with start and end") from None
    if len(spans) > 1:
        changes.append("span of several pieces split into them")
    elif len(columns) > 1 and _one_line(text, spans[0]) != columns[1]:
        actual = text[slice(*spans[0])]
        raise ValueError(f"{identifier} says {show(columns[1])}, the text there is {show(actual)}")
    return [Node(identifier, _with_blanks(label), span) for span in spans]


def write_brat(examples: Iterable[Example], folder: Path) -> Iterator[list[str]]:
    """Writes a .txt and an .ann file for each example, and brat's own list of the labels."""
    labels: set[str] = set()
    for number, example in enumerate(examples, start=1):
        annotation, lost = _annotation(example)
        (folder / f"{number:06}.txt").write_text(example.text, encoding="utf-8", newline="")
        (folder / f"{number:06}.ann").write_text(annotation, encoding="utf-8", newline="\n")
        labels |= {line.split("\t")[1].split(" ")[0] for line in annotation.splitlines() if line[0] == "T"}
        yield lost
    lines = ["[entities]", *sorted(labels), "[relations]", "[events]", "[attributes]"]
    (folder / CONFIGURATION).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _annotation(example: Example) -> tuple[str, list[str]]:
    """The lines of an .ann file, and what they cannot hold."""
    graph = graph_of(example.records)
    lost = list(graph.lost)
    names = {node.label for node in graph.nodes} | {link.label for link in graph.links}
    lost += ["underscore of a name" for name in names if "_" in name]
    lines = []
    for node in graph.nodes:
        start, end = node.span
        words = _one_line(example.text, node.span)
        lines.append(f"{node.id}\t{_with_underscores(node.label)} {start} {end}\t{words}")
    if example.task == "EE":
        arguments = {link.target for link in graph.links}
        triggers = [node for node in graph.nodes if node.id not in arguments]
        for number, trigger in enumerate(triggers, start=1):
            parts = [f"{_with_underscores(trigger.label)}:{trigger.id}"]
            parts += [
                f"{_with_underscores(link.label)}:{link.target}"
                for link in graph.links
                if link.source == trigger.id
            ]
            lines.append(f"E{number}\t{' '.join(parts)}")
    else:
        lines += [
            f"R{number}\t{_with_underscores(link.label)} Arg1:{link.source} Arg2:{link.target}"
            for number, link in enumerate(graph.links, start=1)
        ]
    return "".join(f"{line}\n" for line in lines), lost


def _one_line(text: str, span: Span) -> str:
    return text[slice(*span)].replace("\n", " ")


def _with_underscores(name: str) -> str:
    return name.replace(" ", "_")


def _with_blanks(name: str) -> str:
    return name.replace("_", " ")
