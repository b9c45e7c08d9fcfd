"""The JSON of annotation tools, read and written: Label Studio, doccano and Prodigy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Literal

from ucuie.data.draft import Draft
from ucuie.data.formats.graph import (
    PAIRS,
    GraphOptions,
    Link,
    Node,
    filled_slots_of,
    graph_of,
    records_of,
    spans_of,
)
from ucuie.data.readers.items import reader_of
from ucuie.data.sources import read_json_items
from ucuie.errors import show
from ucuie.schema import Example, Span

Offsets = Literal["characters", "utf-16"]
"""What offsets count: characters, or units of UTF-16, of which an emoji takes two."""


class ToolOptions(GraphOptions):
    """How the spans of a tool are found.

    Args:
        offsets: what they count; where spans have copies of their words, these decide.
    """

    offsets: Offsets = "characters"


@dataclass(frozen=True)
class _Mark:
    """A span as a tool writes it, `words` being its copy of them."""

    id: str
    label: str | None
    start: Any
    end: Any
    words: str | None = None


def _draft(
    place: str,
    text: str,
    marks: Sequence[_Mark],
    links: Sequence[Link],
    options: ToolOptions,
    changes: Sequence[str] = (),
) -> Draft:
    """A draft of what a tool says about a text.

    Raises:
        ValueError: a span is none, its words stand elsewhere, or a link has no end.
    """
    spans, offset_changes = _located(text, marks, options.offsets)
    nodes = [Node(mark.id, mark.label, span) for mark, span in zip(marks, spans, strict=True)]
    for name, found in spans_of(nodes).items():
        if len(found) > 1:
            raise ValueError(f"two spans have the id {show(name)}")
    unlabelled = ["span without a label left out"] * sum(mark.label is None for mark in marks)
    records = records_of(text, nodes, links, options.task)
    return Draft(place, text, records, changes=(*changes, *unlabelled, *offset_changes))


def _located(text: str, marks: Sequence[_Mark], offsets: Offsets) -> tuple[list[Span], list[str]]:
    """The spans in characters, and what is said where their offsets count something else than was told.

    Raises:
        ValueError: an offset is none, or a copy of words stands elsewhere in either count.
    """
    told = [(_offset(mark.start), _offset(mark.end)) for mark in marks]
    units = accumulate((2 if character > "\uffff" else 1 for character in text), initial=0)
    places = {unit: place for place, unit in enumerate(units)}
    by_units = [(places.get(start, -1), places.get(end, -1)) for start, end in told]
    spans, others = (told, by_units) if offsets == "characters" else (by_units, told)
    fault = _misplaced(text, marks, spans)
    if fault and _misplaced(text, marks, others):
        raise ValueError(fault)
    if fault:
        return others, [f"offsets do not count {offsets}, as the copies of words show"]
    has_copies = any(mark.words is not None for mark in marks)
    if not has_copies and offsets == "characters" and _cut_words(text, others) < _cut_words(text, spans):
        return spans, ["offsets that cut words, and would not in UTF-16"]
    return spans, []


def _offset(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:
        raise ValueError(f"{show(value)} is no offset, which is a whole number")
    return int(value)


def _misplaced(text: str, marks: Sequence[_Mark], spans: Sequence[Span]) -> str:
    """What is said of the first copy that does not stand at its span; its line ends may be other ones."""
    for mark, (start, end) in zip(marks, spans, strict=True):
        copy, words = mark.words, text[start:end] if start >= 0 else ""
        if copy is not None and _words(copy) != _words(words):
            return f"{show(copy)} does not stand at {start}, but {show(words)}"
    return ""


def _words(string: str) -> list[str]:
    return string.replace("\\n", " ").split()


def _cut_words(text: str, spans: Iterable[Span]) -> int:
    """How many ends of spans stand inside a word."""
    edges = (place for span in spans for place in span if place < len(text))
    return sum(place < 0 or (place > 0 and text[place - 1 : place + 1].isalnum()) for place in edges)


Written = tuple[dict[str, Any], list[str]]
"""A JSON object for an example, and what it cannot hold."""


@reader_of(read_json_items)
def read_label_studio(place: str, item: dict[str, Any], options: ToolOptions) -> Draft:
    """A draft for each task of an export, from its first annotation that was not cancelled."""
    annotations = item.get("annotations") or []
    taken = [found for found in annotations if not found.get("was_cancelled")][:1]
    changes = ["annotation left out"] * (len(annotations) - len(taken))
    marks, links = [], []
    for result in taken[0]["result"] if taken else []:
        value, kind = result.get("value", {}), result["type"]
        if kind == "labels":
            marks += [
                _Mark(result["id"], label, value["start"], value["end"], value.get("text"))
                for label in value.get("labels") or [None]
            ]
        elif kind == "relation" and result.get("labels"):
            ends = result["from_id"], result["to_id"]
            direction = result.get("direction", "right")
            if direction not in ("right", "left", "bi"):
                raise ValueError(f"the direction {show(direction)} is none of right, left and bi")
            source, target = reversed(ends) if direction == "left" else ends
            links += [Link(label, source, target) for label in result["labels"]]
            changes += ["relation in both directions read in one"] * (direction == "bi")
        else:
            changes.append("relation without a label left out" if kind == "relation" else f"{kind} left out")
    if not taken:
        changes.append("text without an annotation")
    return _draft(place, item["data"]["text"], marks, links, options, changes)


def write_label_studio(example: Example) -> Written:
    """The example as a task with one annotation."""
    graph = graph_of(example)
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
def read_doccano(place: str, item: dict[str, Any], options: ToolOptions) -> Draft:
    """A draft for each line; `entities` and `relations`, or `label` with [start, end, label]."""
    key = next((key for key in ("entities", "label") if key in item), "labels")
    marks = [_doccano_mark(index, found) for index, found in enumerate(item[key] or [])]
    links = [
        Link(relation["type"], str(relation["from_id"]), str(relation["to_id"]))
        for relation in _relations(item, options)
    ]
    return _draft(place, item["text"], marks, links, options)


def _relations(item: dict[str, Any], options: ToolOptions) -> list[dict[str, Any]]:
    """The relations of an item, which may lack them where the task does not ask for them."""
    return (item["relations"] if options.task in PAIRS else item.get("relations")) or []


def _doccano_mark(index: int, found: Any) -> _Mark:
    if isinstance(found, dict):
        return _Mark(str(found["id"]), found["label"], found["start_offset"], found["end_offset"])
    if isinstance(found, list) and len(found) == 3:
        start, end, label = found
        return _Mark(str(index), label, start, end)
    raise ValueError(f"{show(found)} is neither [start, end, label] nor an object with these")


def write_doccano(example: Example) -> Written:
    """The example as a line of doccano's relation format."""
    graph = graph_of(example)
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
def read_prodigy(place: str, item: dict[str, Any], options: ToolOptions) -> Draft:
    """A draft for each accepted line; rejected and ignored ones are faults, so that they are counted."""
    if item.get("answer", "accept") != "accept":
        raise ValueError(f"the answer is {item['answer']!r}")
    # Spans have no id: relations repeat the offsets and label of their ends.
    marks = [
        _Mark(_prodigy_id(span), span["label"], span["start"], span["end"], span.get("text"))
        for span in item.get("spans") or []
    ]
    links = [
        Link(relation["label"], _prodigy_id(relation["head_span"]), _prodigy_id(relation["child_span"]))
        for relation in _relations(item, options)
    ]
    changes = [] if "spans" in item else ["text without spans"]
    return _draft(place, item["text"], marks, links, options, changes)


def _prodigy_id(span: dict[str, Any]) -> str:
    return f"{_offset(span['start'])}:{_offset(span['end'])}:{span['label']}"


def write_prodigy(example: Example) -> Written:
    """The example as an accepted line."""
    held, lost = _with_distinct_triggers(example)
    graph = graph_of(held)
    spans = {
        node.id: {
            "start": node.span[0],
            "end": node.span[1],
            "text": example.text[slice(*node.span)],
            "label": node.label,
        }
        for node in graph.nodes
    }
    relations = [
        {"label": link.label, "head_span": spans[link.source], "child_span": spans[link.target]}
        for link in graph.links
    ]
    item = {"text": example.text, "spans": list(spans.values()), "relations": relations, "answer": "accept"}
    return item, graph.lost + lost


def _with_distinct_triggers(example: Example) -> tuple[Example, list[str]]:
    """The example without events whose trigger would be one span with another trigger or an argument."""
    triggers: set[tuple[str, Span]] = set()
    arguments: set[tuple[str, Span]] = set()
    held = []
    for record in example.records:
        own = {(record.frame, record.filler.span)} if record.filler is not None else set()
        filled = {(slot, filler.span) for slot, filler in filled_slots_of(record)}
        if own & (triggers | arguments | filled) or filled & triggers:
            continue
        triggers |= own
        arguments |= filled
        held.append(record)
    lost = ["record with a span and label of another"] * (len(example.records) - len(held))
    return replace(example, records=tuple(held)), lost
