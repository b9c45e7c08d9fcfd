"""How large the experiments are: which data sets, how much of each, how many steps.

`smoke` shows in minutes that everything runs, `mini` compares variants on a small frozen backbone, `unseen`
on data sets that the first ucuie-mini never saw, `full` has the paper's settings (Section 4.1). A scale is
data; nothing here opens a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.schema import Split


@dataclass(frozen=True)
class Scale:
    """The size of all trials of an experiment.

    Args:
        name: what the command calls it.
        sets: catalogue names of the sets that are trained and tested on.
        zero_shot_sets: those that are tested on only.
        max_train: training examples of each set.
        max_test: test texts of each set; None takes all.
        max_validation: texts of each set on which the learning rate is chosen.
        test_split: which split is tested on.
        learning_rates: of which the best on validation texts is taken, for every variant by itself.
        num_seeds: trials of everything.
        percents: of the training split in low-resource trials.
        sub_experts: how many there are in the trials of figure5.
        warming_steps: of stage 1; None runs its epochs.
        multitask_steps: of stage 2; None runs its epochs.
        settings: parts of a `TrainConfig`.
    """

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

_TRAINER = {"eval_strategy": "no", "bf16": True}
_SMALL = {
    # A small backbone learns the choices that the grammar leaves, and decodes from the same distribution.
    "loss": {"objective": "grammar"},
    "augmentation": {"max_frames": 12, "max_negatives": 2},
    # The steps say when a stage ends, whatever there is of data.
    "warming": {"epochs": 1000},
    "multitask": {"epochs": 1000},
}

_MINI = Scale(
    name="mini",
    sets=("bc5cdr", "ncbi-disease", "conll04", "ade", "phee", "14res"),
    zero_shot_sets=("crossner_ai", "crossner_literature", "crossner_music", "mit_restaurant", "nyt"),
    max_train=250,
    max_test=100,
    max_validation=60,
    test_split="test",
    learning_rates=(5e-4, 2e-3, 8e-3),
    num_seeds=3,
    percents=(1, 5, 10),
    sub_experts=tuple(range(1, 9)),
    warming_steps=28,
    multitask_steps=94,
    settings={**_SMALL, "batch_size": 16, "trainer": _TRAINER | {"save_strategy": "no"}},
)

SCALES: Mapping[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            name="smoke",
            sets=("sample",),
            zero_shot_sets=("sample",),
            max_train=56,
            max_test=8,
            max_validation=4,
            test_split="validation",
            learning_rates=(1e-3,),
            num_seeds=1,
            percents=(10,),
            sub_experts=(1, 2),
            warming_steps=1,
            multitask_steps=1,
            settings={**_SMALL, "batch_size": 4, "trainer": {"eval_strategy": "no"}},
        ),
        _MINI,
        replace(
            _MINI,
            name="unseen",
            sets=("bc2gm", "genia_ner", "ade", "nyt", "casie", "acos_laptop"),
            zero_shot_sets=tuple(name for name in _MINI.zero_shot_sets if name != "nyt"),
            learning_rates=(2e-3, 8e-3),  # those that adapters chose at `mini`
        ),
        replace(
            _MINI,
            name="full",
            # The sets of the paper that can be had without a licence agreement.
            sets=(
                *("bc5cdr", "bc2gm", "broad_twitter_corpus", "genia_ner", "harveyner", "ncbi-disease"),
                *("conll04", "ade", "nyt", "semeval2010", "casie", "phee"),
            ),
            zero_shot_sets=(
                *("crossner_ai", "crossner_literature", "crossner_music", "mit_restaurant"),
                *("fewrel", "wikizsl", "14res", "14lap", "16res"),
            ),
            max_train=10_000,
            max_test=None,
            max_validation=200,
            learning_rates=(3e-4,),
            num_seeds=5,
            warming_steps=None,
            multitask_steps=None,
            settings={"trainer": _TRAINER},
        ),
    )
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
