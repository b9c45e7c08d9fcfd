"""`ucuie convert` and `ucuie data`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, get_args

import typer

from ucuie.cli.common import (
    AnnotatedFor,
    Json,
    Quiet,
    flag,
    one_of,
    output_folder,
    print_json,
    results,
    talk_console,
)
from ucuie.errors import ConfigError, did_you_mean, show, visible
from ucuie.render.tables import (
    catalogue_table,
    conversion_table,
    dataset_table,
    export_table,
    format_table,
    statistics_table,
)
from ucuie.templates import counted

data_app = typer.Typer(no_args_is_help=True, help="Look at converted data, and cut it into trials.")


def _spacing(value: str) -> Any:
    """One of the ways to join tokens; their names come with the converters, which take long to load."""
    from ucuie.data.tokens import Spacing

    return one_of(get_args(Spacing))(value)


Name = Annotated[
    str | None,
    typer.Argument(help="A data set of the catalogue, a format, or unified for data that is converted."),
]
RawFiles = Annotated[
    Path | None, typer.Option("--source", help="Folder with the raw files; of a format also a file.")
]
Output = output_folder("Folder to write into.")
Converted = Annotated[Path, typer.Argument(help="A folder that convert wrote.")]
SpacingName = Annotated[
    Any,
    typer.Option(
        parser=_spacing,
        metavar="NAME",
        help="natural, tight, blank or none: how tokens are joined; left out, the data set's own way.",
    ),
]
OffsetsCount = Annotated[
    Literal["characters", "utf-16"],
    typer.Option("--offsets", help="What doccano and the like count where no copies of the words tell."),
]
Strict = Annotated[bool, flag("--strict", "Stop at the first fault instead of listing it.")]
ToFormat = Annotated[
    str | None, typer.Option("--to", metavar="FORMAT", help="Write this format instead of unified JSONL.")
]
ListAll = Annotated[bool, flag("--list", "List the data sets and formats; with a NAME, all about it.")]


def convert(
    name: Name = None,
    source: RawFiles = None,
    output: Annotated[Path | None, Output] = None,
    task: AnnotatedFor = "NER",
    spacing: SpacingName = None,
    offsets: OffsetsCount = "characters",
    strict: Strict = False,
    to: ToFormat = None,
    list_all: ListAll = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert a raw corpus into unified JSONL: train, validation and test."""
    from ucuie import data

    names = (*data.catalogue(), data.UNIFIED, *data.FORMATS)
    if name is not None and name not in names:
        raise ConfigError(f"no data set or format {show(name)}{did_you_mean(name, names)}")
    if to is not None:
        data.format_named(to)
    if list_all:
        _show_catalogue(name, as_json=as_json)
        return
    if name is None or source is None or output is None:
        raise typer.BadParameter(
            "give a data set or format, --source and --output; --list shows the names", param_hint="NAME"
        )

    def write(folder: Path) -> data.ConversionReport:
        if name in data.catalogue():
            return data.convert(name, source, folder, spacing=spacing, strict=strict)
        return data.convert_format(
            name, source, folder, task=task, spacing=spacing or "natural", offsets=offsets, strict=strict
        )

    talk = talk_console(quiet=quiet)
    if to is None:
        report = write(output)
        talk.print(conversion_table(report))
        if as_json:
            typer.echo(visible(report.model_dump_json()))
        return
    with TemporaryDirectory() as folder:
        unified = Path(folder, output.name)  # the data set is named after its folder
        report = write(unified)
        exports = data.export_splits(unified, to, output)
    talk.print(conversion_table(report), export_table(exports))
    if as_json:
        written = {split: one.model_dump(mode="json") for split, one in exports.items()}
        print_json({"conversion": report.model_dump(mode="json"), "exports": written})


def _show_catalogue(name: str | None, *, as_json: bool) -> None:
    """The catalogue and the formats, or one row of the catalogue."""
    from ucuie import data

    rows = data.catalogue() if name is None else {name: data.dataset_named(name)}
    if as_json:
        plain = [dataset.model_dump(mode="json") for dataset in rows.values()]
        print_json({"datasets": plain, "formats": list(data.FORMATS)})
    elif name is None:
        tables = catalogue_table(rows.values()), format_table(data.FORMATS)
        results().print(*(table.to_terminal() for table in tables), sep="\n\n")
    else:
        results().print(dataset_table(rows[name]).to_terminal())


@data_app.command("stats")
def data_stats(
    folder: Converted,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Draw labels and lengths into this SVG file.")
    ] = None,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(help="Converted data, or a folder of it, whose held-out texts are looked for in train."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Count examples, labels, lengths, and texts that stand in two splits."""
    from ucuie import data
    from ucuie.files import write_text

    found = data.stats(folder, held_out=held_out or ())
    if plot is not None:
        from ucuie.render.plots import statistics_plot

        write_text(plot, statistics_plot(found, title=folder.name))
    if as_json:
        typer.echo(visible(found.model_dump_json()))
    else:
        results().print(statistics_table(found))


@data_app.command("low-resource")
def data_low_resource(
    folder: Converted,
    output: Annotated[Path, Output],
    percent: Annotated[float, typer.Option(help="Of the shuffled training split, rounded up.")],
    seed: Annotated[int, typer.Option(help="Of the shuffling.")] = 0,
) -> None:
    """Write a part of a training split, and the other splits whole."""
    from ucuie import data

    count = data.write_low_resource(folder, output, percent=percent, seed=seed)
    talk_console().print(f"{counted(count, 'training example')} -> {output}")


@data_app.command("zero-shot")
def data_zero_shot(
    folder: Annotated[Path, typer.Argument(help="FewRel or Wiki-ZSL as convert wrote it.")],
    output: Annotated[Path, Output],
) -> None:
    """Write a folder for each selection of unseen labels of a zero-shot set."""
    from ucuie import data

    sizes = data.write_zero_shot_folds(folder, output)
    talk_console().print(
        f"{counted(len(sizes), 'selection')} of {', '.join(map(str, sizes))} texts -> {output}"
    )
