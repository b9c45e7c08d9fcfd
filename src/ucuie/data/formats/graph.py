"""Spans and links: how annotation tools see a text, and how that becomes records and back.

Entities are spans. A relation is a link between two spans, labelled with its frame. An event is a
trigger span with a link, labelled with the role, to each argument span.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ucuie.data.draft import entity, event, tuple_record
from ucuie.data.readers.items import ReaderOptions
from ucuie.schema import Filler, Record, Span, Task

PAIRS: Mapping[Task, tuple[str, str]] = {"RE": ("subject", "object"), "ABSA": ("aspect", "opinion")}


class GraphOptions(ReaderOptions):
    """What the spans and links of an annotation mean.

    Args:
        task: NER takes every span, RE and ABSA every link, EE every span that no link leads to.
    """

    task: Task = "NER"


@dataclass(frozen=True)
class Node:
    """A labelled span."""

    id: str
    label: str
    span: Span


@dataclass(frozen=True)
class Link:
    """A labelled arc from one node to another, by their ids."""

    label: str
    source: str
    target: str


@dataclass
class Graph:
    """The nodes and links of one text, and what of its records has no place among them."""

    nodes: list[Node] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def add(self, label: str, filler: Filler, *, shared: bool = True) -> str:
        """The id of a new node, or of one with this label and span."""
        for node in self.nodes:
            if shared and (node.label, node.span) == (label, filler.span):
                return node.id
        self.nodes.append(Node(f"T{len(self.nodes) + 1}", label, filler.span))
        return self.nodes[-1].id


def graph_of(records: Iterable[Record]) -> Graph:
    """The records as a graph; a trigger is a node of its own even where two events share their words."""
    graph = Graph()
    for record in records:
        filled = [(slot.slot, slot.filler) for slot in record.slots if slot.filler is not None]
        if record.filler is not None:
            source = graph.add(record.frame, record.filler, shared=False)
            graph.links += [Link(slot, source, graph.add(slot, filler)) for slot, filler in filled]
        elif len(filled) == 2 and filled[0][0] != filled[1][0]:
            source, target = (graph.add(slot, filler) for slot, filler in filled)
            graph.links.append(Link(record.frame, source, target))
        else:
            graph.lost.append("record that is no pair of spans")
    return graph


def records_of(text: str, nodes: Sequence[Node], links: Sequence[Link], task: Task) -> tuple[Record, ...]:
    """The records that a graph stands for in a task.

    Raises:
        ValueError: a link leads from or to a node that is not there.
    """
    spans = {node.id: node.span for node in nodes}
    for link in links:
        if link.source not in spans or link.target not in spans:
            raise ValueError(f"the link {link.label!r} has an end that is no span")
    if task == "NER":
        return tuple(entity(node.label, text, node.span) for node in nodes)
    if task in PAIRS:
        first, second = PAIRS[task]
        return tuple(
            tuple_record(link.label, text, [(first, spans[link.source]), (second, spans[link.target])])
            for link in links
        )
    arguments = {link.target for link in links}
    return tuple(
        event(
            node.label,
            text,
            node.span,
            [(link.label, spans[link.target]) for link in links if link.source == node.id],
        )
        for node in nodes
        if node.id not in arguments
    )
