"""Extractions as files, in each of the formats that `ucuie extract` writes."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from ucuie.errors import needs
from ucuie.extract.result import Extraction
from ucuie.files import write_text

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
    """Look whether a format can be written, before any work.

    Raises:
        MissingExtraError: the package that writes it is not installed.
    """
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
            from ucuie.extract.html import render_report

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
    from ucuie.render.tables import extraction_table

    file = io.StringIO()
    console = Console(file=file, width=TABLE_WIDTH, color_system=None)
    for extraction in extractions:
        console.print(extraction_table(extraction))
    return file.getvalue()
