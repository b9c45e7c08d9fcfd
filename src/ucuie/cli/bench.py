"""`ucuie bench`."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from inspect import Parameter, Signature, getdoc
from typing import Any, cast, get_type_hints

import typer

from ucuie.cli.common import Json, print_json, refuse, require_serve_extra, results
from ucuie.cli.options import model_flags
from ucuie.lab.bench.options import (
    AdapterOptions,
    DecodeOptions,
    ExtractOptions,
    RowsOptions,
    ServeOptions,
    TrainOptions,
)
from ucuie.templates import Table

bench_app = typer.Typer(no_args_is_help=True, help="Measure performance, side by side.")

Report = Mapping[str, Any]
_SHARED = {
    flag.name: flag.annotation for flag in model_flags("model", "batch_size", "int8", "device").parameters()
}
"""Options of other commands too, by the names of their fields."""


def _command(measure: Callable[[Any], Report]) -> None:
    """Make a command of a bench: its options are the fields of the value that the bench takes."""
    chosen = get_type_hints(measure)["options"]

    def command(*, as_json: bool, **given: Any) -> None:
        _print_report(measure(chosen(**given)), as_json=as_json)

    parameters = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=_SHARED.get(field.name, field.type),
        )
        for field in fields(chosen)
    ]
    parameters.append(Parameter("as_json", Parameter.KEYWORD_ONLY, default=False, annotation=Json))
    cast("Any", command).__signature__ = Signature(parameters)
    bench_app.command(measure.__name__.removeprefix("_"), help=getdoc(measure))(command)


@_command
def _adapter(options: AdapterOptions) -> Report:
    """Compare the adapter with LoRA, a loop over the experts and the bare backbone."""
    from ucuie.lab.bench.adapter import bench_adapter

    return bench_adapter(options)


@_command
def _train(options: TrainOptions) -> Report:
    """Compare training steps with LoRA of as many ranks and the bare backbone, at a backbone's real shape.

    The weights are made up.
    """
    from ucuie.lab.bench.train import bench_train

    return bench_train(_shape(options.backbone_config), options)


@_command
def _rows(options: RowsOptions) -> Report:
    """Compare the steps of a training run with its texts in shared rows and in rows apart."""
    from ucuie.lab.bench.rows import bench_rows
    from ucuie.train.config import TrainConfig, config_path

    config = TrainConfig.load(config_path(options.config), overrides=options.overrides or [])
    return bench_rows(config, options)


@_command
def _decode(options: DecodeOptions) -> Report:
    """Compare the engine with generate of transformers: same model, same outputs.

    With --backbone-config: compare the engine with LoRA, with the adapter and with neither, at that shape.
    """
    if options.backbone_config is None:
        of_shape = [name for name in ("layers", "peak_tflops") if getattr(options, name) is not None]
        refuse(of_shape, "goes with --backbone-config, so give that too")
        from ucuie.lab.bench.decode import bench_decode

        return bench_decode(options)
    of_model = [name for name in ("model", "int8") if getattr(options, name)]
    refuse(of_model, "is for a model, and --backbone-config makes one up")
    from ucuie.lab.bench.decode_shape import bench_decode_shape

    return bench_decode_shape(_shape(options.backbone_config), options)


@_command
def _extract(options: ExtractOptions) -> Report:
    """Measure extraction end to end: rates, waiting times, the price of types, memory."""
    from ucuie.lab.bench.extract import bench_extract

    return bench_extract(options)


@_command
def _serve(options: ServeOptions) -> Report:
    """Load a server with many clients, check every answer, and compare it with the extractor alone."""
    require_serve_extra()
    from ucuie.lab.bench.serve import bench_serve

    return bench_serve(options)


def _shape(name: str) -> Any:
    """The shape of a recipe, or of the model in a folder."""
    from ucuie.train.estimate import backbone_shape, recipe_shapes

    return recipe_shapes().get(name) or backbone_shape(name)


def _print_report(report: Report, *, as_json: bool) -> None:
    """All of it as JSON, or its numbers as a table."""
    if as_json:
        print_json(report)
        return
    rows: list[tuple[str, str]] = []
    for name, value in report.items():
        match value:
            case int():
                shown = f"{value:,}"
            case float():
                shown = f"{value:.2f}"
            case Mapping() if all(isinstance(one, int) for one in value.values()):
                shown = ", ".join(f"{one:,} of {key}" for key, one in value.items())
            case _:
                continue
        rows.append((name.replace("_", " "), shown))
    results().print(Table((), rows).to_terminal())
