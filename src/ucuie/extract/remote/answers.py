r"""Reads what a language model answered, in the output language or in JSON, whatever state it is in.

Out come the frames it names and everything else with the reason; where they stand in the text is `align`.
Nothing here raises: an answer that says nothing usable has no frames and one stretch that was dropped.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, Literal

from ucuie.extract.document import LONGEST_QUOTE
from ucuie.extract.remote.client import Token, without_surrogates
from ucuie.language.align import Alignment
from ucuie.language.linearize import Parsed, ParsedFrame, ParsedSlot, parse
from ucuie.schema import Dropped, FilledSlot, Filler, Record, Schema, Span

Form = Literal["json", "lines"]
"""Of answers: JSON, or the output language."""

NO_RECORDS = "the answer is not in the form that was asked for"
NO_RECORD = "not a record"
NO_FILLER = "a frame without slots has to have a filler"
CUT = "the answer ends within a record"
NOT_JSON = "a record that is not valid JSON"

# Models break lines within strings.
_DECODER = json.JSONDecoder(strict=False)
_THOUGHT = re.compile(r"\A.*</think>", re.DOTALL)
_RECORDS = re.compile(r'"records"\s*:\s*\[')
_OBJECT = re.compile(r"\{\s*[\"']")
_RECORD = re.compile(r'\{\s*"frame"\s*:')
_MOST_FAULTS = 100
"""Records of an answer that cannot be read; the rest is not looked at."""
_BETWEEN = re.compile(r"[\s,]*")


def read_answer(content: str, text: str, schema: Schema, *, form: Form) -> Parsed:
    """The frames of an answer, with fillers spelled as the text spells them, and what else it says.

    `form` is what was asked for; an answer in JSON is read wherever it comes.
    """
    # Models that reason aloud do so first. A piece of the text may look like the end of that.
    if "</think>" not in text:
        # Blanks, so that all that follows stays in its place.
        content = _THOUGHT.sub(lambda thought: " " * len(thought[0]), content)
    is_line = form == "lines" and re.match(r'\s*\{\s*"', content) is None
    parsed = parse(content) if is_line else _read_json(content)
    slots_of = {frame.name: bool(frame.slots) for frame in schema.frames}
    frames, dropped = [], list(parsed.dropped)
    for frame in parsed.frames:
        if frame.filler is None and not slots_of.get(frame.frame, True):
            dropped.append(Dropped(reason=NO_FILLER, value=str(frame)))
        else:
            frames.append(_as_in_text(frame, text))
    return Parsed(tuple(frames), tuple(_cut(one) for one in dropped))


def _read_json(content: str) -> Parsed:
    items = list(_items(content))
    if not items:
        said = content.strip()
        if re.search(r'"records"\s*:\s*\[\s*\]', said) or said in ("[]", "{}"):
            return Parsed((), ())
        return Parsed((), (Dropped(reason=NO_RECORDS, value=without_surrogates(said)),))
    frames: list[ParsedFrame] = []
    dropped: list[Dropped] = []
    position = 0
    for start, item in items:
        if isinstance(item, Dropped):
            dropped.append(item)
        elif (read := _frame(item, content, max(start, position), dropped)) is not None:
            frame, position = read
            frames.append(frame)
        else:
            dropped.append(_no_record(item))
    return Parsed(tuple(frames), tuple(dropped))


def _items(content: str) -> Iterator[tuple[int, Any]]:
    """The members of the list of records, each with where it begins, and what cannot be read of it."""
    opening = _RECORDS.search(content)
    # A list by itself, or one record, is meant as well.
    start = opening or _OBJECT.search(content)
    if start is None:
        return
    position, num_faults = _between(content, start.end() if opening else start.start()), 0
    while position < len(content) and content[position] not in "]}":
        try:
            item, end = _DECODER.raw_decode(content, position)
        except (ValueError, RecursionError) as error:
            num_faults += 1
            following = _RECORD.search(content, position + 1) if num_faults < _MOST_FAULTS else None
            end = following.start() if following else len(content)
            has_form = opening or following or _RECORD.match(content, position)
            reason = _fault(content, position, error) if has_form else NO_RECORDS
            item = Dropped(reason=reason, value=without_surrogates(content[position:end].rstrip(", \n")))
        yield position, item
        position = _between(content, end)
        is_list = opening or content[position : position + 1] == "{"
        if not (is_list or _RECORD.search(content, position)):
            return


def _fault(content: str, position: int, error: Exception) -> str:
    """Why nothing can be read at a place."""
    if content[position] != "{":
        return NO_RECORD
    if isinstance(error, json.JSONDecodeError):
        is_open = error.msg.startswith("Unterminated string")
        if is_open or re.fullmatch(r"[\w\\\s]*", content[error.pos :]):
            return CUT
    return NOT_JSON


def _between(content: str, position: int) -> int:
    match = _BETWEEN.match(content, position)
    assert match is not None
    return match.end()


def _frame(item: Any, content: str, position: int, dropped: list[Dropped]) -> tuple[ParsedFrame, int] | None:
    """The frame that a record in JSON states, and a place behind its last filler; None if it is none."""
    if not isinstance(item, Mapping) or not isinstance(item.get("frame"), str):
        return None
    name, filler = item["frame"].strip(), item.get("text")
    slots = item.get("slots") or []
    if not (filler is None or isinstance(filler, str)) or not isinstance(slots, list):
        return None
    filler_range, position = _range(filler, content, position)
    read = []
    for slot in slots:
        if not isinstance(slot, Mapping) or not isinstance(slot.get("slot"), str):
            dropped.append(_no_record(slot))
            continue
        found = slot.get("text")
        if isinstance(found, str) and found.strip():
            slot_range, position = _range(found, content, position)
            slot_name = without_surrogates(slot["slot"].strip())
            read.append(ParsedSlot(slot_name, without_surrogates(found), (0, 0), slot_range))
        elif found is not None:
            dropped.append(_no_record(slot))
    text = without_surrogates(filler) if filler and filler.strip() else None
    return ParsedFrame(without_surrogates(name), text, tuple(read), (0, 0), filler_range), position


def _no_record(item: Any) -> Dropped:
    return Dropped(reason=NO_RECORD, value=without_surrogates(json.dumps(item, ensure_ascii=False)))


def _range(filler: str | None, content: str, position: int) -> tuple[Span, int]:
    """Where a filler is written in the JSON, from a place on; (0, 0) where it is written in another way."""
    if filler:
        for written in (json.dumps(filler, ensure_ascii=False)[1:-1], json.dumps(filler)[1:-1], filler):
            start = content.find(written, position)
            if start >= 0:
                return (start, start + len(written)), start + len(written)
    return (0, 0), position


def _as_in_text(frame: ParsedFrame, text: str) -> ParsedFrame:
    return replace(
        frame,
        filler=_spelled(frame.filler, text),
        slots=tuple(replace(slot, filler=_spelled(slot.filler, text)) for slot in frame.slots),
    )


def _spelled(filler: str | None, text: str) -> str | None:
    """A filler as the text has it: with its line ends and blanks, of which models make one blank."""
    if filler is None or (filler in text and filler.strip()):
        return filler
    words = filler.split()
    match = re.search(r"\s+".join(map(re.escape, words)), text) if words else None
    return filler if match is None else match[0]


def _cut(dropped: Dropped) -> Dropped:
    if len(dropped.value) <= LONGEST_QUOTE:
        return dropped
    return dropped.model_copy(update={"value": dropped.value[: LONGEST_QUOTE - 3] + "..."})


def scored(alignment: Alignment, content: str, tokens: Sequence[Token]) -> tuple[Record, ...]:
    """The records, with the probability of their fillers: the geometric mean over the tokens of each.

    That of a record is the mean over the tokens of all its fillers. They are the model's own, not calibrated.
    Without tokens, or where these are not those of the answer's content, the records have no scores.
    """
    if "".join(token.text for token in tokens) != content:
        return alignment.records
    ends = list(accumulate(len(token.text) for token in tokens))
    spans = [(end - len(token.text), end) for token, end in zip(tokens, ends, strict=True)]

    def values(span: Span) -> list[float]:
        return [
            token.log_probability
            for token, (start, end) in zip(tokens, spans, strict=True)
            if start < span[1] and end > span[0]
        ]

    records = []
    for record, frame in zip(alignment.records, alignment.frames, strict=True):
        of_frame = values(frame.filler_range) if record.filler is not None else []
        of_slots = [values(slot.filler_range) if slot.filler is not None else [] for slot in frame.slots]
        update: dict[str, Any] = {
            "filler": _with_score(record.filler, of_frame),
            "slots": tuple(
                FilledSlot(slot=filled.slot, filler=_with_score(filled.filler, own))
                for filled, own in zip(record.slots, of_slots, strict=True)
            ),
            "score": _mean_probability([value for own in (of_frame, *of_slots) for value in own]),
        }
        records.append(record.model_copy(update=update))
    return tuple(records)


def _with_score(filler: Filler | None, values: Sequence[float]) -> Filler | None:
    if filler is None or not values:
        return filler
    return filler.model_copy(update={"score": _mean_probability(values)})


def _mean_probability(values: Sequence[float]) -> float | None:
    return round(math.exp(sum(values) / len(values)), 6) if values else None
