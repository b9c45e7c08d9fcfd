"""The capabilities that a task exercises, the schema of locating and the elements of associating.

The hard router activates exactly these experts, the BCE loss trains the soft router towards them (design.md,
2.4 and 2.6).
"""

from collections.abc import Collection, Iterator, Sequence

from ucuie.errors import did_you_mean, show
from ucuie.schema.model import CAPABILITIES, Capability, Frame, Record, Schema, Task, span_faults

TASKS_WITH_EVOKED_FRAMES = ("NER", "EE")
"""In their texts the frames themselves have fillers: entities, triggers."""

_CAPABILITIES_OF: dict[Task | Capability, tuple[Capability, ...]] = {
    "NER": ("judging", "locating"),
    "RE": CAPABILITIES,
    "EE": CAPABILITIES,
    "ABSA": CAPABILITIES,
    "judging": ("judging",),
    "locating": ("locating",),
    "associating": ("associating",),
}


def capabilities_of(task: Task | Capability) -> tuple[Capability, ...]:
    """The capabilities that a task exercises, in the order of `CAPABILITIES`."""
    return _CAPABILITIES_OF[task]


def capability_labels(task: Task | Capability) -> tuple[float, float, float]:
    """1.0 for each capability that the task exercises, else 0.0, in the order of `CAPABILITIES`."""
    exercised = capabilities_of(task)
    judging, locating, associating = (float(capability in exercised) for capability in CAPABILITIES)
    return judging, locating, associating


def located_schema(schema: Schema, *, has_evoked_frames: bool | None = None) -> Schema:
    """Frames without slots for all that can be located: frames that text evokes, and slots; each name once.

    Args:
        schema: that of whole records; at least one frame is evoked by text or has slots.
        has_evoked_frames: True if its frames have fillers; None takes what is so for the schema's shape.
    """
    if has_evoked_frames is None:
        has_evoked_frames = schema.task in TASKS_WITH_EVOKED_FRAMES
    located: dict[str, Frame] = {}
    for frame in schema.frames:
        if has_evoked_frames:
            located.setdefault(frame.name, Frame(name=frame.name, description=frame.description))
        for slot in frame.slots:
            located.setdefault(slot.name, Frame(name=slot.name, description=slot.description))
    return Schema(frames=tuple(located.values()))


def element_faults(elements: Sequence[Record], text: str, schema: Schema) -> Iterator[tuple[int, str]]:
    """The faults of spans that cannot be given to associating, by their positions.

    Args:
        elements: each a frame of `located_schema` with a filler and without slots.
        text: the one that they are spans of.
        schema: that of the records that they are to be parts of.
    """
    names = dict.fromkeys(frame.name for frame in located_schema(schema, has_evoked_frames=True).frames)
    for index, element in enumerate(elements):
        if faults := _faults_of(element, text, names):
            yield index, "; ".join(faults)


def _faults_of(element: Record, text: str, names: Collection[str]) -> list[str]:
    faults = [f"{fault}; offsets are half-open, in code points" for fault in span_faults(element, text)]
    if element.frame not in names:
        hint = did_you_mean(element.frame, names)
        faults.append(f"element {show(element.frame)} is neither frame nor slot of the schema{hint}")
    if element.filler is None:
        faults.append(f"element {show(element.frame)} has no filler; give the span that it is")
    if element.slots:
        faults.append(f"element {show(element.frame)} has slots; give each as an element of its own")
    return faults
