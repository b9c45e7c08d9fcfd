"""The table of tasks and capabilities."""

from typing import get_args

import pytest

from ucuie.schema import CAPABILITIES, TASKS, Capability, Task
from ucuie.schema.capabilities import capabilities_of, capability_labels


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("NER", (1.0, 1.0, 0.0)),
        ("RE", (1.0, 1.0, 1.0)),
        ("EE", (1.0, 1.0, 1.0)),
        ("ABSA", (1.0, 1.0, 1.0)),
        ("judging", (1.0, 0.0, 0.0)),
        ("locating", (0.0, 1.0, 0.0)),
        ("associating", (0.0, 0.0, 1.0)),
    ],
)
def test_labels_are_those_of_the_hard_routing_table(
    task: Task | Capability, labels: tuple[float, float, float]
) -> None:
    assert capability_labels(task) == labels
    assert capabilities_of(task) == tuple(name for name, on in zip(CAPABILITIES, labels, strict=True) if on)


def test_every_task_is_in_the_table() -> None:
    for task in (*TASKS, *get_args(Capability)):
        assert capabilities_of(task)
