"""`ucuie bench`."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from ucuie.cli.common import BatchSize, Device, Int8, Json, Model, refuse, require_serve_extra, results

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
    from ucuie.lab.bench.adapter import bench_adapter as measure

    result = measure(
        hidden=hidden, layers=layers, batch=batch, length=length, repeats=repeats, num_threads=threads
    )
    _print_result(result, as_json=as_json)


Layers = Annotated[int | None, typer.Option(min=1, help="Of the backbone; left out, all.")]
PeakTflops = Annotated[
    float | None, typer.Option(min=0.001, help="Of the device, to give the share that is used.")
]


@bench_app.command("train")
def bench_train(
    backbone_config: Annotated[
        str, typer.Option(help="Whose shape to take: the name of a recipe, or the folder of a model.")
    ] = "llama-2-7b",
    layers: Layers = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows packed into a step.")] = 4,
    length: Annotated[int, typer.Option(min=16, help="Tokens of a row.")] = 512,
    checkpointing: Annotated[bool, typer.Option(help="Compute layers again in the backward pass.")] = False,
    peak_tflops: PeakTflops = None,
    repeats: Annotated[int, typer.Option(min=1, help="Steps; medians are taken over them.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on a CPU.")] = 1,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Compare training steps with LoRA of as many ranks and the bare backbone, at a backbone's real shape.

    The weights are made up.
    """
    from ucuie.lab.bench.train import bench_train as measure

    result = measure(
        _shape(backbone_config),
        rows=batch,
        row_tokens=length,
        num_layers=layers,
        gradient_checkpointing=checkpointing,
        peak_tflops=peak_tflops,
        repeats=repeats,
        num_threads=threads,
        device=device,
    )
    _print_result(result, as_json=as_json)


@bench_app.command("rows")
def bench_rows(
    config: Annotated[str, typer.Argument(metavar="CONFIG.yaml", help="Of a training run, or a recipe.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for `ucuie train`.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the run, taken together.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; medians are taken over them.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on a CPU.")] = 1,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Compare the steps of a training run with its texts in shared rows and in rows apart."""
    from ucuie.lab.bench.rows import bench_rows as measure
    from ucuie.train.config import TrainConfig, config_path

    run = TrainConfig.load(config_path(config), overrides=overrides or [])
    result = measure(run, steps=steps, repeats=repeats, num_threads=threads, device=device)
    _print_result(result, as_json=as_json)


@bench_app.command("decode")
def bench_decode(
    model: Model = None,
    texts: Annotated[int, typer.Option(min=1, help="Made-up texts, all with one schema.")] = 64,
    words: Annotated[int, typer.Option(min=1, help="Of a text, about.")] = 80,
    types: Annotated[int, typer.Option(min=5, max=50, help="Of the schema.")] = 50,
    batch_size: BatchSize = 32,
    drafts: Annotated[
        int | None,
        typer.Option(min=0, help="Tokens that the engine guesses ahead; left out, where a text is alone."),
    ] = None,
    int8: Int8 = False,
    cuda_graphs: Annotated[
        bool, typer.Option(help="Record the engine's forwards of few tokens on a GPU, and replay them.")
    ] = False,
    backbone_config: Annotated[
        str | None,
        typer.Option(
            help="Measure the engine alone, at the shape of this backbone, bare and adapted: the name of a "
            "recipe, or the folder of a model."
        ),
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="With --backbone-config, which can do nothing else.")
    ] = False,
    layers: Layers = None,
    peak_tflops: PeakTflops = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; medians are taken over them.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Compare the engine with generate of transformers: same model, same outputs.

    With --backbone-config: compare the engine with LoRA, with the adapter and with neither, at that shape.
    """
    common: dict[str, Any] = {
        "num_texts": texts,
        "words": words,
        "num_types": types,
        "batch_size": batch_size,
        "num_drafts": drafts,
        "cuda_graphs": cuda_graphs,
        "repeats": repeats,
        "num_threads": threads,
        "device": device,
    }
    of_model = {"model": model, "int8": int8 or None}
    of_shape = {"random_weights": random_weights or None, "layers": layers, "peak_tflops": peak_tflops}
    if backbone_config is None:
        refuse(of_shape, "goes with --backbone-config, so give that too")
        from ucuie.lab.bench.decode import bench_decode as measure
        from ucuie.model.folder import EMBEDDED

        result = measure(model=model or EMBEDDED, int8=int8, **common)
    else:
        refuse(of_model, "is for a model, and --backbone-config makes one up")
        from ucuie.lab.bench.decode_shape import bench_decode_shape

        shape = _shape(backbone_config)
        result = bench_decode_shape(shape, num_layers=layers, peak_tflops=peak_tflops, **common)
    _print_result(result, as_json=as_json)


@bench_app.command("extract")
def bench_extract(
    model: Model = None,
    texts: Annotated[int, typer.Option(min=1, help="Made-up texts in a batch.")] = 64,
    words: Annotated[int, typer.Option(min=1, help="Of a text, about.")] = 25,
    batch_size: BatchSize = 32,
    memory: Annotated[
        bool, typer.Option(help="Compare the memory for documents of 10,000 and 1,000,000 characters.")
    ] = True,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; medians are taken over them.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure extraction end to end: rates, waiting times, the price of types, memory."""
    from ucuie.lab.bench.extract import DOCUMENT_LENGTHS
    from ucuie.lab.bench.extract import bench_extract as measure
    from ucuie.model.folder import EMBEDDED

    result = measure(
        model=model or EMBEDDED,
        num_texts=texts,
        words=words,
        batch_size=batch_size,
        characters=DOCUMENT_LENGTHS if memory else (),
        repeats=repeats,
        num_threads=threads,
        device=device,
    )
    _print_result(result, as_json=as_json)


@bench_app.command("serve")
def bench_serve(
    clients: Annotated[int, typer.Option(min=1, help="Each asks again once it has its answer.")] = 32,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of load.")] = 60.0,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Load a server with many clients, check every answer, and compare it with the extractor alone."""
    require_serve_extra()
    from ucuie.lab.bench.serve import bench_serve as measure

    result = measure(num_clients=clients, seconds=seconds, model=model)
    _print_result(result, as_json=as_json)


def _shape(name: str) -> Any:
    """The shape of a recipe, or of the model in a folder."""
    from ucuie.train.estimate import backbone_shape, recipe_shapes

    return recipe_shapes().get(name) or backbone_shape(name)


def _print_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    """All of it as JSON, or its numbers as a table."""
    if as_json:
        typer.echo(json.dumps(result))
        return
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
