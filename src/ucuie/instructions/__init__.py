"""Instructions: what the model is told to do, in many wordings, with the schema in it."""

from ucuie.instructions.instruction import build_instruction
from ucuie.instructions.pool import (
    INSTRUCTION_TASKS,
    InstructionPool,
    InstructionTask,
    ParaphraseOrigin,
    Wording,
    wording_faults,
)

__all__ = [
    "INSTRUCTION_TASKS",
    "InstructionPool",
    "InstructionTask",
    "ParaphraseOrigin",
    "Wording",
    "build_instruction",
    "wording_faults",
]
