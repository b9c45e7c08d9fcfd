"""What a run learns from and what it watches, from unified data and the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

from ucuie.data import (
    DatasetShare,
    build_mixture,
    capability_subset,
    generator_for,
    read_examples,
    sample_examples,
)
from ucuie.errors import DataError
from ucuie.schema import CAPABILITIES, Example
from ucuie.templates import counted
from ucuie.train.config import TrainConfig

VALIDATION_EXAMPLES_PER_DATASET = 200


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and what it watches."""

    train: Sequence[Example]
    validation: tuple[Example, ...]
    shares: dict[str, DatasetShare]


def read_training_data(config: TrainConfig) -> TrainingData:
    """The training mixture without leaks, and some validation examples of each data set.

    Raises:
        DataError: data cannot be read, or there is no example to train on.
    """
    options = config.data.mixture.model_copy(update={"seed": config.seed})
    mixture = build_mixture(config.data.train, held_out=config.data.held_out, options=options)
    if not mixture.examples:
        num_leaked = sum(share.leaked for share in mixture.shares.values())
        why = f"; {counted(num_leaked, 'text')} are held out" if num_leaked else ""
        raise DataError(
            "the training data",
            [f"there is no example to train on{why}"],
            "look at data.train in the YAML file",
        )
    validation: list[Example] = []
    for folder in config.data.train:
        if (folder / "validation.jsonl").exists():
            examples = read_examples(folder / "validation.jsonl")
            generator = generator_for(config.seed, f"validation/{folder.name}")
            validation += sample_examples(examples, VALIDATION_EXAMPLES_PER_DATASET, generator)
    return TrainingData(mixture.examples, tuple(validation), dict(mixture.shares))


def warming_examples(examples: Sequence[Example], config: TrainConfig) -> list[Example]:
    """D_J, D_L and D_A together; every row is gated by its own capability."""
    chosen = []
    for capability in CAPABILITIES:
        generator = generator_for(config.seed, f"warming/{capability}")
        subset = capability_subset(examples, capability)
        chosen += sample_examples(subset, config.warming.max_per_capability, generator)
    return chosen
