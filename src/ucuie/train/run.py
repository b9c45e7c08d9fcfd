"""A training run from configuration to model folder: data, backbone, stage 1, stage 2, saving.

The model goes to `config.output`. Beside it, in `NAME.run/`, lie the TensorBoard logs, `run.json` (what it
takes to repeat the run, and its losses) and, until the run is finished, `config.json` and its checkpoints.
"""

import json
import logging
import os
import platform
import shutil
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from peft import PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel, TrainerState, TrainingArguments, set_seed

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.atomic import write_text
from ucuie.backbone import Backbone
from ucuie.data import (
    DatasetShare,
    build_mixture,
    capability_subset,
    generator_for,
    read_examples,
    sample_examples,
)
from ucuie.decode.state import GrammarFactory
from ucuie.encode import PromptEncoder
from ucuie.errors import ConfigError, DataError, MissingExtraError, did_you_mean, show
from ucuie.instructions import InstructionPool
from ucuie.model_folder import load_backbone
from ucuie.model_saving import save_model
from ucuie.schema import CAPABILITIES, Example
from ucuie.train.config import StageConfig, TrainConfig
from ucuie.train.interruption import SaveOnInterrupt
from ucuie.train.packing import pack, packed_attention
from ucuie.train.sharding import is_sharded, trained_tensors
from ucuie.train.trainer import UcuieTrainer
from ucuie.train.training_set import TrainingSet, collate

logger = logging.getLogger(__name__)

CHECKPOINT_STEPS = 200
CONFIG_FILE = "config.json"
RUN_FILE = "run.json"
STATE_FILE = "trainer_state.json"
VALIDATION_EXAMPLES_PER_DATASET = 200
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
LASTING_KEYS = ("batch_size", "data", "seed")
"""They decide which rows make up which step, so an interrupted run goes on with them."""


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and what it watches."""

    train: Sequence[Example]
    validation: tuple[Example, ...]
    shares: dict[str, DatasetShare]


def run_training(config: TrainConfig, *, resume: bool = False) -> Path:
    """Trains a model and returns its folder, `config.output`.

    Args:
        config: the run.
        resume: go on from the last checkpoint of the same output folder; without one, start.

    Where several processes run it (`launch`, `accelerate launch`, `torchrun`), they share the steps, and the
    first of them writes the files; results do not depend on their number.

    Raises:
        ConfigError: a trainer or adapter setting is unknown or set elsewhere, the output exists, it has
            an interrupted run and `resume` is off or its steps were others, or the processes cannot share a
            step evenly.
        DataError: the data cannot be read, or nothing of it fits into the context.
        MissingExtraError: quantised weights or the optimiser need bitsandbytes.
        KeyboardInterrupt: Ctrl-C was pressed; the checkpoint is written.
    """
    run_folder = config.output.with_name(f"{config.output.name}.run")
    processes = PartialState(cpu=not torch.accelerator.is_available())
    _check_output(config, run_folder, resume=resume)
    optimizer = str(config.trainer.get("optim", ""))
    if optimizer.startswith(BITSANDBYTES_OPTIMIZERS) and find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "quantized")
    divide_step(config, processes.num_processes)
    # None may write before all have looked.
    processes.wait_for_everyone()
    if not processes.is_main_process:
        logging.getLogger("ucuie").setLevel(logging.ERROR)
    set_seed(config.seed)
    data = read_training_data(config)
    backbone = load_backbone(
        config.backbone, device=_loading_device(config, processes), weights=config.backbone_weights
    )
    run = _Run(config, run_folder, backbone, InstructionPool.load(config.instruction_pool))

    losses = {}
    if config.method == "adapter":
        run.model = adapted(backbone.model, config.adapter)
        if config.warming.enabled:
            warming = run.training_set(_warming_examples(data.train, config))
            losses["warming"] = run.stage(config.warming, warming, name="warming")
    multitask = run.training_set(data.train)
    validation = run.training_set(data.validation, is_varied=False) if data.validation else None
    losses["multitask"] = run.stage(config.multitask, multitask, validation, name="multitask")

    training = _summary(config, data) | {"processes": processes.num_processes}
    trained = trained_tensors(run.model) if is_sharded(run.model) else None
    if processes.is_main_process:
        save_model(
            run.model if trained is None else _whole_model(config, trained),
            backbone,
            config.output,
            pool=run.pool,
            training=training,
            window_tokens=multitask.usual_text_length,
        )
        write_text(run_folder / RUN_FILE, json.dumps(training | {"losses": losses}, indent=1) + "\n")
        for checkpoint in run_folder.glob("*/checkpoint-*"):
            shutil.rmtree(checkpoint)
        (run_folder / CONFIG_FILE).unlink(missing_ok=True)
    processes.wait_for_everyone()
    return config.output


def leave_processes() -> None:
    """The last thing that one of several processes does: threads that are left talking abort its end."""
    PartialState().destroy_process_group()


def _whole_model(config: TrainConfig, trained: dict[str, Tensor]) -> PreTrainedModel | PeftModel:
    """The model of a run whose own is in parts: the backbone as it was, and the tensors that were trained."""
    backbone = load_backbone(config.backbone, weights=config.backbone_weights).model
    model = adapted(backbone, config.adapter) if config.method == "adapter" else backbone
    unknown = model.load_state_dict(trained, strict=False).unexpected_keys
    assert not unknown, unknown
    return model


def _loading_device(config: TrainConfig, processes: PartialState) -> torch.device:
    """Quantised weights are made where they stay; others are moved once they are needed."""
    is_quantized = config.backbone_weights in ("8bit", "4bit")
    device: torch.device = processes.device if is_quantized else torch.device("cpu")
    return device


def divide_step(config: TrainConfig, num_processes: int) -> tuple[int, int]:
    """Rows at a time on one device, and how many times that is done for one step.

    Raises:
        ConfigError: the rows of a step cannot be shared evenly.
    """
    rows = config.micro_batch_size or config.batch_size // num_processes
    if rows == 0 or config.batch_size % (rows * num_processes):
        at_a_time = "" if config.micro_batch_size is None else f" with {rows} rows at a time"
        raise ConfigError(
            f"config error: {config.batch_size} rows of a step (batch_size) cannot be shared evenly by "
            f"{num_processes} processes{at_a_time}; change batch_size or micro_batch_size"
        )
    return rows, config.batch_size // (rows * num_processes)


def _check_output(config: TrainConfig, run_folder: Path, *, resume: bool) -> None:
    """Raise a ConfigError where the run would overwrite a model, or an interrupted run or its steps."""
    output = config.output
    if output.exists():
        raise ConfigError(f"config error: {output} is there already; name another output folder or remove it")
    if run_folder.exists() and not resume:
        raise ConfigError(
            f"config error: {run_folder} holds an interrupted run; --resume goes on with it, removing the "
            "folder starts again"
        )
    if not (run_folder / CONFIG_FILE).exists():
        return
    earlier = json.loads((run_folder / CONFIG_FILE).read_text("utf-8"))
    for key, value in json.loads(config.model_dump_json(include=set(LASTING_KEYS))).items():
        if earlier[key] != value:
            raise ConfigError(
                f"config error: the interrupted run in {run_folder} has {key}: {show(earlier[key])}, now "
                f"{show(value)}, so its steps would be others; go on with the former, or remove the folder "
                "to start again"
            )


def read_training_data(config: TrainConfig) -> TrainingData:
    """The training mixture without leaks, and some validation examples of each data set."""
    options = config.data.mixture.model_copy(update={"seed": config.seed})
    mixture = build_mixture(config.data.train, held_out=config.data.held_out, options=options)
    validation: list[Example] = []
    for folder in config.data.train:
        if (folder / "validation.jsonl").exists():
            examples = read_examples(folder / "validation.jsonl")
            generator = generator_for(config.seed, f"validation/{folder.name}")
            validation += sample_examples(examples, VALIDATION_EXAMPLES_PER_DATASET, generator)
    return TrainingData(mixture.examples, tuple(validation), dict(mixture.shares))


def adapter_config(settings: dict[str, Any]) -> HierarchicalMoeConfig:
    """The adapter's configuration from its part of the YAML.

    Raises:
        ConfigError: a key is unknown or a value impossible.
    """
    known = set(HierarchicalMoeConfig.__dataclass_fields__)
    for key in settings:
        if key not in known:
            raise ConfigError(f"config error: adapter.{key} is unknown{did_you_mean(key, sorted(known))}")
    return HierarchicalMoeConfig(**settings)


def adapted(backbone: PreTrainedModel, settings: dict[str, Any]) -> PeftModel:
    """The backbone, frozen, with a fresh adapter of these settings.

    Raises:
        ConfigError: a key is unknown or a value impossible.
    """
    adapter = adapter_config(settings)
    with warnings.catch_warnings():
        # PEFT asks for an attribute that transformers has renamed; users can do nothing about it.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        return get_peft_model(backbone, adapter)


def _warming_examples(examples: Sequence[Example], config: TrainConfig) -> list[Example]:
    """D_J, D_L and D_A together; every row is gated by its own capability."""
    chosen = []
    for capability in CAPABILITIES:
        generator = generator_for(config.seed, f"warming/{capability}")
        subset = capability_subset(examples, capability)
        chosen += sample_examples(subset, config.warming.max_per_capability, generator)
    return chosen


class _Run:
    """What the stages of a run share."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        backbone: Backbone,
        pool: InstructionPool,
    ) -> None:
        self.config = config
        self.folder = folder
        self.model: PreTrainedModel | PeftModel = backbone.model
        self.pool = pool
        self._tokenizer = backbone.tokenizer
        self._encoder = PromptEncoder(backbone.tokenizer, pool=pool)
        sizes = backbone.model.config
        uses_grammar = config.loss.objective == "grammar"
        self._grammars = GrammarFactory(backbone.tokenizer, sizes.vocab_size) if uses_grammar else None
        self._max_length = config.max_length or sizes.max_position_embeddings

    def training_set(self, examples: Sequence[Example], *, is_varied: bool = True) -> TrainingSet:
        """The examples as training rows; without variation, as inference would see them."""
        built = TrainingSet(
            examples,
            self._encoder,
            pool=self.pool if self.config.paraphrase and is_varied else None,
            grammars=self._grammars,
            augmentation=self.config.augmentation if is_varied else None,
            max_length=self._max_length,
            seed=self.config.seed,
        )
        if built.num_too_long:
            logger.warning("%s examples are longer than the context and left out", f"{built.num_too_long:,}")
        if not len(built):
            raise DataError("the training data", ["no example fits into the context"], "raise max_length")
        return built

    def stage(
        self, stage: StageConfig, train: TrainingSet, validation: TrainingSet | None = None, *, name: str
    ) -> list[dict[str, float]]:
        """Trains one stage from its last checkpoint, or from the start, and returns its log."""
        folder = self.folder / name
        packing = self.config.packing
        trainer = UcuieTrainer(
            model=self.model,
            args=_arguments(self.config, stage, folder, has_validation=validation is not None),
            loss=self.config.loss,
            gates_are_labels=stage is self.config.warming,
            # One process has all weights anyway.
            shares_weights=self.config.sharding == "full" and PartialState().num_processes > 1,
            train_dataset=train,
            eval_dataset=validation,
            data_collator=pack if packing else partial(collate, pad_id=self._tokenizer.pad_token_id or 0),
        )
        interruption = SaveOnInterrupt()
        trainer.add_callback(interruption)
        checkpoint = last_checkpoint(folder)
        state = None if checkpoint is None else TrainerState.load_from_json(checkpoint / STATE_FILE)
        if state is not None and state.global_step >= state.max_steps:
            # The Trainer would take one more step.
            trainer._load_from_checkpoint(str(checkpoint))
            return [dict(entry) for entry in state.log_history]
        if PartialState().is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / CONFIG_FILE, self.config.model_dump_json(indent=1) + "\n")
        model = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        with packed_attention(model) if packing else nullcontext(), interruption.listening():
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        return [dict(entry) for entry in trainer.state.log_history]


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a stage; one that was being written when the run died is not whole."""
    # The Trainer writes its state last.
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{STATE_FILE}")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _arguments(
    config: TrainConfig, stage: StageConfig, folder: Path, *, has_validation: bool
) -> TrainingArguments:
    taken = OWN_ARGUMENTS & set(config.trainer)
    if taken:
        names = ", ".join(sorted(taken))
        raise ConfigError(f"config error: trainer.{names} follows from the configuration's own keys")
    known = set(TrainingArguments.__dataclass_fields__)
    for key in config.trainer:
        if key not in known:
            raise ConfigError(f"config error: trainer.{key} is unknown{did_you_mean(key, sorted(known))}")
    if config.trainer.get("fsdp") or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        raise ConfigError(
            "config error: this package shares out weights itself; set sharding: full (or --sharding full) "
            "in place of trainer.fsdp and of accelerate's own FSDP"
        )
    defaults = DEFAULT_ARGUMENTS | ({} if has_validation else {"eval_strategy": "no"})
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
        **_checkpointing(known, is_wanted=config.gradient_checkpointing),
        # Without this word bf16 is refused on a CPU, where it may be twice as fast.
        "use_cpu": not torch.accelerator.is_available(),
    }
    try:
        arguments = TrainingArguments(**(defaults | settings | config.trainer))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"config error: trainer: {error}") from error
    # Of several GPUs one process uses one: DataParallel's threads would share the routing of one forward.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _checkpointing(known: set[str], *, is_wanted: bool) -> dict[str, Any]:
    """The Trainer's arguments for it, which versions of transformers name differently."""
    if not is_wanted:
        return {}
    name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}}


def _summary(config: TrainConfig, data: TrainingData) -> dict[str, Any]:
    """What it takes to repeat the run."""
    packages = ("ucuie", "torch", "transformers", "peft", "llguidance")
    return {
        "config": json.loads(config.model_dump_json()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "data": {name: share.model_dump() for name, share in data.shares.items()},
    }
