"""The Trainer's arguments for a stage: from the configuration's own keys, its part `trainer`, defaults."""

import os
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainingArguments

from ucuie.errors import ConfigError, did_you_mean, needs
from ucuie.train.config import StageConfig, TrainConfig

CHECKPOINT_STEPS = 200
DEFAULT_ARGUMENTS: dict[str, Any] = {
    # Every forward uses every parameter: experts that are switched off are multiplied by 0.
    "ddp_find_unused_parameters": False,
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
OWN_ARGUMENTS = {
    "gradient_accumulation_steps",
    "learning_rate",
    "max_steps",
    "num_train_epochs",
    "output_dir",
    "per_device_train_batch_size",
    "seed",
    *("activation_checkpointing", "gradient_checkpointing"),
}
"""Trainer arguments that follow from the configuration's own keys."""
BITSANDBYTES_OPTIMIZERS = ("adamw_8bit", "adamw_bnb", "ademamix", "lion", "paged_", "rmsprop_bnb")
"""How the names of those begin that the library bitsandbytes has."""


def check_optimizer(config: TrainConfig) -> None:
    """Refuse an optimiser whose library is not installed, before the Trainer does.

    Raises:
        MissingExtraError: it needs bitsandbytes.
    """
    optimizer = str(config.trainer.get("optim", ""))
    if optimizer.startswith(BITSANDBYTES_OPTIMIZERS):
        needs("bitsandbytes", "quantized")


def divide_step(config: TrainConfig, num_processes: int) -> tuple[int, int]:
    """Rows at a time on one device, and how many times that is done for one step.

    Raises:
        ConfigError: the rows of a step cannot be shared evenly.
    """
    rows = config.micro_batch_size or config.batch_size // num_processes
    if rows == 0 or config.batch_size % (rows * num_processes):
        at_a_time = "" if config.micro_batch_size is None else f" with {rows} rows at a time"
        raise ConfigError(
            f"{config.batch_size} rows of a step (batch_size) cannot be shared evenly by "
            f"{num_processes} processes{at_a_time}; change batch_size or micro_batch_size"
        )
    return rows, config.batch_size // (rows * num_processes)


def trainer_arguments(
    config: TrainConfig, stage: StageConfig, folder: Path, *, has_validation: bool
) -> TrainingArguments:
    """The Trainer's arguments for a stage.

    Args:
        config: of the run.
        stage: its part of the configuration.
        folder: for its checkpoints and logs.
        has_validation: there is something to evaluate it on; else it is not, whatever `trainer` says, which
            is for both stages.

    Raises:
        ConfigError: an argument is unknown, impossible, or follows from other keys.
    """
    taken = OWN_ARGUMENTS & set(config.trainer)
    if taken:
        names = ", ".join(sorted(taken))
        raise ConfigError(f"trainer.{names} follows from the configuration's own keys")
    known = set(TrainingArguments.__dataclass_fields__)
    for key in config.trainer:
        if key not in known:
            raise ConfigError(f"trainer.{key} is unknown{did_you_mean(key, sorted(known))}")
    if config.trainer.get("fsdp") or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        raise ConfigError(
            "this package shares out weights itself; set sharding: full (or --sharding full) "
            "in place of trainer.fsdp and of accelerate's own FSDP"
        )
    unwatched = {} if has_validation else {"eval_strategy": "no"}
    rows, times = divide_step(config, PartialState().num_processes)
    settings = {
        "per_device_train_batch_size": rows,
        "per_device_eval_batch_size": rows,
        "gradient_accumulation_steps": times,
        "output_dir": str(folder),
        "learning_rate": stage.learning_rate,
        "num_train_epochs": stage.epochs,
        "max_steps": stage.max_steps or -1,
        "seed": config.seed,
        "remove_unused_columns": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
        **(_checkpointing(known) if config.gradient_checkpointing else {}),
        # Without this word bf16 is refused on a CPU, where it may be twice as fast.
        "use_cpu": not torch.accelerator.is_available(),
    }
    try:
        arguments = TrainingArguments(**(DEFAULT_ARGUMENTS | settings | config.trainer | unwatched))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trainer: {error}") from error
    # Of several GPUs one process uses one: DataParallel's threads would share the routing of one forward.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _checkpointing(known: set[str]) -> dict[str, Any]:
    """What switches it on, which versions of transformers name differently."""
    name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}}
