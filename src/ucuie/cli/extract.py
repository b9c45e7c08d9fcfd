"""`ucuie extract`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ucuie.batch.rows import Columns
from ucuie.cli.common import (
    IdKey,
    Quiet,
    TaskName,
    TextKey,
    Track,
    exit_interrupted,
    flag,
    one_of,
    output_file,
    refuse,
    results,
    talk_console,
)
from ucuie.cli.options import (
    NOT_HERE,
    AnswerFlags,
    EndpointFlags,
    EndpointOptions,
    ModelFlags,
    grouped,
    load_extractor,
)
from ucuie.errors import visible
from ucuie.extract.options import ModelOptions
from ucuie.extract.query import AnswersQueries, Query, task_named
from ucuie.extract.result import Extraction
from ucuie.model import collector_paused
from ucuie.render.formats import FORMATS, Format, answer_to_file, check_format, render
from ucuie.render.tables import extraction_table
from ucuie.schema import Schema
from ucuie.templates import counted

if TYPE_CHECKING:
    from ucuie.batch.texts import Texts

SchemaSource = Annotated[
    str,
    typer.Option(
        "--schema",
        "-s",
        help="YAML or JSON file, JSON itself, such as a list of names, or a ready schema's name.",
    ),
]
Text = Annotated[str | None, typer.Option("--text", "-t", help="The text itself.")]
Source = Annotated[
    Path | None,
    typer.Option(
        "--input",
        "-i",
        help="JSONL with text, id and elements, .parquet, .csv or .tsv with text and id, .txt with a "
        "text on each line, a folder of .txt files that are a text each, or - for stdin.",
    ),
]
Whole = Annotated[bool, flag("--document", "The whole input file is one text, whatever its length.")]
Output = Annotated[Path | None, output_file("File instead of stdout; appears when it is whole.")]
OutputFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        parser=one_of(FORMATS),
        metavar="NAME",
        help=f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
    ),
]
SkipBad = Annotated[
    bool, flag("--skip-bad", "Leave bad lines or rows out and list them in NAME.rejected.jsonl.")
]


@grouped
def extract(
    *,
    schema: SchemaSource,
    text: Text = None,
    source: Source = None,
    text_column: TextKey = "text",
    id_column: IdKey = "id",
    document: Whole = False,
    skip_bad: SkipBad = False,
    output: Output = None,
    output_format: OutputFormat = "jsonl",
    task: TaskName = None,
    answer: AnswerFlags,
    model: ModelFlags,
    endpoint: EndpointFlags,
    quiet: Quiet = False,
) -> None:
    """Extract records from texts."""
    is_parquet = output_format == "parquet"
    for is_wrong, reason, options in (
        ((text is None) == (source is None), "give one of the two", "'--text' / '--input'"),
        (task == "associating" and source is None, "associating needs --input with elements", "'--task'"),
        (document and source is None, "is for the file of --input", "'--document'"),
        (source and output and source.resolve() == output.resolve(), "would replace the input", "'--output'"),
        (is_parquet and output is None, "parquet goes into a file, so give --output", "'--format'"),
    ):
        if is_wrong:
            raise typer.BadParameter(reason, param_hint=options)
    check_format(output_format)
    parsed = Schema.of(schema)
    answer.threshold.check(parsed)
    columns = Columns(text_column, id_column)
    file = None if source is None else _texts(source, columns, is_document=document)
    talk = talk_console(quiet=quiet)
    with collector_paused():
        extractor = _extractor(model, endpoint, talk)
    asked = task_named(task, parsed)
    if file is None:
        queries = [Query("1", text or "", parsed, asked, None, answer)]
    else:
        from ucuie.batch.question import Question

        rejected = file.rejected_path(output)
        question = Question(parsed, asked, answer, columns)
        queries = file.queries(question, extractor, rejected=rejected if skip_bad else None)
        if num_bad := len(file.rows) - len(queries):
            talk.print(f"left out {counted(num_bad, 'bad line')}, listed in {rejected}")
    # A bar and results would write over each other on one terminal.
    track = Track(talk, is_shown=file is not None and (output is not None or not sys.stdout.isatty()))
    try:
        if output is None:
            _print_extractions(track(extractor.answer(queries), len(queries)), output_format)
        else:
            answer_to_file(extractor, queries, output, output_format=output_format, progress=track)
            talk.print(f"{track.summary} -> {output}")
    except KeyboardInterrupt:
        exit_interrupted(f"after {track.summary}", None if output is None else "the same command")


def _texts(source: Path, columns: Columns, *, is_document: bool) -> "Texts":
    from ucuie.batch.texts import read_documents, read_texts

    if is_document or source.is_dir():
        return read_documents(source)
    return read_texts(source, columns)


def _extractor(model: ModelOptions, endpoint: EndpointOptions, talk: Console) -> AnswersQueries:
    """What answers: a model here, or the one behind an endpoint; options of the other must not be given."""
    if endpoint.endpoint is not None:
        return endpoint.connect(model, talk)
    refuse(endpoint.model_fields_set, NOT_HERE)
    return load_extractor(model)


def _print_extractions(extractions: Iterable[Extraction], output_format: Format) -> None:
    """Each as soon as it is there, where the format allows."""
    if output_format not in ("jsonl", "table"):
        finished: list[Extraction] = []
        try:
            finished.extend(extractions)
        finally:
            # After Ctrl-C, what there is.
            if finished:
                rendered = render(finished, output_format)
                typer.echo(visible(rendered) if sys.stdout.isatty() else rendered, nl=False)
        return
    console = results()
    for extraction in extractions:
        if output_format == "table":
            console.print(extraction_table(extraction))
        else:
            typer.echo(visible(extraction.to_json()))
