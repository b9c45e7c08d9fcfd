"""A training run from configuration to model folder: data, backbone, stage 1, stage 2, saving.

Everything that a run writes lies in its output folder: the model itself, `run.json` (configuration, seed,
versions, data, losses), and under `checkpoints/` what is needed to go on after an interruption.
"""

import json
import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import PreTrainedModel, TrainingArguments, set_seed

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.atomic import write_text
from ucuie.data import DatasetShare, build_mixture, capability_subsets, generator_for, read_examples
from ucuie.data.mixture import sample_examples
from ucuie.decode.grammar import GrammarFactory
from ucuie.encode import PromptEncoder
from ucuie.errors import ConfigError, DataError, did_you_mean
from ucuie.instructions import InstructionPool
from ucuie.model_folder import Backbone, load_backbone, save_model
from ucuie.schema import CAPABILITIES, Example
from ucuie.train.config import StageConfig, TrainConfig
from ucuie.train.trainer import UcuieTrainer
from ucuie.train.training_set import TrainingSet, collate

logger = logging.getLogger(__name__)

CHECKPOINT_STEPS = 200
VALIDATION_EXAMPLES_PER_DATASET = 200
DEFAULT_ARGUMENTS: dict[str, Any] = {
    "eval_strategy": "epoch",
    "logging_steps": 20,
    "lr_scheduler_type": "cosine",
    "report_to": ["tensorboard"],
    "save_steps": CHECKPOINT_STEPS,
    "save_total_limit": 2,
    "warmup_steps": 0.03,
    # AdamW's decay would move experts that no example of a stage reaches.
    "weight_decay": 0.0,
}
OWN_ARGUMENTS = {"output_dir", "learning_rate", "num_train_epochs", "max_steps", "seed"}
"""Trainer arguments that the configuration has keys of its own for, or that a stage decides."""


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and what it watches."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    shares: dict[str, DatasetShare]


def run_training(config: TrainConfig, *, resume: bool = False) -> Path:
    """Trains a model and returns its folder, `config.output`.

    Args:
        config: the run.
        resume: go on from the last checkpoint of the same output folder; without one, start.

    Raises:
        ConfigError: a trainer argument is unknown or set elsewhere, or the output folder has a finished
            or interrupted run in it and `resume` is off.
        DataError: the data cannot be read, or nothing of it fits into the context.
    """
    checkpoints = config.output / "checkpoints"
    if not resume and checkpoints.exists():
        raise ConfigError(
            f"config error: {config.output} holds an interrupted run; add --resume to go on with it, or name "
            "another output folder"
        )
    set_seed(config.seed)
    data = read_training_data(config)
    backbone = load_backbone(config.backbone)
    pool = InstructionPool.load(config.instruction_pool)
    model = _trainable(backbone.model, config)

    build = partial(_training_set, config=config, backbone=backbone, pool=pool)
    losses = {}
    if config.method == "adapter" and config.warming.enabled:
        warming = build(_warming_examples(data.train, config))
        losses["warming"] = _run_stage(
            model, config, config.warming, warming, None, checkpoints / "warming", backbone
        )
    multitask = build(data.train)
    validation = build(data.validation, is_varied=False) if data.validation else None
    losses["multitask"] = _run_stage(
        model, config, config.multitask, multitask, validation, checkpoints / "multitask", backbone
    )
    training = _summary(config, data, losses)
    save_model(model, backbone, config.output, pool=pool, training=training)
    write_text(config.output / "run.json", json.dumps(training, indent=1, default=str) + "\n")
    return config.output


def read_training_data(config: TrainConfig) -> TrainingData:
    """The training mixture without leaks, and some validation examples of each data set."""
    options = {"seed": config.seed, "max_per_dataset": config.data.max_per_dataset}
    mixture = build_mixture(config.data.train, held_out=config.data.held_out, options=options)
    validation: list[Example] = []
    for folder in config.data.train:
        if (folder / "validation.jsonl").exists():
            examples = read_examples(folder / "validation.jsonl")
            generator = generator_for(config.seed, f"validation/{folder.name}")
            validation += sample_examples(examples, VALIDATION_EXAMPLES_PER_DATASET, generator)
    return TrainingData(mixture.examples, tuple(validation), dict(mixture.shares))


def _trainable(backbone: PreTrainedModel, config: TrainConfig) -> Any:
    backbone.config.use_cache = False
    if config.method == "full":
        return backbone
    adapter = validate_adapter(config.adapter)
    return get_peft_model(backbone, adapter)


def validate_adapter(settings: dict[str, Any]) -> HierarchicalMoeConfig:
    """The adapter's configuration from its part of the YAML.

    Raises:
        ConfigError: a key is unknown or a value impossible.
    """
    known = set(HierarchicalMoeConfig.__dataclass_fields__)
    for key in settings:
        if key not in known:
            raise ConfigError(f"config error: adapter.{key} is unknown{did_you_mean(key, sorted(known))}")
    return HierarchicalMoeConfig(**settings)


def _warming_examples(examples: Sequence[Example], config: TrainConfig) -> list[Example]:
    """D_J, D_L and D_A together; every row is gated by its own capability."""
    subsets = capability_subsets(examples)
    chosen = []
    for capability in CAPABILITIES:
        generator = generator_for(config.seed, f"warming/{capability}")
        chosen += sample_examples(
            getattr(subsets, capability), config.warming.max_per_capability, generator
        )
    return chosen


def _training_set(
    examples: Sequence[Example],
    *,
    config: TrainConfig,
    backbone: Backbone,
    pool: InstructionPool,
    is_varied: bool = True,
) -> TrainingSet:
    uses_grammar = config.loss.objective == "grammar"
    built = TrainingSet(
        examples,
        PromptEncoder(backbone.tokenizer, pool=pool),
        pool=pool if config.paraphrase and is_varied else None,
        grammars=GrammarFactory(backbone.tokenizer, backbone.model.config.vocab_size) if uses_grammar else None,
        augmentation=config.augmentation if is_varied else None,
        max_length=config.max_length or backbone.model.config.max_position_embeddings,
        seed=config.seed,
    )
    if built.num_too_long:
        logger.warning("%s examples are longer than the context and left out", f"{built.num_too_long:,}")
    if not len(built):
        raise DataError("the training data", ["no example fits into the context"], "raise max_length")
    return built


def _run_stage(
    model: Any,
    config: TrainConfig,
    stage: StageConfig,
    train: TrainingSet,
    validation: TrainingSet | None,
    folder: Path,
    backbone: Backbone,
) -> list[dict[str, float]]:
    """Trains one stage from its last checkpoint, or from the start, and returns its log."""
    trainer = UcuieTrainer(
        model=model,
        args=_arguments(config, stage, folder, has_validation=validation is not None),
        loss=config.loss,
        gates_are_labels=stage is config.warming,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=partial(collate, pad_id=backbone.tokenizer.pad_token_id or 0),
    )
    checkpoint = last_checkpoint(folder)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return [dict(entry) for entry in trainer.state.log_history]


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a stage; one that was being written when the run died is not whole."""
    # The Trainer writes its state last.
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _arguments(
    config: TrainConfig, stage: StageConfig, folder: Path, *, has_validation: bool
) -> TrainingArguments:
    taken = OWN_ARGUMENTS & set(config.trainer)
    if taken:
        names = ", ".join(sorted(taken))
        raise ConfigError(f"config error: trainer.{names} is set by the configuration's own keys")
    known = set(TrainingArguments.__dataclass_fields__)
    for key in config.trainer:
        if key not in known:
            raise ConfigError(f"config error: trainer.{key} is unknown{did_you_mean(key, sorted(known))}")
    defaults = DEFAULT_ARGUMENTS | ({} if has_validation else {"eval_strategy": "no"})
    return TrainingArguments(
        **(
            defaults
            | {"per_device_train_batch_size": config.batch_size, "per_device_eval_batch_size": config.batch_size}
            | config.trainer
        ),
        output_dir=str(folder),
        learning_rate=stage.learning_rate,
        num_train_epochs=stage.epochs,
        max_steps=stage.max_steps or -1,
        seed=config.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _summary(config: TrainConfig, data: TrainingData, losses: dict[str, Any]) -> dict[str, Any]:
    """What it takes to repeat and judge the run."""
    packages = ("ucuie", "torch", "transformers", "peft", "llguidance")
    return {
        "config": json.loads(config.model_dump_json()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "data": {name: share.model_dump() for name, share in data.shares.items()},
        "losses": losses,
    }
