"""Which of the three capabilities a task exercises (design.md, decision 2.6).

The hard router activates exactly these experts, the BCE loss trains the soft router towards them.
"""

from ucuie.schema import CAPABILITIES, Capability, Task

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
