"""Several processes at one training run: started and watched by torch's launcher, sharing a model by FSDP2.

Several machines are the business of `accelerate launch -m ucuie train` and of `torchrun`; what a process has
to know about the others it finds in its environment, whoever started it.

Where weights are shared out, every process keeps an equal part of each parameter, of its gradient and of the
optimiser's state; the layer that computes is gathered, and let go again. Inside of a forward a module sees
its parameters whole, outside of it they are parts: what reads them there takes them from `trained_tensors`.
Optimiser states are saved whole, so that a run may go on with any number of processes, and without sharing.
"""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.launcher.api import LaunchConfig, launch_agent
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only
from transformers import PreTrainedModel

from ucuie.errors import ConfigError
from ucuie.model.backbone import without_adapter

SHUTDOWN_SECONDS = 300
"""For the step at hand and a checkpoint, before a process that was told to stop is killed."""
NUM_PROCESSES_VARIABLE = "UCUIE_NUM_PROCESSES"
"""Tells a process that `launch` started it, with how many in all."""


def launch(arguments: Sequence[str], *, num_processes: int) -> int:
    """Runs `ucuie ARGUMENTS` in so many processes, one for each GPU where there are any.

    Returns:
        The exit code: that of the process that failed first, if any did.

    Raises:
        ConfigError: this is one of several processes already.
        KeyboardInterrupt: Ctrl-C was pressed, and the processes have ended.
    """
    if "WORLD_SIZE" in os.environ:
        raise ConfigError("--num-processes inside of accelerate launch or torchrun; leave it out, or them")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    os.environ[NUM_PROCESSES_VARIABLE] = str(num_processes)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    # The processes say themselves what is wrong; the launcher would add a page to it.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        launch_agent(config, sys.executable, ["-m", "ucuie", *arguments])
    except ChildFailedError as error:
        return int(error.get_first_failure()[1].exitcode)
    except SignalException as stop:
        if stop.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        return 128 + stop.sigval
    return 0


def is_sharded(model: Any) -> bool:
    """True once `shard` has been here."""
    return isinstance(model, FSDPModule)


def layers_of(model: PreTrainedModel | PeftModel) -> list[nn.Module]:
    """The layers of a backbone, adapted or not, each of which is gathered by itself.

    Raises:
        ConfigError: the backbone does not say which of its modules these are.
    """
    backbone = without_adapter(model)
    names = set(backbone._no_split_modules or ())
    layers = [module for module in backbone.modules() if type(module).__name__ in names]
    if not layers:
        raise ConfigError(
            f"{type(backbone).__name__} does not say what its layers are, so its weights "
            "cannot be shared out; set sharding: none"
        )
    return layers


def shard(model: PreTrainedModel | PeftModel, *, dtype: torch.dtype | None = None) -> None:
    """Shares out the weights of a model over all processes, each part to the device of its process.

    Parameters are rounded to `dtype` when they are gathered; None leaves them as they are. Gradients are
    summed in float32.
    """
    layers = layers_of(model)
    processes = PartialState()
    options: dict[str, Any] = {
        "mesh": init_device_mesh(processes.device.type, (processes.num_processes,)),
        # What a layer is given is in the dtype of its weights already, and labels have to stay exact.
        "mp_policy": MixedPrecisionPolicy(
            param_dtype=dtype, reduce_dtype=torch.float32 if dtype else None, cast_forward_inputs=False
        ),
    }
    for layer in layers:
        fully_shard(layer, **options)
    # Embeddings and whatever else stands outside of the layers.
    fully_shard(model, **options)
    # Accelerate would wrap it in DistributedDataParallel.
    model._is_accelerate_prepared = True


def trained_tensors(model: PreTrainedModel | PeftModel) -> dict[str, Tensor]:
    """The trained parameters by name, whole and on the CPU, in the first process; nothing in the others.

    All processes have to call it.
    """
    is_first = PartialState().is_main_process
    tensors = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            whole = _whole(parameter.detach())
            if is_first:
                tensors[name] = whole
    return tensors


def whole_state(optimizer: Optimizer) -> dict[str, Any]:
    """The state of an optimiser of shared-out parameters, as that of one of whole parameters.

    All processes have to call it.
    """
    state: dict[str, Any] = tree_map_only(DTensor, _whole, optimizer.state_dict())
    return state


def shared_state(whole: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The process's part of a state that `whole_state` or an optimiser of whole parameters gave."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        index: {name: _part(value, parameters[index]) for name, value in values.items()}
        for index, values in whole["state"].items()
    }
    return whole | {"state": state}


def _whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that every process has a part of."""
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()


def _part(value: Any, parameter: Tensor) -> Any:
    """The process's part of a value that goes with a parameter, such as a moment of its gradient."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    # All processes have read the same, so nothing has to be sent.
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
