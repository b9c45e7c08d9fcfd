"""`ucuie train`."""

import os
import shlex
import time
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from ucuie.cli.common import (
    INTERRUPTED,
    Quiet,
    exit_interrupted,
    flag,
    is_first_process,
    is_one_of_several,
    results,
    talk_console,
)
from ucuie.errors import storage_error
from ucuie.templates import Table

if TYPE_CHECKING:
    from ucuie.train.config import TrainConfig

_OTHERS_SECONDS = 20

Config = Annotated[str, typer.Argument(help="The YAML file of the run, or the name of a recipe.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="a.b=1 sets a key of the configuration; repeatable.")
]
Resume = Annotated[bool, flag("--resume", "Go on from the last checkpoint of an interrupted run.")]
NumProcesses = Annotated[
    int, typer.Option(min=1, help="Processes on this machine that share the work, one for each GPU.")
]
Sharding = Annotated[
    Literal["none", "full"] | None,
    typer.Option(help="full shares the model's weights out over the processes; short for --set sharding=..."),
]
Estimate = Annotated[bool, flag("--estimate", "Only say what memory a step needs on each device.")]
RowTokens = Annotated[
    int, typer.Option(min=16, help="Tokens of each row, for --estimate: instruction, text and output.")
]


def train(
    config: Config,
    overrides: Overrides = None,
    resume: Resume = False,
    num_processes: NumProcesses = 1,
    sharding: Sharding = None,
    estimate: Estimate = False,
    row_tokens: RowTokens = 512,
    quiet: Quiet = False,
) -> None:
    """Train a model in two stages."""
    from ucuie.train.config import TrainConfig, config_path

    overrides = [*(overrides or []), *([] if sharding is None else [f"sharding={sharding}"])]
    run = TrainConfig.load(config_path(config), overrides=overrides)
    if estimate:
        _print_estimate(run, row_tokens=row_tokens, num_processes=num_processes)
        return
    again = ["train", config, *(f"--set={override}" for override in overrides)]
    several = [f"--num-processes={num_processes}"] if num_processes > 1 else []
    try:
        if several:
            from ucuie.train.distributed import launch

            options = [*["--resume"] * resume, *["--quiet"] * quiet]
            raise typer.Exit(launch([*again, *options], num_processes=num_processes))
        from ucuie.train.run import run_training

        folder = run_training(run, resume=resume)
    except KeyboardInterrupt:
        if is_one_of_several():
            raise typer.Exit(INTERRUPTED) from None
        exit_interrupted("", shlex.join(["ucuie", *again, *several, "--resume"]))
    except Exception as error:
        if is_one_of_several() and _is_cut_off(error):
            _leave_to_others()
        if (fault := storage_error(error)) is None:
            raise
        command = shlex.join(["ucuie", *again, *_launched_with(), "--resume"])
        raise type(fault)(f"{fault}; then {command} goes on from the last checkpoint") from error
    if is_first_process():
        talk_console(quiet=quiet).print(
            f"wrote {folder}\nnext: ucuie evaluate --model {folder} --data FILE --output DIR"
        )
    if is_one_of_several():
        from ucuie.train.run import leave_processes

        leave_processes()


def _launched_with() -> list[str]:
    """The option that made a launcher start this process."""
    from ucuie.train.distributed import NUM_PROCESSES_VARIABLE

    number = os.environ.get(NUM_PROCESSES_VARIABLE) if is_one_of_several() else None
    return [] if number is None else [f"--num-processes={number}"]


def _is_cut_off(error: Exception) -> bool:
    """Tell whether all that is wrong is that another process is no longer there."""
    from torch.distributed import DistError

    # Gloo, which processes without GPUs talk by, has no class of its own.
    return isinstance(error, DistError) or "gloo/transport" in str(error)


def _leave_to_others() -> NoReturn:
    """End after the process whose fault it is, which has said it, and whose exit code counts."""
    if is_first_process():
        talk_console().print(
            "another process of this run has ended; what it said stands above, and if nothing does, it was "
            "killed: look at the memory"
        )
    # The launcher ends this one as soon as it sees the other's end.
    time.sleep(_OTHERS_SECONDS)
    raise typer.Exit(1) from None


def _print_estimate(run: "TrainConfig", *, row_tokens: int, num_processes: int) -> None:
    from ucuie.train.estimate import backbone_shape, estimate_memory

    estimated = estimate_memory(
        run, backbone_shape(run.backbone), row_tokens=row_tokens, num_processes=num_processes
    )
    rows = [("parameters", f"{estimated.num_parameters:,}"), ("trained", f"{estimated.num_trained:,}")]
    parts = ("weights", "gradients", "optimizer", "activations", "gathered", "total")
    sizes = {name: getattr(estimated, name) for name in parts}
    rows += [(name, f"{num_bytes / 2**30:.2f} GiB") for name, num_bytes in sizes.items() if num_bytes]
    results().print(Table((), rows).to_terminal())
