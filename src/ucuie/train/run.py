"""A training run from configuration to model folder: data, backbone, stage 1, stage 2, saving.

The model goes to `config.output`. Beside it, in `NAME.run/`, lie the TensorBoard logs, `run.json` (what it
takes to repeat the run, and its losses) and, until the run is finished, `config.json` and its checkpoints.
"""

import json
import logging
import os
import platform
import shutil
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import PartialState
from peft import PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, set_seed

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.files import write_text
from ucuie.language.pool import InstructionPool
from ucuie.model.folder import load_backbone
from ucuie.model.saving import save_model
from ucuie.model.source import first_line
from ucuie.train.arguments import check_optimizer, divide_step
from ucuie.train.config import TrainConfig
from ucuie.train.data import TrainingData, read_training_data, warming_examples
from ucuie.train.sharding import is_sharded, trained_tensors
from ucuie.train.stages import CONFIG_FILE, Stages

RUN_FILE = "run.json"
LASTING_KEYS = ("batch_size", "data", "seed", "texts_per_row")
"""They decide which rows make up which step, so an interrupted run goes on with them."""


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
    check_optimizer(config)
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
    trained = trained_tensors(stages.model) if is_sharded(stages.model) else None
    if processes.is_main_process:
        # Before the model, which is the sign that all is done.
        write_text(run_folder / RUN_FILE, json.dumps(training | {"losses": losses}, indent=1) + "\n")
        save_model(
            stages.model if trained is None else _whole_model(config, trained),
            backbone,
            config.output,
            pool=stages.pool,
            training=training,
            window_tokens=multitask.usual_text_length,
        )
        for checkpoint in run_folder.glob("*/checkpoint-*"):
            shutil.rmtree(checkpoint)
        (run_folder / CONFIG_FILE).unlink(missing_ok=True)
    processes.wait_for_everyone()
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


def _loading_device(config: TrainConfig, processes: PartialState) -> torch.device:
    """Quantised weights are made where they stay; others are moved once they are needed."""
    is_quantized = config.backbone_weights in ("8bit", "4bit")
    device: torch.device = processes.device if is_quantized else torch.device("cpu")
    return device


def _check_output(config: TrainConfig, run_folder: Path, *, resume: bool) -> None:
    """Raise a ConfigError where the run would overwrite a model, or an interrupted run or its steps."""
    output = config.output
    if output.exists():
        raise ConfigError(f"{output} is there already; name another output folder or remove it")
    if run_folder.exists() and not resume:
        raise ConfigError(
            f"{run_folder} holds an interrupted run; --resume goes on with it, removing the "
            "folder starts again"
        )
    if not (run_folder / CONFIG_FILE).exists():
        return
    earlier = json.loads((run_folder / CONFIG_FILE).read_text("utf-8"))
    for key, value in json.loads(config.model_dump_json(include=set(LASTING_KEYS))).items():
        if key in earlier and earlier[key] != value:
            raise ConfigError(
                f"the interrupted run in {run_folder} has {key}: {show(earlier[key])}, now "
                f"{show(value)}, so its steps would be others; go on with the former, or remove the folder "
                "to start again"
            )


def adapter_config(settings: dict[str, Any]) -> HierarchicalMoeConfig:
    """The adapter's configuration from its part of the YAML.

    Raises:
        ConfigError: a key is unknown or a value impossible.
    """
    known = set(HierarchicalMoeConfig.__dataclass_fields__)
    for key in settings:
        if key not in known:
            raise ConfigError(f"adapter.{key} is unknown{did_you_mean(key, sorted(known))}")
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
    own = get_peft_model_state_dict(model)
    if {name: tensor.shape for name, tensor in own.items()} != {
        name: tensor.shape for name, tensor in weights.items()
    }:
        raise ConfigError(
            f"initial_adapter: the adapter in {show(str(folder))} has other settings or is for "
            "another backbone; set `adapter` and `backbone` to what it was trained with"
        )
    set_peft_model_state_dict(model, weights)


def _summary(config: TrainConfig, data: TrainingData) -> dict[str, Any]:
    """What it takes to repeat the run."""
    packages = ("ucuie", "torch", "transformers", "peft", "llguidance")
    return {
        "config": json.loads(config.model_dump_json()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "data": {name: share.model_dump() for name, share in data.shares.items()},
    }
