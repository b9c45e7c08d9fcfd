"""Extractions as files, in each of the formats that `ucuie extract` writes, whole or not at all."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from ucuie.errors import needs
from ucuie.extract.query import AnswersQueries, Progress, Query, answer_staged, resume_key
from ucuie.extract.result import Extraction, render_report
from ucuie.files import StagedLines, write_text

Format = Literal["jsonl", "table", "html", "parquet", "graphml", "turtle"]
FORMATS: tuple[Format, ...] = get_args(Format)

TABLE_WIDTH = 120
"""Columns of a table that no terminal limits."""
_PACKAGES: dict[Format, tuple[str, str]] = {
    "parquet": ("pyarrow", "tables"),
    "graphml": ("networkx", "graph"),
    "turtle": ("rdflib", "graph"),
}


def check_format(output_format: Format) -> None:
    """Raise a MissingExtraError, before any work, if the package that writes a format is not installed."""
    if output_format in _PACKAGES:
        needs(*_PACKAGES[output_format])


def write(extractions: Sequence[Extraction], path: Path, output_format: Format) -> None:
    """Writes the extractions to a file, whole or not at all.

    Raises:
        MissingExtraError: the package that writes the format is not installed.
    """
    if output_format == "parquet":
        from ucuie.render.frames import write_parquet

        write_parquet(extractions, path)
    else:
        write_text(path, render(extractions, output_format))


def render(extractions: Sequence[Extraction], output_format: Format) -> str:
    """The extractions in a format of text; of `jsonl` and `table` the parts may be joined.

    Raises:
        MissingExtraError: the package that writes the format is not installed.
        ValueError: the format is Parquet, which is no text.
    """
    match output_format:
        case "jsonl":
            return "".join(f"{extraction.to_json()}\n" for extraction in extractions)
        case "table":
            return _tables(extractions)
        case "html":
            return render_report(extractions)
        case "graphml":
            from ucuie.render.graphs import to_graphml

            return to_graphml(extractions)
        case "turtle":
            from ucuie.render.graphs import to_turtle

            return to_turtle(extractions)
        case "parquet":
            raise ValueError("Parquet is no text; use `write`")


def _tables(extractions: Sequence[Extraction]) -> str:
    from ucuie.render.tables import SafeConsole, extraction_table

    file = io.StringIO()
    console = SafeConsole(file=file, width=TABLE_WIDTH, color_system=None)
    for extraction in extractions:
        console.print(extraction_table(extraction))
    return file.getvalue()


def answer_to_file(
    extractor: AnswersQueries,
    queries: Sequence[Query],
    output: Path,
    *,
    output_format: Format,
    progress: Progress,
) -> list[Extraction]:
    """Writes the extractions of all queries to a file, which appears when they are all there.

    What an interrupted run has done is kept beside the file, and the next equal run goes on from it.

    Raises:
        ConfigError: another run is writing to that file.
    """
    with StagedLines(output, key=resume_key(extractor, queries)) as staged:
        extractions = list(progress(answer_staged(extractor, queries, staged), len(queries)))
        if output_format == "jsonl":
            staged.publish()
        else:
            write(extractions, output, output_format)
            staged.discard()
    return extractions
