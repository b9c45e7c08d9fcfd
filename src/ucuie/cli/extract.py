"""`ucuie extract`."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucuie.batch.rows import Columns
from ucuie.cli.common import (
    BATCH_SIZE,
    BatchSize,
    Concurrency,
    Constrained,
    Device,
    EndBias,
    IdKey,
    Int8,
    Model,
    Quiet,
    RawScores,
    ServedAt,
    ServedModel,
    TextKey,
    Threshold,
    Track,
    WindowCharacters,
    answer_options,
    connected,
    exit_interrupted,
    one_of,
    refuse,
    results,
    talk_console,
)
from ucuie.extract.result import Extraction
from ucuie.render.formats import FORMATS, Format, check_format, render
from ucuie.render.tables import extraction_table
from ucuie.schema import CAPABILITIES, TASKS, Schema
from ucuie.startup import collector_paused
from ucuie.templates import counted

if TYPE_CHECKING:
    from ucuie.batch.texts import Texts
    from ucuie.extract.extractor import Extractor
    from ucuie.extract.query import AnswersQueries


def extract(
    schema: Annotated[
        str,
        typer.Option(
            "--schema",
            "-s",
            help="YAML or JSON file, JSON itself, such as a list of names, or a ready schema's name.",
        ),
    ],
    text: Annotated[str | None, typer.Option("--text", "-t", help="The text itself.")] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            help="JSONL with text, id and elements, .parquet, .csv or .tsv with text and id, .txt with a "
            "text on each line, a folder of .txt files that are a text each, or - for stdin.",
        ),
    ] = None,
    text_column: TextKey = "text",
    id_column: IdKey = "id",
    document: Annotated[
        bool, typer.Option("--document", help="The whole input file is one text, whatever its length.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", dir_okay=False, help="File instead of stdout; appears when it is whole."
        ),
    ] = None,
    output_format: Annotated[
        Format,
        typer.Option(
            "--format",
            "-f",
            parser=one_of(FORMATS),
            metavar="NAME",
            help="jsonl, table, html, parquet, graphml or turtle.",
        ),
    ] = "jsonl",
    task: Annotated[
        str | None,
        typer.Option(
            parser=one_of((*TASKS, *CAPABILITIES)),
            metavar="NAME",
            help="NER, RE, EE or ABSA, left out the schema's shape tells; judging for the types that occur, "
            "locating for candidate spans, associating to link the elements of the input.",
        ),
    ] = None,
    threshold: Threshold = None,
    end_bias: EndBias = 0.0,
    raw_scores: RawScores = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which experts of the adapter wrote each record.")
    ] = False,
    n_best: Annotated[
        int,
        typer.Option(
            "--n-best",
            metavar="N",
            help="The likeliest answer to a text and up to N - 1 alternatives, by a search with N beams; "
            "a text too long to be read as a whole has none.",
        ),
    ] = 1,
    capabilities: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME", help="Capability experts that take part; left out, all three of them."
        ),
    ] = None,
    window_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Longer texts are read in windows of so many tokens; left out, as many as in training.",
        ),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave bad lines or rows out and list them in NAME.rejected.jsonl."),
    ] = False,
    model: Model = None,
    device: Device = None,
    batch_size: BatchSize = BATCH_SIZE,
    int8: Int8 = False,
    endpoint: ServedAt = None,
    endpoint_model: ServedModel = None,
    constraint: Constrained = None,
    window_characters: WindowCharacters = None,
    concurrency: Concurrency = None,
    quiet: Quiet = False,
) -> None:
    """Extract records from texts."""
    if (text is None) == (source is None):
        raise typer.BadParameter("give one of the two", param_hint="'--text' / '--input'")
    if task == "associating" and source is None:
        raise typer.BadParameter("associating needs --input with elements", param_hint="'--task'")
    if document and source is None:
        raise typer.BadParameter("is for the file of --input", param_hint="'--document'")
    if output_format == "parquet" and output is None:
        raise typer.BadParameter("parquet goes into a file, so give --output", param_hint="'--format'")
    check_format(output_format)
    parsed = Schema.of(schema)
    options = answer_options(
        threshold=threshold, end_bias=end_bias, raw_scores=raw_scores, explain=explain, n_best=n_best
    )
    options.threshold.check(parsed)
    columns = Columns(text_column, id_column)
    file = None if source is None else _texts(source, columns, is_document=document)
    talk = talk_console(quiet=quiet)
    here = {
        "model": model,
        "device": device,
        "int8": int8 or None,
        "window_tokens": window_tokens,
        "batch_size": None if batch_size == BATCH_SIZE else batch_size,
        "capabilities": _names(capabilities),
    }
    elsewhere: dict[str, Any] = {
        "endpoint_model": endpoint_model,
        "constraint": constraint,
        "window_characters": window_characters,
        "concurrency": concurrency,
    }
    with collector_paused():
        from ucuie.batch.question import Question
        from ucuie.extract.query import Query, task_named
        from ucuie.render.answers import answer_to_file

        extractor: AnswersQueries
        if endpoint is None:
            extractor = _loaded(here, elsewhere)
        else:
            refuse(here, "is for a model here, not for one behind --endpoint")
            extractor = connected(endpoint, talk, **elsewhere)
    if file is None:
        queries = [Query("1", text or "", parsed, task_named(task, parsed), None, options)]
    else:
        question = Question(parsed, task_named(task, parsed), options, columns)
        rejected = file.rejected_path(output)
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


def _loaded(options: Mapping[str, Any], foreign: Mapping[str, Any]) -> "Extractor":
    """What asks a model here; options that are foreign to one must not be given."""
    from ucuie.extract.extractor import Extractor

    refuse(foreign, "is for a model behind --endpoint, so give that too")
    given = {name: value for name, value in options.items() if value is not None}
    return Extractor.from_pretrained(**given)


def _names(listed: str | None) -> list[str] | None:
    """The names between the commas."""
    return None if listed is None else [name.strip() for name in listed.split(",") if name.strip()]


def _print_extractions(extractions: Iterable[Extraction], output_format: Format) -> None:
    """Each as soon as it is there, where the format allows."""
    if output_format not in ("jsonl", "table"):
        finished: list[Extraction] = []
        try:
            for extraction in extractions:
                finished.append(extraction)  # noqa: PERF402  what came before Ctrl-C has to be kept
        finally:
            # After Ctrl-C, what there is.
            if finished:
                typer.echo(render(finished, output_format), nl=False)
        return
    console = results()
    for extraction in extractions:
        if output_format == "table":
            console.print(extraction_table(extraction))
        else:
            typer.echo(extraction.to_json())
