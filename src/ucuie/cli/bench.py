"""`ucuie bench`."""

import json
from typing import Annotated

import typer
from rich.table import Table

from ucuie.cli.common import Json, results

bench_app = typer.Typer(no_args_is_help=True, help="Measure performance, side by side.")


@bench_app.command("adapter")
def bench_adapter(
    hidden: Annotated[int, typer.Option(min=64, help="Width of the random backbone.")] = 512,
    layers: Annotated[int, typer.Option(min=1)] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Rows of a training step.")] = 8,
    length: Annotated[int, typer.Option(min=8, help="Tokens of a row.")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; medians are taken over them.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    as_json: Json = False,
) -> None:
    """Compare the adapter with LoRA, a loop over the experts and the bare backbone."""
    from ucuie.bench.adapter import bench_adapter as measure

    result = measure(
        hidden=hidden, layers=layers, batch=batch, length=length, repeats=repeats, num_threads=threads
    )
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table.grid(padding=(0, 3, 0, 0))
    for name, value in result.items():
        if isinstance(value, int | float):
            table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.2f}")
    results().print(table)
