"""Records as annotation tools see them: labelled spans, and labelled links between two.

Entities are spans. A relation is a link between two spans, labelled with its frame. An event is a trigger
span with a link, labelled with the role, to each argument span.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ucuie.data.draft import entity, event, tuple_record
from ucuie.data.readers.items import ReaderOptions
from ucuie.data.tokens import NOT_AN_ENTITY
from ucuie.schema import TASKS, Example, Filler, Record, Span, Task

PAIRS: Mapping[Task, tuple[str, str]] = {"RE": ("subject", "object"), "ABSA": ("aspect", "opinion")}


class GraphOptions(ReaderOptions):
    """The meaning of an annotation's spans and links.

    Args:
        task: NER takes every span, RE and ABSA every link, EE every span that a link leads from or none to.
    """

    task: Task = "NER"


@dataclass(frozen=True)
class Node:
    """A labelled span, or a piece of one: pieces share their id. Without a label it only ends links."""

    id: str
    label: str | None
    span: Span


@dataclass(frozen=True)
class Link:
    """A labelled arc from one node to another, by their ids."""

    label: str
    source: str
    target: str


@dataclass
class Graph:
    """The nodes and links of one text, the ids of those nodes that are records, and what has no place."""

    nodes: list[Node] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def add(self, label: str, filler: Filler, *, is_own: bool = False) -> str:
        """The id of a new node; or of one with this label and span, unless either is a record of its own."""
        for node in self.nodes:
            if not is_own and node.id not in self.own and (node.label, node.span) == (label, filler.span):
                return node.id
        self.nodes.append(Node(f"T{len(self.nodes) + 1}", label, filler.span))
        if is_own:
            self.own.append(self.nodes[-1].id)
        return self.nodes[-1].id


def task_of(example: Example) -> Task:
    """The task of an example's records; of a capability's, the one that fits its schema."""
    return example.task if example.task in TASKS else example.schema.task


def filled_slots_of(record: Record) -> list[tuple[str, Filler]]:
    """The slots of a record that have text."""
    return [(slot.slot, slot.filler) for slot in record.slots if slot.filler is not None]


def pair_of(record: Record, task: Task) -> list[tuple[str, Filler]]:
    """The two ends of a record that is a pair, such as subject and object; of any other none."""
    names = PAIRS.get(task, PAIRS["RE"])
    filled = sorted(filled_slots_of(record), key=lambda one: (one[0] == names[1]) - (one[0] == names[0]))
    is_pair = record.filler is None and len(filled) == 2 and filled[0][0] != filled[1][0]
    return filled if is_pair else []


def lost_of(record: Record, task: Task) -> list[str]:
    """The losses of a record whose filled slots alone are held, those of a pair by their order."""
    lost = ["slot without text"] * (len(record.slots) - len(filled_slots_of(record)))
    names = PAIRS.get(task, PAIRS["RE"])
    ends = zip(pair_of(record, task), names, strict=False)
    return lost + ["name of a slot of a pair"] * sum(slot != name for (slot, _), name in ends)


def graph_of(example: Example, *, has_events: bool = False) -> Graph:
    """The records that an example's task has, as a graph.

    A trigger is a node of its own even where two events share their words. Where a format marks events
    (`has_events`), there may be pairs beside them.
    """
    graph = Graph()
    task = task_of(example)
    for record in example.records:
        filled = filled_slots_of(record)
        if record.filler is not None and (task == "EE" or not filled):
            source = graph.add(record.frame, record.filler, is_own=True)
            graph.links += [Link(slot, source, graph.add(slot, filler)) for slot, filler in filled]
        elif pair_of(record, task) and (task in PAIRS or (task == "EE" and has_events)):
            source, target = (graph.add(slot, filler) for slot, filler in pair_of(record, task))
            graph.links.append(Link(record.frame, source, target))
        else:
            kinds = {"NER": NOT_AN_ENTITY, "EE": "event without a trigger"}
            graph.lost.append(kinds.get(task, "record that is no pair of spans"))
            continue
        graph.lost += lost_of(record, task)
    return graph


def spans_of(nodes: Iterable[Node]) -> dict[str, list[Span]]:
    """The spans of each node by its id: one, or those of its pieces."""
    spans: dict[str, dict[Span, None]] = {}
    for node in nodes:
        spans.setdefault(node.id, {})[node.span] = None
    return {name: list(pieces) for name, pieces in spans.items()}


def records_of(text: str, nodes: Sequence[Node], links: Sequence[Link], task: Task) -> tuple[Record, ...]:
    """The records that a graph stands for in a task; a slot is filled by every piece of a span.

    Raises:
        ValueError: a link leads from or to a node that is not there.
    """
    spans = spans_of(nodes)
    for link in links:
        if link.source not in spans or link.target not in spans:
            raise ValueError(f"the link {link.label!r} has an end that is no span")
    labelled = [(node, node.label) for node in nodes if node.label is not None]
    if task == "NER":
        return tuple(entity(label, text, node.span) for node, label in labelled)
    if task in PAIRS:
        return tuple(
            tuple_record(
                link.label,
                text,
                [
                    (name, span)
                    for name, end in zip(PAIRS[task], (link.source, link.target), strict=True)
                    for span in spans[end]
                ],
            )
            for link in links
        )
    arguments = {link.target for link in links} - {link.source for link in links}
    return tuple(
        event(
            label,
            text,
            node.span,
            [(link.label, span) for link in links if link.source == node.id for span in spans[link.target]],
        )
        for node, label in labelled
        if node.id not in arguments
    )
