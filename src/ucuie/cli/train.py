"""`ucuie train`."""

import shlex
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from ucuie.cli.common import (
    INTERRUPTED,
    Quiet,
    exit_interrupted,
    is_first_process,
    is_one_of_several,
    results,
    talk_console,
)
from ucuie.errors import StorageError, storage_error

if TYPE_CHECKING:
    from ucuie.train.config import TrainConfig


def train(
    config: Annotated[str, typer.Argument(help="The YAML file of the run, or the name of a recipe.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="a.b=1 sets a key of the configuration; repeatable.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of an interrupted run.")
    ] = False,
    num_processes: Annotated[
        int, typer.Option(min=1, help="Processes on this machine that share the work, one for each GPU.")
    ] = 1,
    sharding: Annotated[
        Literal["none", "full"] | None,
        typer.Option(
            help="full shares the model's weights out over the processes; short for --set sharding=..."
        ),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what memory a step needs on each device.")
    ] = False,
    row_tokens: Annotated[
        int, typer.Option(min=16, help="Tokens of each row, for --estimate: instruction, text and output.")
    ] = 512,
    quiet: Quiet = False,
) -> None:
    """Train a model in two stages."""
    from ucuie.train.config import TrainConfig
    from ucuie.train.recipes import config_path

    overrides = [*(overrides or []), *([] if sharding is None else [f"sharding={sharding}"])]
    run = TrainConfig.load(config_path(config), overrides=overrides)
    if estimate:
        _print_estimate(run, row_tokens=row_tokens, num_processes=num_processes)
        return
    again = ["train", config, *(f"--set={override}" for override in overrides)]
    several = [f"--num-processes={num_processes}"] if num_processes > 1 else []
    try:
        if several:
            from ucuie.train.launch import launch

            options = [*["--resume"] * resume, *["--quiet"] * quiet]
            raise typer.Exit(launch([*again, *options], num_processes=num_processes))
        from ucuie.train.run import run_training

        folder = run_training(run, resume=resume)
    except KeyboardInterrupt:
        if is_one_of_several():
            raise typer.Exit(INTERRUPTED) from None
        exit_interrupted("", shlex.join(["ucuie", *again, *several, "--resume"]))
    except Exception as error:
        if (fault := storage_error(error)) is None:
            raise
        command = shlex.join(["ucuie", *again, *several, "--resume"])
        raise StorageError(f"{fault}; then {command} goes on from the last checkpoint") from error
    if is_first_process():
        talk_console(quiet=quiet).print(
            f"wrote {folder}\nnext: ucuie evaluate --model {folder} --data FILE --output DIR"
        )
    if is_one_of_several():
        from ucuie.train.run import leave_processes

        leave_processes()


def _print_estimate(run: "TrainConfig", *, row_tokens: int, num_processes: int) -> None:
    from ucuie.train.estimate import estimate_memory
    from ucuie.train.shapes import backbone_shape

    estimated = estimate_memory(
        run, backbone_shape(run.backbone), row_tokens=row_tokens, num_processes=num_processes
    )
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_row("parameters", f"{estimated.num_parameters:,}")
    table.add_row("trained", f"{estimated.num_trained:,}")
    for name in ("weights", "gradients", "optimizer", "activations", "gathered", "total"):
        if num_bytes := getattr(estimated, name):
            table.add_row(name, f"{num_bytes / 2**30:.2f} GiB")
    results().print(table)
