"""`ucuie bench`."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from ucuie.cli.common import Json, Model, require_serve_extra, results

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
    _print_numbers(result)


@bench_app.command("serve")
def bench_serve(
    clients: Annotated[int, typer.Option(min=1, help="Each asks again once it has its answer.")] = 32,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of load.")] = 60.0,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Load a server with many clients, check every answer, and compare it with the extractor alone."""
    require_serve_extra()
    from ucuie.bench.serve import bench_serve as measure

    result = measure(num_clients=clients, seconds=seconds, model=model)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _print_numbers(result)


def _print_numbers(result: Mapping[str, Any]) -> None:
    table = Table.grid(padding=(0, 3, 0, 0))
    for name, value in result.items():
        match value:
            case int():
                shown = f"{value:,}"
            case float():
                shown = f"{value:.2f}"
            case Mapping() if all(isinstance(one, int) for one in value.values()):
                shown = ", ".join(f"{one:,} of {key}" for key, one in value.items())
            case _:
                continue
        table.add_row(name.replace("_", " "), shown)
    results().print(table)
