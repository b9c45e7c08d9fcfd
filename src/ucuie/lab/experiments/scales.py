"""How large the experiments are (`scales.yaml`), and looking things up by their names.

`smoke` shows in minutes that everything runs, `mini` compares variants on a small frozen backbone, `unseen`
on data sets that the first ucuie-mini never saw, `full` has the paper's settings (Section 4.1).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ucuie.config import Config
from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.schema import Split


class Scale(Config):
    """The size of all trials of an experiment; `scales.yaml` says what the fields are."""

    name: str
    sets: tuple[str, ...]
    zero_shot_sets: tuple[str, ...]
    max_train: int
    max_test: int | None
    max_validation: int
    test_split: Split
    learning_rates: tuple[float, ...]
    num_seeds: int
    percents: tuple[int, ...]
    sub_experts: tuple[int, ...]
    warming_steps: int | None
    multitask_steps: int | None
    settings: Mapping[str, Any]


Entry = TypeVar("Entry")


def named_entries(name: str) -> Mapping[str, dict[str, Any]]:
    """The entries of a YAML file of the experiments, each with its name in it."""
    content = yaml.safe_load(Path(__file__).with_name(name).read_text("utf-8"))
    return {name: {"name": name, **entry} for name, entry in content.items()}


SCALES: Mapping[str, Scale] = {
    name: Scale.model_validate(entry) for name, entry in named_entries("scales.yaml").items()
}
"""Every scale by name."""


def named(kind: str, name: str, known: Mapping[str, Entry], *others: str) -> Entry:
    """The scale, variant or experiment of that name.

    Raises:
        ConfigError: there is none; the message lists all, and the other names that would do.
    """
    if name not in known:
        raise ConfigError(f"no {kind} {show(name)}{did_you_mean(name, (*known, *others))}")
    return known[name]
