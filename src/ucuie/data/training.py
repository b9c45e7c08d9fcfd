"""What training makes of examples: schemas that vary from epoch to epoch, and the capability subsets.

An augmented schema lacks frames and slots, is shuffled, and has negatives; the records stay as they are, so
the example asks for all that stands in its text. The subsets D_J, D_L and D_A are the same texts with a part
of the answer (design, 2.4):

    judging      which frames and slots there are, without their text
    locating     the spans of frames and slots, each under its own name, without who belongs to whom
    associating  the spans are given as `elements`, the answer is the full records, so not of entities
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pydantic import Field

from ucuie.config import Config
from ucuie.language.linearize import order_records
from ucuie.schema import CAPABILITIES, Capability, Example, FilledSlot, Frame, Record, Schema, Slot
from ucuie.schema.capabilities import TASKS_WITH_EVOKED_FRAMES, located_schema


class SchemaAugmentation(Config):
    """The ways in which the schema of a training example varies.

    Args:
        shuffle: the order of the frames, and of the slots of frames that have more than two, is random.
        keep_all: probability that no label is dropped.
        max_frames: at most this many frames stay, those in the text always; None is no limit.
        max_negatives: at most this many frames of the pool of negatives are added; 0 adds none. A frame
            of another data set may well stand in the text without being annotated, so use it with care.
    """

    shuffle: bool = True
    keep_all: float = Field(default=0.3, ge=0, le=1)
    max_frames: int | None = Field(default=None, ge=1)
    max_negatives: int = Field(default=0, ge=0)


def vary_schema(
    schema: Schema,
    records: Sequence[Record],
    generator: random.Random,
    *,
    augmentation: SchemaAugmentation | None = None,
    negatives: Sequence[Frame] = (),
) -> Schema:
    """Another schema that is still right for records, of one text or several; all chance is the generator's.

    Of the negatives, frames that share a word with one of the schema are not added: they may mean the same.
    """
    augmentation = augmentation or SchemaAugmentation()
    frames = _with_frames_dropped(schema, records, generator, augmentation)
    frames = list(_with_slots_dropped(frames, records, generator, augmentation))
    if augmentation.max_negatives and negatives:
        frames += _drawn_negatives(schema, generator, augmentation.max_negatives, negatives)
    if augmentation.shuffle:
        generator.shuffle(frames)
        frames = [_with_slots_shuffled(frame, generator) for frame in frames]
    return Schema(frames=tuple(frames))


def with_schema(example: Example, schema: Schema) -> Example:
    """The example asked with another schema, its records in the order of that.

    Raises:
        KeyError: a frame or slot of the records is not in the schema.
    """
    return replace(example, schema=schema, records=order_records(example.records, schema))


def narrow_schema(schema: Schema, records: Sequence[Record], max_frames: int | None) -> Schema:
    """The first `max_frames` frames of a schema, those of the records always; None keeps all.

    No chance is in it: it is the longest that `vary_schema` can make without negatives, or near it.
    """
    if max_frames is None or len(schema.frames) <= max_frames:
        return schema
    present = {record.frame for record in records}
    absent = [frame.name for frame in schema.frames if frame.name not in present]
    names = present | set(absent[: max(max_frames - len(present), 0 if present else 1)])
    return Schema(frames=tuple(frame for frame in schema.frames if frame.name in names))


def _with_frames_dropped(
    schema: Schema, records: Sequence[Record], generator: random.Random, augmentation: SchemaAugmentation
) -> list[Frame]:
    """The frames of the records, and a random share of the others; at least one."""
    present = {record.frame for record in records}
    absent = [name for name in schema.frame_names if name not in present]
    kept = _num_kept(absent, generator, augmentation)
    if augmentation.max_frames is not None:
        kept = min(kept, max(augmentation.max_frames - len(present), 0))
    names = present | set(generator.sample(absent, kept if present else max(kept, 1)))
    return [frame for frame in schema.frames if frame.name in names]


def _with_slots_dropped(
    frames: list[Frame], records: Sequence[Record], generator: random.Random, augmentation: SchemaAugmentation
) -> Iterator[Frame]:
    """Thins the frames with many slots: the filled ones stay, and a random share of the others."""
    for frame in frames:
        if _has_open_slots(frame):
            filled = {slot.slot for record in records if record.frame == frame.name for slot in record.slots}
            absent = [name for name in frame.slot_names if name not in filled]
            names = filled | set(generator.sample(absent, _num_kept(absent, generator, augmentation)))
            frame = _with_slots(frame, [slot for slot in frame.slots if slot.name in names])
        yield frame


def _num_kept(absent: list[str], generator: random.Random, augmentation: SchemaAugmentation) -> int:
    keeps_all = generator.random() < augmentation.keep_all
    return len(absent) if keeps_all else generator.randint(0, len(absent))


def _with_slots(frame: Frame, slots: list[Slot]) -> Frame:
    return frame.model_copy(update={"slots": tuple(slots)})


def _with_slots_shuffled(frame: Frame, generator: random.Random) -> Frame:
    if not _has_open_slots(frame):
        return frame
    slots = list(frame.slots)
    generator.shuffle(slots)
    return _with_slots(frame, slots)


def _has_open_slots(frame: Frame) -> bool:
    """Tell whether slots come and go: a relation or an opinion always has its two."""
    return len(frame.slots) > 2


def _drawn_negatives(
    schema: Schema, generator: random.Random, maximum: int, negatives: Sequence[Frame]
) -> list[Frame]:
    taken = set().union(*(_words(frame.name) for frame in schema.frames))
    pool = list({frame.name: frame for frame in negatives if not _words(frame.name) & taken}.values())
    return generator.sample(pool, min(generator.randint(0, maximum), len(pool)))


def _words(name: str) -> set[str]:
    return set(name.casefold().split())


def capability_subset(examples: Iterable[Example], capability: Capability) -> Iterator[Example]:
    """One of D_J, D_L and D_A, as a stream."""
    for example in examples:
        derived = capability_example(example, capability)
        if derived is not None:
            yield derived


def capability_example(example: Example, capability: Capability) -> Example | None:
    """The example as one of a capability subset, or None where it has none of that capability.

    Raises:
        ValueError: the example is one of a capability subset already.
    """
    if example.task in CAPABILITIES:
        raise ValueError(f"{example.id} is an example of {example.task} already")
    derive = {"judging": _judging, "locating": _locating, "associating": _associating}[capability]
    derived = derive(example)
    return derived and replace(derived, id=f"{example.id}/{capability}", task=capability)


def _judging(example: Example) -> Example:
    found: dict[str, dict[str, None]] = {}
    for record in example.records:
        found.setdefault(record.frame, {}).update(dict.fromkeys(filled.slot for filled in record.slots))
    records = [
        Record(frame=frame, slots=tuple(FilledSlot(slot=slot) for slot in slots))
        for frame, slots in found.items()
    ]
    return replace(example, records=order_records(records, example.schema))


def _locating(example: Example) -> Example | None:
    schema = _element_schema(example)
    if schema is None:
        return None
    return replace(example, schema=schema, records=_located_elements(example, schema))


def _associating(example: Example) -> Example | None:
    schema = None if example.task == "NER" else _element_schema(example)
    elements = _located_elements(example, schema) if schema else ()
    return replace(example, elements=elements) if elements else None


def _element_schema(example: Example) -> Schema | None:
    """The schema of what can be located in the example; None if there is nothing of the kind."""
    has_evoked_frames = example.task in TASKS_WITH_EVOKED_FRAMES or any(
        record.filler is not None for record in example.records
    )
    has_slots = any(frame.slots for frame in example.schema.frames)
    if not has_evoked_frames and not has_slots:
        return None
    return located_schema(example.schema, has_evoked_frames=has_evoked_frames)


def _located_elements(example: Example, schema: Schema) -> tuple[Record, ...]:
    """Every span of the example under the name of its frame or slot, once for each name."""
    elements = {}
    for record in example.records:
        if record.filler is not None:
            elements[record.frame, record.filler.span] = Record(frame=record.frame, filler=record.filler)
        for filled in record.slots:
            if filled.filler is not None:
                elements[filled.slot, filled.filler.span] = Record(frame=filled.slot, filler=filled.filler)
    return order_records(elements.values(), schema)
