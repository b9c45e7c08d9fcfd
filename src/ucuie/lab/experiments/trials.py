"""What there is to run: trainings, evaluations of their models, measurements. Each is a value with a name.

The name is the folder below the workspace; nothing here runs anything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ucuie.schema import CAPABILITIES, Capability

Data = Literal["test", "validation", "zero-shot", "judging", "locating", "associating", "routing"]
"""The supervised sets' test or validation texts, other sets' test texts, a capability's part of the test; or,
of the test, how tokens are routed instead of what is extracted."""
ALL = "all"
"""The samples that all trials share but those of low resource."""
Gates = tuple[Capability, ...]

MASKS: tuple[Gates, ...] = (
    *((capability,) for capability in CAPABILITIES),
    ("judging", "locating"),
    ("judging", "associating"),
    ("locating", "associating"),
    CAPABILITIES,
)
"""J, L, A, J+L, J+A, L+A, J+L+A."""


def mask_title(gates: Gates | None) -> str:
    """J+L for judging and locating; None, the router's own gates, is soft."""
    return "soft" if gates is None else "+".join(name[0].upper() for name in gates)


@dataclass(frozen=True)
class Training:
    """A model to be trained.

    Args:
        learning_rate: the same in both stages.
        percent: of the training split of each set; None takes the scale's examples.
    """

    variant: str
    learning_rate: float
    seed: int
    percent: int | None = None

    @property
    def folder(self) -> Path:
        """Below the workspace."""
        part = "" if self.percent is None else f"-{self.percent}percent"
        return Path("trials") / f"{self.variant}{part}-lr{self.learning_rate:g}-seed{self.seed}"

    @property
    def samples(self) -> str:
        """The samples that it is trained on, by their name."""
        return ALL if self.percent is None else f"{self.percent}percent-seed{self.seed}"


@dataclass(frozen=True)
class Evaluation:
    """A trained model to be tested.

    Args:
        gates: gates are 1 for these capabilities and 0 for the others; None leaves them to the router.
    """

    training: Training
    data: Data
    gates: Gates | None = None

    @property
    def folder(self) -> Path:
        """Below the workspace."""
        gates = "" if self.gates is None else f"-{mask_title(self.gates)}"
        return self.training.folder / f"{self.data}{gates}"


@dataclass(frozen=True)
class Cost:
    """Time and memory of all variants, side by side in one process."""

    folder: ClassVar = Path("cost")


Job = Training | Evaluation | Cost
