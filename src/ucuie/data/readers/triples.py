"""Relations given as strings without offsets: NYT and WebNLG, DuIE, and open-relation tables.

The strings are placed in the text by the rules of `ucuie.language.align`; a triple with a string that does
not stand in the text is left out and counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault
from ucuie.data.readers.items import ReaderOptions, TokenOptions, read_items
from ucuie.data.sources import read_lines
from ucuie.data.tokens import respaced
from ucuie.language.align import align
from ucuie.language.linearize import ParsedFrame, ParsedSlot
from ucuie.schema import Frame, Record, Schema, Slot


def place_strings(text: str, frames: Sequence[ParsedFrame]) -> tuple[tuple[Record, ...], list[str]]:
    """Records for frames given as strings, and for each that has no place a sentence saying so.

    A record is left out as a whole: a relation without its object would be another relation.
    """
    slots: dict[str, dict[str, None]] = {}
    for frame in frames:
        slots.setdefault(frame.frame, {}).update(dict.fromkeys(slot.slot for slot in frame.slots))
    if not slots:
        return (), []
    schema = Schema(
        frames=tuple(
            Frame(name=name, slots=tuple(Slot(name=slot) for slot in slot_names))
            for name, slot_names in slots.items()
        )
    )
    alignment = align(frames, text, schema)
    complete = tuple(
        record
        for record, frame in zip(alignment.records, alignment.frames, strict=True)
        if len(record.slots) == len(frame.slots)
    )
    return complete, ["record not in the text left out"] * (len(frames) - len(complete))


def read_triples(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each `{"text": tokens, "triple_list": [[subject, relation, object], ...]}`."""

    def draft(place: str, item: dict[str, Any]) -> Draft:
        frames = [
            relation_frame(relation, {"subject": subject, "object": object_})
            for subject, relation, object_ in item["triple_list"]
        ]
        records, changes = place_strings(item["text"], frames)
        text, records = respaced(item["text"], records, options.spacing)
        return Draft(place, text, records, changes=tuple(changes))

    return read_items(paths, draft)


def read_spo(paths: Sequence[Path], options: ReaderOptions) -> Iterator[Draft | Fault]:
    """A draft for each `{"text": ..., "spo_list": [{"subject", "predicate", "object": {...}}, ...]}` (DuIE).

    `@value` of the object is the slot object; its other parts are slots of their own.
    """

    def draft(place: str, item: dict[str, Any]) -> Draft:
        frames = [
            relation_frame(
                spo["predicate"],
                {"subject": spo["subject"]}
                | {"object" if slot == "@value" else slot: value for slot, value in spo["object"].items()},
            )
            for spo in item["spo_list"]
        ]
        records, changes = place_strings(item["text"], frames)
        return Draft(place, item["text"], records, changes=tuple(changes))

    return read_items(paths, draft)


class OpenRelationOptions(TokenOptions):
    """Which columns hold what.

    Args:
        predicate_column: index of the predicate; the sentence is column 0.
        first_argument_column: the subject; the object and further arguments follow.
    """

    predicate_column: int = 1
    first_argument_column: int = 2


def read_open_relations(paths: Sequence[Path], options: OpenRelationOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence of lines `sentence TAB predicate TAB arguments`.

    A tuple is a frame `relation` with slots subject, predicate, object and argument. Tuples with words
    that are implied or not contiguous have no place and are left out.
    """
    for path in paths:
        sentences: dict[str, tuple[str, list[ParsedFrame]]] = {}
        for number, line in read_lines(path):
            columns = [column.strip() for column in line.split("\t")]
            if len(columns) <= options.first_argument_column:
                if line.strip():
                    yield Fault(f"{path.name} line {number}", f"only {len(columns)} columns")
                continue
            arguments = columns[options.first_argument_column :]
            slots = ("subject", "object", *("argument" for _ in arguments[2:]))
            filled = [("predicate", columns[options.predicate_column]), *zip(slots, arguments, strict=False)]
            frame = ParsedFrame("relation", None, tuple(ParsedSlot(*pair) for pair in filled if pair[1]))
            sentences.setdefault(columns[0], (f"{path.name} line {number}", []))[1].append(frame)
        for sentence, (place, frames) in sentences.items():
            records, changes = place_strings(sentence, frames)
            text, records = respaced(sentence, records, options.spacing)
            yield Draft(place, text, records, changes=tuple(changes))


def relation_frame(relation: str, slots: Mapping[str, str]) -> ParsedFrame:
    """A relation as strings."""
    return ParsedFrame(relation, None, tuple(ParsedSlot(slot, text.strip()) for slot, text in slots.items()))
