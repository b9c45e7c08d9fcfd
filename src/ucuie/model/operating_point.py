"""The place of a model between precision and recall, as `ucuie.json` has it."""

from collections.abc import Mapping
from dataclasses import dataclass

from ucuie.schema import TASKS, Capability, Task

END_BIASES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Those that a model's own is chosen from; most models end too early."""


@dataclass(frozen=True)
class OperatingPoint:
    """The place of a model between precision and recall, unless an answer is asked for elsewhere.

    Args:
        end_bias: in logits, by how much beginning another record is favoured over ending.
        threshold: the least calibrated score that is kept, for all tasks or by task; 0 keeps everything, as
            for tasks that are missing.
    """

    end_bias: float = 0.0
    threshold: float | Mapping[Task, float] = 0.0

    @property
    def thresholds(self) -> dict[Task, float]:
        """The threshold of every task."""
        by_task = (
            self.threshold if isinstance(self.threshold, Mapping) else dict.fromkeys(TASKS, self.threshold)
        )
        return {task: by_task.get(task, 0.0) for task in TASKS}

    def threshold_of(self, task: Task | Capability) -> float:
        """The threshold for answers to a task; parts of answers, such as judging, go by none."""
        return self.thresholds[task] if task in TASKS else 0.0

    @property
    def threshold_words(self) -> str:
        """The threshold as it is read: `0.2`, or `0.2 for NER, 0.1 for RE, 0 for EE, 0.1 for ABSA`."""
        thresholds = self.thresholds
        if len(set(thresholds.values())) == 1:
            return f"{thresholds['NER']:g}"
        return ", ".join(f"{least:g} for {task}" for task, least in thresholds.items())

    def __str__(self) -> str:
        return f"end bias {self.end_bias:g}; threshold {self.threshold_words}"
