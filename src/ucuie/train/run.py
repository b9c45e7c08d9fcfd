"""A training run from configuration to model folder: data, backbone, stage 1, stage 2, saving.

The model goes to `config.output`. Beside it, in `NAME.run/`, lie the TensorBoard logs, `run.json` (what it
takes to repeat the run, and its losses) and, until the run is finished, `config.json` and its checkpoints.
Ctrl-C finishes the step at hand and writes a checkpoint, so nothing is lost.
"""

import json
import logging
import os
import platform
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from peft import PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, set_seed
from transformers.trainer_pt_utils import safe_globals

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.errors import ConfigError, DataError, did_you_mean, show
from ucuie.files import write_text
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.model.backbone import Backbone, without_adapter
from ucuie.model.folder import load_backbone
from ucuie.model.info import INFO_FILE
from ucuie.model.saving import save_model
from ucuie.model.source import first_line
from ucuie.schema import Example
from ucuie.templates import counted
from ucuie.train.config import StageConfig, TrainConfig, WarmingConfig
from ucuie.train.distributed import is_sharded, trained_tensors
from ucuie.train.packing import pack, packed_attention
from ucuie.train.rows import TrainingData, TrainingSet, collate, read_training_data, warming_examples
from ucuie.train.trainer import (
    ShardingTrainer,
    UcuieTrainer,
    check_optimizer,
    divide_step,
    trainer_arguments,
)

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"
CONFIG_FILE = "config.json"
STATE_FILE = "trainer_state.json"
LASTING_KEYS = ("batch_size", "data", "seed", "texts_per_row")
"""They decide which rows make up which step, so an interrupted run goes on with them."""


def run_training(config: TrainConfig, *, resume: bool = False) -> Path:
    """Trains a model and returns its folder, `config.output`.

    With `resume` it goes on from the last checkpoint of the same output folder; without one, it starts. Where
    several processes run it (`launch`, `accelerate launch`, `torchrun`), they share the steps, and the first
    of them writes the files; results do not depend on their number.

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
    check_optimizer(config)
    divide_step(config, processes.num_processes)
    # None may write before all have looked.
    processes.wait_for_everyone()
    if not processes.is_main_process:
        logging.getLogger("ucuie").setLevel(logging.ERROR)
    set_seed(config.seed)
    data = read_training_data(config)
    # Quantised weights are made where they stay; others are moved once they are needed.
    where = processes.device if config.backbone_weights in ("8bit", "4bit") else torch.device("cpu")
    backbone = load_backbone(config.backbone, device=where, weights=config.backbone_weights)
    stages = Stages(config, run_folder, backbone, InstructionPool.load(config.instruction_pool))

    # Before the first stage takes its time: data may be at fault.
    multitask = stages.training_set(data.train)
    validation = stages.training_set(data.validation, is_varied=False) if data.validation else None

    losses = {}
    if config.method == "adapter":
        stages.model = adapted(backbone.model, config.adapter)
        if config.initial_adapter is not None:
            load_adapter_weights(stages.model, config.initial_adapter)
        if config.warming.enabled:
            warming = stages.training_set(warming_examples(data.train, config))
            losses["warming"] = stages.train(config.warming, warming, name="warming")
    losses["multitask"] = stages.train(config.multitask, multitask, validation, name="multitask")

    training = _summary(config, data) | {"processes": processes.num_processes}
    stages.save(training, losses, window_tokens=multitask.usual_text_length)
    return config.output


def leave_processes() -> NoReturn:
    """The last thing that one of several processes does, once all its work is done: it ends here and now."""
    PartialState().destroy_process_group()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # In an orderly end threads of the processes' talk that still live abort it, after all is written.
    os._exit(0)


def _whole_model(config: TrainConfig, trained: dict[str, Tensor]) -> PreTrainedModel | PeftModel:
    """The model of a run whose own is in parts: the backbone as it was, and the tensors that were trained."""
    backbone = load_backbone(config.backbone, weights=config.backbone_weights).model
    model = adapted(backbone, config.adapter) if config.method == "adapter" else backbone
    unknown = model.load_state_dict(trained, strict=False).unexpected_keys
    assert not unknown, unknown
    return model


def _check_output(config: TrainConfig, run_folder: Path, *, resume: bool) -> None:
    """Raise a ConfigError where the run would overwrite a model, or an interrupted run or its steps."""
    output = config.output
    # A run that died while its model was written has left a part of it.
    is_part = (run_folder / CONFIG_FILE).exists() and output.is_dir() and not (output / INFO_FILE).exists()
    if output.exists() and not (resume and is_part):
        raise ConfigError(f"{output} is there already; name another output folder or remove it")
    if run_folder.exists() and not resume:
        raise ConfigError(
            f"{run_folder} holds an interrupted run; --resume goes on with it, removing the "
            "folder starts again"
        )
    if not (run_folder / CONFIG_FILE).exists():
        return
    try:
        earlier = dict(json.loads((run_folder / CONFIG_FILE).read_text("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{run_folder / CONFIG_FILE}, the configuration of an interrupted run, is damaged: {error}; "
            "remove this file to go on with the one given now, or the folder to start again"
        ) from None
    for key, value in json.loads(config.model_dump_json(include=set(LASTING_KEYS))).items():
        if key in earlier and earlier[key] != value:
            raise ConfigError(
                f"the interrupted run in {run_folder} has {key}: {show(earlier[key])}, now "
                f"{show(value)}, so its steps would be others; go on with the former, or remove the folder "
                "to start again"
            )


def adapted(backbone: PreTrainedModel, settings: dict[str, Any]) -> PeftModel:
    """The backbone, frozen, with a fresh adapter of these settings."""
    known = set(HierarchicalMoeConfig.__dataclass_fields__)
    for key in settings:
        if key not in known:
            raise ConfigError(f"adapter.{key} is unknown{did_you_mean(key, sorted(known))}")
    adapter = HierarchicalMoeConfig(**settings)
    with warnings.catch_warnings():
        # PEFT asks for an attribute that transformers has renamed; users can do nothing about it.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        return get_peft_model(backbone, adapter)


def load_adapter_weights(model: PeftModel, folder: Path) -> None:
    """Gives the adapter of a model the weights of another one of the same settings.

    Raises:
        ConfigError: the folder has no adapter, or one of other settings or for another backbone.
    """
    path = folder / SAFETENSORS_WEIGHTS_NAME
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"initial_adapter: {show(str(path))} cannot be read: {first_line(error)}") from None
    own, others = (
        {name: tensor.shape for name, tensor in state.items()}
        for state in (get_peft_model_state_dict(model), weights)
    )
    if own != others:
        raise ConfigError(
            f"initial_adapter: the adapter in {show(str(folder))} has other settings or is for "
            "another backbone; set `adapter` and `backbone` to what it was trained with"
        )
    set_peft_model_state_dict(model, weights)


def _summary(config: TrainConfig, data: TrainingData) -> dict[str, Any]:
    """Configuration, versions and data, to repeat the run."""
    packages = ("ucuie", "torch", "transformers", "peft", "llguidance")
    return {
        "config": json.loads(config.model_dump_json()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "data": {name: share.model_dump() for name, share in data.shares.items()},
    }


class Stages:
    """The stages of a run, each from its last checkpoint, or from the start, to its log.

    The folder has checkpoints, logs and, until the run is finished, its configuration. The model is that of
    the backbone, until it is given an adapter.
    """

    def __init__(self, config: TrainConfig, folder: Path, backbone: Backbone, pool: InstructionPool) -> None:
        self.config = config
        self.folder = folder
        self.model: PreTrainedModel | PeftModel = backbone.model
        self.pool = pool
        self._backbone = backbone
        self._encoder = PromptEncoder(backbone.tokenizer, pool=pool)
        sizes = backbone.model.config
        self._grammars = (
            GrammarFactory(backbone.tokenizer, sizes.vocab_size)
            if config.loss.objective == "grammar"
            else None
        )
        self._max_length = config.max_length or sizes.max_position_embeddings

    def training_set(self, examples: Sequence[Example], *, is_varied: bool = True) -> TrainingSet:
        """The examples as training rows; without variation, as inference would see them, and perhaps none.

        Raises:
            DataError: no example fits into the context, so there is nothing to train on.
        """
        built = TrainingSet(
            examples,
            self._encoder,
            pool=self.pool if self.config.paraphrase and is_varied else None,
            grammars=self._grammars,
            augmentation=self.config.augmentation if is_varied else None,
            max_length=self._max_length,
            texts_per_row=self.config.texts_per_row,
            seed=self.config.seed,
        )
        if built.num_too_long:
            logger.warning("longer than the context and left out: %s", counted(built.num_too_long, "example"))
        if is_varied and not len(built):
            raise DataError("the training data", ["no example fits into the context"], "raise max_length")
        return built

    def train(
        self, stage: StageConfig, train: TrainingSet, validation: TrainingSet | None = None, *, name: str
    ) -> list[dict[str, float]]:
        """Trains one stage from its last checkpoint, or from the start, and returns its log."""
        folder = self.folder / name
        packing, pad_id = self.config.packing, self._backbone.tokenizer.pad_token_id or 0
        is_watched = validation is not None and len(validation) > 0
        # One process has all weights anyway.
        is_sharing = self.config.sharding == "full" and PartialState().num_processes > 1
        trainer = (ShardingTrainer if is_sharing else UcuieTrainer)(
            model=self.model,
            args=trainer_arguments(self.config, stage, folder, has_validation=is_watched),
            loss=self.config.loss,
            gates_are_labels=isinstance(stage, WarmingConfig),
            train_dataset=train,
            eval_dataset=validation if is_watched else None,
            data_collator=pack if packing else partial(collate, pad_id=pad_id),
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
        shares = self.config.texts_per_row > 1
        attention = (
            packed_attention(without_adapter(self.model), shares_instructions=shares)
            if packing
            else nullcontext()
        )
        with attention, interruption.listening():
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        return [dict(entry) for entry in trainer.state.log_history]

    def save(self, training: dict[str, Any], losses: dict[str, Any], *, window_tokens: int) -> None:
        """Writes the record of the run and its model, in the first process, and removes its checkpoints."""
        trained = trained_tensors(self.model) if is_sharded(self.model) else None
        if PartialState().is_main_process:
            # Before the model, which is the sign that all is done.
            write_text(self.folder / RUN_FILE, json.dumps(training | {"losses": losses}, indent=1) + "\n")
            for left in self.config.output.glob(".staged-*"):
                shutil.rmtree(left)
            save_model(
                self.model if trained is None else _whole_model(self.config, trained),
                self._backbone,
                self.config.output,
                pool=self.pool,
                training=training,
                window_tokens=window_tokens,
            )
            for checkpoint in self.folder.glob("*/checkpoint-*"):
                shutil.rmtree(checkpoint)
            (self.folder / CONFIG_FILE).unlink(missing_ok=True)
        PartialState().wait_for_everyone()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a stage; one that was being written when the run died is not whole."""
    # The Trainer writes its state last; on a full disk it may be there and be cut.
    written = [path.parent for path in folder.glob(f"checkpoint-*/{STATE_FILE}")]
    for checkpoint in sorted(written, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        fault = _checkpoint_fault(checkpoint)
        if fault is None:
            return checkpoint
        logger.warning("%s is passed over for the checkpoint before it: %s", checkpoint, fault)
    return None


def _checkpoint_fault(checkpoint: Path) -> str | None:
    """The first file of a checkpoint that the Trainer could not read, and why; None if there is none."""
    for path in sorted(checkpoint.iterdir()):
        try:
            if path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".safetensors":
                with safe_open(path, framework="pt"):
                    pass
            elif path.suffix in (".pt", ".pth"):
                with safe_globals():
                    torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except Exception as error:  # of any class: it depends on what is wrong where
            return f"{path.name} cannot be read, {first_line(error)}"
    return None


class SaveOnInterrupt(TrainerCallback):  # type: ignore[misc]  # transformers is not type-checked
    """Ends training with a checkpoint after the step in which Ctrl-C was pressed; twice ends it at once.

    Of several processes all end after the same step, whichever was told.
    """

    def __init__(self) -> None:
        self.is_interrupted = False
        self._has_heard = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles Ctrl-C while it is open, and on leaving raises the KeyboardInterrupt for it."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread alone.
            return
        previous = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
        if self.is_interrupted:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._has_heard:
            raise KeyboardInterrupt
        self._has_heard = self.is_interrupted = True

    def on_step_end(self, _arguments: Any, _state: Any, control: TrainerControl, **_: Any) -> TrainerControl:
        """Called by the Trainer after every step."""
        processes = PartialState()
        if processes.num_processes > 1:
            told = torch.tensor(float(self.is_interrupted), device=processes.device)
            self.is_interrupted = bool(reduce(told, "sum"))
        if self.is_interrupted:
            control.should_save = control.should_training_stop = True
        return control
