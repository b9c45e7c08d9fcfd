"""Extractions as the content of a file, in each of the formats that `ucuie extract` writes."""

import io
from collections.abc import Sequence
from typing import Literal, get_args

from rich.console import Console

from ucuie.extraction import Extraction
from ucuie.html import render_report
from ucuie.tables import extraction_table

Format = Literal["jsonl", "table", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)

TABLE_WIDTH = 120
"""Columns of a table that no terminal limits."""


def render(extractions: Sequence[Extraction], output_format: Format) -> str:
    """The extractions in a format; of `jsonl` and `table` the parts may be joined."""
    if output_format == "jsonl":
        return "".join(f"{extraction.to_json()}\n" for extraction in extractions)
    if output_format == "html":
        return render_report(extractions)
    file = io.StringIO()
    console = Console(file=file, width=TABLE_WIDTH, color_system=None)
    for extraction in extractions:
        console.print(extraction_table(extraction))
    return file.getvalue()
