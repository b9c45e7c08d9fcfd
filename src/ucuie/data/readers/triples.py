"""Relations given as strings without offsets: NYT and WebNLG, DuIE, and open-relation tables.

The strings are placed in the text by the rules of `ucuie.language.align`; a triple with a string that does
not stand in the text is left out and counted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault, Readings
from ucuie.data.readers.items import ReaderOptions, TokenOptions, reader_of
from ucuie.data.sources import read_json_items, read_lines
from ucuie.data.tokens import Spacing, respaced
from ucuie.language.align import align
from ucuie.language.linearize import ParsedFrame, ParsedSlot
from ucuie.schema import Frame, Record, Schema, Slot


def place_strings(
    place: str, text: str, frames: Sequence[ParsedFrame], *, spacing: Spacing | None = None
) -> Draft:
    """A draft with the frames given as strings, and a change for each string that has no place in the text.

    A relation is left out as a whole, since without its object it would be another; an event is left out
    without its trigger, and loses single arguments. `spacing` is for a text of tokens with one blank between
    them; None keeps the text.
    """
    slots: dict[str, dict[str, Slot]] = {}
    for frame in frames:
        slots.setdefault(frame.frame, {}).update((one.slot, Slot(name=one.slot)) for one in frame.slots)
    records: tuple[Record, ...] = ()
    changes: tuple[str, ...] = ()
    if slots:
        schema = Schema(frames=tuple(Frame(name=name, slots=tuple(slots[name].values())) for name in slots))
        alignment = align(frames, text, schema)
        records = alignment.records
        num_left_out = len(frames) - len(records)
        changes = ("record not in the text left out",) * num_left_out
        changes += ("slot not in the text left out",) * (len(alignment.dropped) - num_left_out)
    if spacing is not None:
        text, records = respaced(text, records, spacing)
    return Draft(place, text, records, changes=changes)


@reader_of(read_json_items)
def read_triples(place: str, item: dict[str, Any], options: TokenOptions) -> Draft:
    """A draft for each `{"text": tokens, "triple_list": [[subject, relation, object], ...]}`."""
    frames = [
        relation_frame(relation, {"subject": subject, "object": object_})
        for subject, relation, object_ in item["triple_list"]
    ]
    return place_strings(place, item["text"], frames, spacing=options.spacing)


@reader_of(read_json_items)
def read_spo(place: str, item: dict[str, Any], options: ReaderOptions) -> Draft:
    """A draft for each `{"text": ..., "spo_list": [{"subject", "predicate", "object": {...}}, ...]}` (DuIE).

    `@value` of the object is the slot object; its other parts are slots of their own.
    """
    frames = [
        relation_frame(
            spo["predicate"],
            {"subject": spo["subject"]}
            | {"object" if slot == "@value" else slot: value for slot, value in spo["object"].items()},
        )
        for spo in item["spo_list"]
    ]
    return place_strings(place, item["text"], frames)


class OpenRelationOptions(TokenOptions):
    """The columns of a file, by what they hold.

    Args:
        predicate_column: index of the predicate; the sentence is column 0.
        first_argument_column: the subject; the object and further arguments follow.
    """

    predicate_column: int = 1
    first_argument_column: int = 2


def read_open_relations(paths: Sequence[Path], options: OpenRelationOptions) -> Readings:
    """A draft for each sentence of lines `sentence TAB predicate TAB arguments`.

    A tuple is a frame `relation` with slots subject, predicate, object and argument. Tuples with words
    that are implied or not contiguous have no place and are left out.
    """
    for path in paths:
        sentences: dict[str, tuple[str, list[ParsedFrame]]] = {}
        for place, line in read_lines(path):
            columns = [column.strip() for column in line.split("\t")]
            if len(columns) <= options.first_argument_column:
                if line.strip():
                    yield Fault(place, f"only {len(columns)} columns")
                continue
            arguments = columns[options.first_argument_column :]
            slots = ("subject", "object", *("argument" for _ in arguments[2:]))
            filled = [("predicate", columns[options.predicate_column]), *zip(slots, arguments, strict=False)]
            frame = ParsedFrame("relation", None, tuple(ParsedSlot(*pair) for pair in filled if pair[1]))
            sentences.setdefault(columns[0], (place, []))[1].append(frame)
        for sentence, (place, frames) in sentences.items():
            yield place_strings(place, sentence, frames, spacing=options.spacing)


def relation_frame(relation: str, slots: Mapping[str, str]) -> ParsedFrame:
    """A relation as strings."""
    return ParsedFrame(relation, None, tuple(ParsedSlot(slot, text.strip()) for slot, text in slots.items()))
