"""The vocabulary of the whole package, and how schemas are written.

`model` has the values themselves, `sources` reads every way of writing a schema down, `drafting` makes and
judges schemas, `capabilities` says what the paper's capabilities ask of one.
"""

from ucuie.schema.model import (
    CAPABILITIES,
    ELEMENT_KINDS,
    IS_NONE,
    SPLITS,
    TASKS,
    Capability,
    Dropped,
    ElementKind,
    Example,
    ExpertUse,
    Explanation,
    FilledSlot,
    Filler,
    Frame,
    Record,
    Schema,
    Slot,
    Span,
    Split,
    Task,
    record_faults,
)

__all__ = [
    "CAPABILITIES",
    "ELEMENT_KINDS",
    "IS_NONE",
    "SPLITS",
    "TASKS",
    "Capability",
    "Dropped",
    "ElementKind",
    "Example",
    "ExpertUse",
    "Explanation",
    "FilledSlot",
    "Filler",
    "Frame",
    "Record",
    "Schema",
    "Slot",
    "Span",
    "Split",
    "Task",
    "record_faults",
]
