"""The JSON that other extraction models are trained on: GLiNER, InstructUIE and IEPile, read and written."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ucuie.data.draft import Draft, checked_span, entity, filled_slots, filler_at
from ucuie.data.formats.annotation_tools import Written
from ucuie.data.formats.graph import PAIRS, GraphOptions, filled_slots_of, lost_of, pair_of, task_of
from ucuie.data.readers.items import TokenOptions, reader_of
from ucuie.data.readers.triples import place_strings, relation_frame
from ucuie.data.sources import read_json_items
from ucuie.data.tokens import entities_of, join_tokens
from ucuie.language.linearize import ParsedFrame, ParsedSlot
from ucuie.schema import Example, Filler, Record, Span


@reader_of(read_json_items)
def read_gliner(place: str, item: dict[str, Any], options: TokenOptions) -> Draft:
    """A draft for each `{"tokenized_text": [...], "ner": [[first, last, label], ...]}`, ends inclusive."""
    joined = join_tokens(item["tokenized_text"], options.spacing)
    records = [entity(label, joined.text, joined.span(first, last + 1)) for first, last, label in item["ner"]]
    return Draft(place, joined.text, tuple(records))


def write_gliner(example: Example) -> Written:
    """The entities of the example over its words."""
    words, entities, lost = entities_of(example)
    ner = [[start, end - 1, label] for label, (start, end) in entities]
    return {"tokenized_text": [example.text[slice(*word)] for word in words], "ner": ner}, lost


@reader_of(read_json_items)
def read_instructuie(place: str, item: dict[str, Any], options: GraphOptions) -> Draft:
    """A draft for each `{"sentence", "entities" | "relations" | "events"}`.

    Offsets (`pos`) are taken where they are right, else the string is placed in the sentence.
    """
    text, found = item["sentence"], list(_instructuie_frames(options, item))
    try:
        return Draft(place, text, tuple(_instructuie_record(text, *one) for one in found))
    except (KeyError, ValueError):
        frames = [
            ParsedFrame(label, own[0], tuple(ParsedSlot(slot, string) for slot, (string, _) in slots))
            if own
            else relation_frame(label, {slot: string for slot, (string, _) in slots})
            for label, own, slots in found
        ]
        draft = place_strings(place, text, frames)
        return replace(draft, changes=("strings without right offsets were placed", *draft.changes))


_Mention = tuple[str, dict[str, Any]]
"""A string, and the object whose `pos` says where it starts."""


def _instructuie_frames(
    options: GraphOptions, item: dict[str, Any]
) -> Iterator[tuple[str, _Mention | None, list[tuple[str, _Mention]]]]:
    """Label, its own mention and those of its slots, of each entity, event or relation."""
    if options.task == "NER":
        for found in item["entities"]:
            yield found["type"], (found["name"], found), []
    elif options.task == "EE":
        for found in item["events"]:
            slots = [(one["role"], (one["name"], one)) for one in found["arguments"]]
            yield found["type"], (found["trigger"], found), slots
    else:
        for found in item["relations"]:
            ends = [(end["name"], end) for end in (found["head"], found["tail"])]
            yield found["type"], None, list(zip(_pair(options), ends, strict=True))


def _instructuie_record(
    text: str, label: str, own: _Mention | None, slots: list[tuple[str, _Mention]]
) -> Record:
    def span(mention: _Mention) -> Span:
        string, where = mention
        return checked_span(text, where["pos"][0], string)

    filled = filled_slots(text, [(slot, span(mention)) for slot, mention in slots])
    return Record(frame=label, filler=own and filler_at(text, span(own)), slots=filled)


def _pair(options: GraphOptions) -> tuple[str, str]:
    return PAIRS.get(options.task, PAIRS["RE"])


def write_instructuie(example: Example) -> Written:
    """The example with entities, relations or events, whatever its records are."""

    def mention(filler: Filler, key: str = "name") -> dict[str, Any]:
        return {key: filler.text, "pos": list(filler.span)}

    task = task_of(example)
    key = {"NER": "entities", "EE": "events"}.get(task, "relations")
    items: list[dict[str, Any]] = []
    lost = []
    for record in example.records:
        filled = filled_slots_of(record)
        if key == "relations" and pair_of(record, task):
            (_, head), (_, tail) = pair_of(record, task)
            items.append({"type": record.frame, "head": mention(head), "tail": mention(tail)})
        elif key == "events" and record.filler is not None:
            arguments = [mention(filler) | {"role": slot} for slot, filler in filled]
            items.append({"type": record.frame, **mention(record.filler, "trigger"), "arguments": arguments})
        elif key == "entities" and record.filler is not None and not filled:
            items.append(mention(record.filler) | {"type": record.frame})
        else:
            lost.append(f"record that does not fit {key}")
            continue
        lost += lost_of(record, task)
    return {"sentence": example.text, key: items}, lost


@reader_of(read_json_items)
def read_iepile(place: str, item: dict[str, Any], options: GraphOptions) -> Draft:
    """A draft for each `{"task", "instruction": JSON with "schema" and "input", "output": JSON}`.

    The strings of the output are placed in the input. The labels offered are those of the schema, which
    IEPile cuts into parts: one text stands in several lines.
    """
    instruction = json.loads(item["instruction"])
    text, schema = instruction["input"], instruction["schema"]
    draft = place_strings(place, text, list(_iepile_frames(options, json.loads(item["output"]))))
    offered = tuple(label if isinstance(label, str) else label["event_type"] for label in schema)
    return replace(draft, offered=offered)


def _iepile_frames(options: GraphOptions, output: dict[str, Any]) -> Iterator[ParsedFrame]:
    first, second = _pair(options)
    for label, found in output.items():
        for item in found:
            if isinstance(item, str):
                yield ParsedFrame(label, item)
            elif "trigger" in item:
                slots = tuple(
                    ParsedSlot(role, string)
                    for role, strings in item["arguments"].items()
                    for string in ([strings] if isinstance(strings, str) else strings)
                    if string != "NAN"
                )
                yield ParsedFrame(label, item["trigger"], slots)
            else:
                yield relation_frame(label, {first: item["subject"], second: item["object"]})


def write_iepile(example: Example) -> Written:
    """The example as strings; equal strings at different places become equal."""
    output: dict[str, list[Any]] = {name: [] for name in example.schema.frame_names}
    lost = ["offsets"] if example.records else []
    task = task_of(example)
    for record in example.records:
        filled = filled_slots_of(record)
        if task != "EE" and pair_of(record, task):
            (_, head), (_, tail) = pair_of(record, task)
            output[record.frame].append({"subject": head.text, "object": tail.text})
        elif record.filler is not None and task == "EE":
            arguments: dict[str, list[str]] = {}
            for slot, filler in filled:
                arguments.setdefault(slot, []).append(filler.text)
            output[record.frame].append({"trigger": record.filler.text, "arguments": arguments})
        elif record.filler is not None and not filled:
            output[record.frame].append(record.filler.text)
        else:
            lost.append("record that is neither entity, pair nor event")
            continue
        lost += lost_of(record, task)
    schema: list[Any] = [
        {"event_type": frame.name, "trigger": True, "arguments": list(frame.slot_names)}
        if task == "EE"
        else frame.name
        for frame in example.schema.frames
    ]
    instruction = {
        "instruction": "Extract what the schema asks for.",
        "schema": schema,
        "input": example.text,
    }
    return {
        "task": task,
        "source": example.dataset,
        "instruction": json.dumps(instruction, ensure_ascii=False),
        "output": json.dumps(output, ensure_ascii=False),
    }, lost
