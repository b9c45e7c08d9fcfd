"""Which of the three capabilities a task exercises, and what locating asks for (design.md, 2.6 and 2.4).

The hard router activates exactly these experts, the BCE loss trains the soft router towards them.
"""

from ucuie.schema import CAPABILITIES, Capability, Frame, Schema, Task

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
        schema: of whole records; at least one frame is evoked by text or has slots.
        has_evoked_frames: whether its frames have fillers; None takes what is so for the schema's shape.
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
