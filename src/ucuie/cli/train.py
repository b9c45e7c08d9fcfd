"""`ucuie train`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ucuie.cli.common import Quiet, exit_interrupted, talk_console


def train(
    config: Annotated[Path, typer.Argument(help="The YAML file of the run.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="a.b=1 sets a key of the configuration; repeatable.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of an interrupted run.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a model in two stages."""
    from ucuie.train.config import TrainConfig

    run = TrainConfig.load(config, overrides=overrides or [])
    from ucuie.train.run import run_training

    try:
        folder = run_training(run, resume=resume)
    except KeyboardInterrupt:
        again = ["ucuie", "train", str(config), *(f"--set={override}" for override in overrides or [])]
        exit_interrupted("", shlex.join([*again, "--resume"]))
    talk_console(quiet=quiet).print(
        f"wrote {folder}\nnext: ucuie evaluate --model {folder} --data FILE --output DIR"
    )
