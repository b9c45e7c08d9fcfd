"""brat standoff: `name.txt` with the text, `name.ann` with T (span), R (relation) and E (event) lines.

brat allows no blanks in names, so a blank is written as an underscore. A text span may consist of
pieces (`T1<TAB>Drug 0 5;10 12`); each piece is a span of its own here.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ucuie.data.draft import Draft, Fault
from ucuie.data.formats.graph import GraphOptions, Link, Node, graph_of, records_of
from ucuie.data.readers.items import reason_of
from ucuie.data.sources import read_lines, read_text
from ucuie.errors import show
from ucuie.schema import Example, Span

_NUMBER = re.compile(r"\d+$")


def read_brat(paths: Sequence[Path], options: GraphOptions) -> Iterator[Draft | Fault]:
    """A draft for each text file; a folder stands for all of its texts."""
    for path in paths:
        for text_path in sorted(path.glob("**/*.txt")) if path.is_dir() else [path]:
            try:
                yield _draft(text_path, options)
            except (LookupError, ValueError) as error:
                yield Fault(text_path.with_suffix(".ann").name, reason_of(error))


def _draft(text_path: Path, options: GraphOptions) -> Draft:
    text = read_text(text_path)
    annotation = text_path.with_suffix(".ann")
    lines = [line.split("\t") for _, line in read_lines(annotation)] if annotation.exists() else []
    nodes: list[Node] = []
    changes: list[str] = []
    for identifier, *columns in lines:
        if identifier.startswith("T"):
            nodes += _nodes(text, identifier, columns, changes)
        elif not identifier.startswith(("R", "E")):
            changes.append(f"{identifier[:1]} line left out")
    events = {
        identifier: [part.split(":") for part in columns[0].split()]
        for identifier, *columns in lines
        if identifier.startswith("E")
    }
    relations = [columns[0].split() for identifier, *columns in lines if identifier.startswith("R")]
    triggers = {identifier: parts[0][1] for identifier, parts in events.items()}
    links = [
        Link(_with_blanks(label), source.partition(":")[2], target.partition(":")[2])
        for label, source, target in relations
    ]
    links += [
        Link(_with_blanks(_NUMBER.sub("", role)), triggers[identifier], triggers.get(target, target))
        for identifier, (_, *arguments) in events.items()
        for role, target in arguments
    ]
    if options.task == "EE":
        wanted = {*triggers.values(), *(link.target for link in links)}
        nodes = [node for node in nodes if node.id in wanted]
    return Draft(text_path.name, text, records_of(text, nodes, links, options.task), changes=tuple(changes))


def _nodes(text: str, identifier: str, columns: Sequence[str], changes: list[str]) -> list[Node]:
    """The spans of a T line: `Label 0 5;10 12<TAB>words`."""
    label, _, ranges = columns[0].partition(" ")
    spans = [(int(start), int(end)) for start, end in (piece.split() for piece in ranges.split(";"))]
    if len(spans) > 1:
        changes.append("span of several pieces split into them")
    elif len(columns) > 1 and _one_line(text, spans[0]) != columns[1]:
        actual = text[slice(*spans[0])]
        raise ValueError(f"{identifier} says {show(columns[1])}, the text there is {show(actual)}")
    return [Node(identifier, _with_blanks(label), span) for span in spans]


def write_brat(example: Example) -> tuple[str, list[str]]:
    """The text of the .ann file that stands beside a .txt file with the example's text."""
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
