"""The JSON of annotation tools, read and written: Label Studio, doccano and Prodigy; and how they see a text.

They see spans and links. Entities are spans. A relation is a link between two spans, labelled with its frame.
An event is a trigger span with a link, labelled with the role, to each argument span.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ucuie.data.draft import Draft, entity, event, tuple_record
from ucuie.data.readers.items import ReaderOptions, reader_of
from ucuie.data.sources import read_json_items
from ucuie.errors import show
from ucuie.schema import Example, Filler, Record, Span, Task

PAIRS: Mapping[Task, tuple[str, str]] = {"RE": ("subject", "object"), "ABSA": ("aspect", "opinion")}


class GraphOptions(ReaderOptions):
    """The meaning of an annotation's spans and links.

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


Written = tuple[dict[str, Any], list[str]]
"""A JSON object for an example, and what it cannot hold."""


@reader_of(read_json_items)
def read_label_studio(place: str, item: dict[str, Any], options: GraphOptions) -> Draft:
    """A draft for each task of an export, from its first annotation that was not cancelled."""
    text = item["data"]["text"]
    annotations = [found for found in item.get("annotations", []) if not found.get("was_cancelled")]
    results = annotations[0]["result"] if annotations else []
    nodes = [
        Node(result["id"], label, _label_studio_span(text, result["value"]))
        for result in results
        if result["type"] == "labels"
        for label in result["value"]["labels"]
    ]
    links = [
        Link(label, result["from_id"], result["to_id"])
        for result in results
        if result["type"] == "relation"
        for label in result.get("labels", [])
    ]
    return Draft(place, text, records_of(text, nodes, links, options.task))


def _label_studio_span(text: str, value: dict[str, Any]) -> Span:
    """The range of a span, whose own copy of the words may write line ends in another way.

    Raises:
        ValueError: other words stand there.
    """
    start, end = value["start"], value["end"]
    copy, words = value.get("text"), text[start:end]
    if copy is not None and copy.replace("\\n", " ").split() != words.split():
        raise ValueError(f"{show(copy)} does not stand at {start}, but {show(words)}")
    return start, end


def write_label_studio(example: Example) -> Written:
    """The example as a task with one annotation."""
    graph = graph_of(example.records)
    spans: list[dict[str, Any]] = [
        {
            "id": node.id,
            "type": "labels",
            "from_name": "label",
            "to_name": "text",
            "value": {
                "start": node.span[0],
                "end": node.span[1],
                "text": example.text[slice(*node.span)],
                "labels": [node.label],
            },
        }
        for node in graph.nodes
    ]
    relations = [
        {
            "type": "relation",
            "from_id": link.source,
            "to_id": link.target,
            "direction": "right",
            "labels": [link.label],
        }
        for link in graph.links
    ]
    task = {"data": {"text": example.text, "id": example.id}, "annotations": [{"result": spans + relations}]}
    return task, graph.lost


@reader_of(read_json_items)
def read_doccano(place: str, item: dict[str, Any], options: GraphOptions) -> Draft:
    """A draft for each line; `entities` and `relations`, or `label` with [start, end, label]."""
    text = item["text"]
    if "entities" in item:
        nodes = [
            Node(str(found["id"]), found["label"], (found["start_offset"], found["end_offset"]))
            for found in item["entities"]
        ]
    else:
        labels = item["label"] if "label" in item else item["labels"]
        nodes = [Node(str(index), label, (start, end)) for index, (start, end, label) in enumerate(labels)]
    links = [
        Link(relation["type"], str(relation["from_id"]), str(relation["to_id"]))
        for relation in item.get("relations", [])
    ]
    return Draft(place, text, records_of(text, nodes, links, options.task))


def write_doccano(example: Example) -> Written:
    """The example as a line of doccano's relation format."""
    graph = graph_of(example.records)
    ids = {node.id: number for number, node in enumerate(graph.nodes, start=1)}
    entities = [
        {"id": ids[node.id], "label": node.label, "start_offset": node.span[0], "end_offset": node.span[1]}
        for node in graph.nodes
    ]
    relations = [
        {"id": number, "type": link.label, "from_id": ids[link.source], "to_id": ids[link.target]}
        for number, link in enumerate(graph.links, start=1)
    ]
    return {"text": example.text, "entities": entities, "relations": relations}, graph.lost


@reader_of(read_json_items)
def read_prodigy(place: str, item: dict[str, Any], options: GraphOptions) -> Draft:
    """A draft for each accepted line; rejected and ignored ones are faults, so that they are counted."""
    if item.get("answer", "accept") != "accept":
        raise ValueError(f"the answer is {item['answer']!r}")
    text = item["text"]
    spans = item.get("spans", [])
    # Spans have no id: relations repeat the offsets and label of their ends.
    nodes = [Node(_prodigy_id(span), span["label"], (span["start"], span["end"])) for span in spans]
    links = [
        Link(relation["label"], _prodigy_id(relation["head_span"]), _prodigy_id(relation["child_span"]))
        for relation in item.get("relations", [])
    ]
    return Draft(place, text, records_of(text, nodes, links, options.task))


def _prodigy_id(span: dict[str, Any]) -> str:
    return f"{span['start']}:{span['end']}:{span['label']}"


def write_prodigy(example: Example) -> Written:
    """The example as an accepted line."""
    graph = graph_of(example.records)
    spans = {
        node.id: {"start": node.span[0], "end": node.span[1], "label": node.label} for node in graph.nodes
    }
    unique = list({_prodigy_id(span): span for span in spans.values()}.values())
    lost = graph.lost + ["second span with the same words and label"] * (len(spans) - len(unique))
    relations = [
        {"label": link.label, "head_span": spans[link.source], "child_span": spans[link.target]}
        for link in graph.links
    ]
    return {"text": example.text, "spans": unique, "relations": relations, "answer": "accept"}, lost
