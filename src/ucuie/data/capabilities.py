"""Capability subsets D_J, D_L, D_A: the same texts with a part of the answer (design, 2.4).

judging: which frames and slots there are, without their text. locating: the spans of frames and
slots, each under its own name, without who belongs to whom. associating: the spans are given as
`elements`, the answer is the full records; entities have nothing to associate.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ucuie.language.linearize import order_records
from ucuie.schema import CAPABILITIES, Capability, Example, FilledSlot, Record, Schema
from ucuie.schema.capabilities import TASKS_WITH_EVOKED_FRAMES, located_schema


@dataclass(frozen=True)
class CapabilitySubsets:
    """The three subsets of some examples, and why examples are missing from one."""

    judging: tuple[Example, ...]
    locating: tuple[Example, ...]
    associating: tuple[Example, ...]
    left_out: Counter[str] = field(default_factory=Counter)


def capability_subsets(examples: Iterable[Example]) -> CapabilitySubsets:
    """D_J, D_L and D_A, each in the order of the examples."""
    subsets: dict[Capability, list[Example]] = {capability: [] for capability in CAPABILITIES}
    left_out: Counter[str] = Counter()
    for example in examples:
        for capability in CAPABILITIES:
            derived = capability_example(example, capability)
            if derived is None:
                left_out[f"{example.task} without anything for {capability}"] += 1
            else:
                subsets[capability].append(derived)
    return CapabilitySubsets(**{name: tuple(subset) for name, subset in subsets.items()}, left_out=left_out)


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
