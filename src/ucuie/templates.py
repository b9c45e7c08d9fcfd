"""Texts for people, made from values: pages from templates, tables, numbers with their nouns."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ucuie.errors import visible

if TYPE_CHECKING:
    from jinja2 import Template
    from rich.console import RenderableType

_NUMBER = re.compile(r"[+-]?[\d,.]+(-[\d.]+)?( GiB| %)?")
"""A number or a range of two, with or without a unit."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings, to be shown in a terminal, as Markdown, CSV, HTML or plain text.

    A cell is a string, a number, None (left empty), or anything that `str` makes words of. Columns of numbers
    are set to the right, those of words to the left.

    Args:
        columns: the headings; empty for a table without.
        rows: each with a cell for every column.
        title: above the table; CSV leaves it out.
        notes: lines below the table; CSV leaves them out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    notes: Sequence[str] = ()

    @property
    def cells(self) -> list[list[str]]:
        """The rows as strings."""
        return [[_shown(cell) for cell in row] for row in self.rows]

    @property
    def are_numbers(self) -> list[bool]:
        """True for each column in which numbers stand, and nothing else but dashes."""
        filled = [
            [cell for cell in column if cell not in ("", "-")] for column in zip(*self.cells, strict=True)
        ]
        columns = filled or [[] for _ in self.columns]
        return [bool(column) and all(map(_NUMBER.fullmatch, column)) for column in columns]

    def to_text(self) -> str:
        """Lines of plain text, without a newline at the end."""
        lines = [list(self.columns), *self.cells] if self.columns else self.cells
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = (
            "  ".join(
                cell.rjust(width) if is_number else cell.ljust(width)
                for cell, width, is_number in zip(line, widths, self.are_numbers, strict=True)
            )
            for line in lines
        )
        title = [self.title, ""] if self.title else []
        return visible("\n".join([*title, *map(str.rstrip, aligned), *self.notes]))

    def to_markdown(self) -> str:
        """A table with its title in bold above it."""
        lines = [f"**{self.title}**", ""] if self.title else []
        lines += [f"| {' | '.join(self.columns)} |", "|---" * len(self.columns) + "|"]
        rows = ([cell.replace("|", r"\|") for cell in row] for row in self.cells)
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines += ["", *self.notes] if self.notes else []
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """The headings and the rows, numbers as they are."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([self.columns, *self.rows])
        return file.getvalue()

    def to_terminal(self) -> "RenderableType":
        """A table for rich to print; a cell that is a `Text` of rich keeps its style."""
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        style: dict[str, Any] = {"box": None, "pad_edge": False, "show_header": bool(self.columns)}
        shown = RichTable(title=self.title or None, title_justify="left", **style)
        are_numbers = self.are_numbers
        for heading, is_number in zip(self.columns or [""] * len(are_numbers), are_numbers, strict=True):
            shown.add_column(Text(heading), justify="right" if is_number else "left", overflow="fold")
        for row in self.rows:
            shown.add_row(*(cell if isinstance(cell, Text) else Text(_shown(cell)) for cell in row))
        return Group(shown, *(Text(note, style="dim") for note in self.notes))


def _shown(cell: object) -> str:
    if isinstance(cell, int | float):
        return f"{cell:,.3g}" if isinstance(cell, float) else f"{cell:,}"
    return "" if cell is None else visible(str(cell))


@cache
def load_template(path: Path) -> "Template":
    """The template of a file; it knows no undefined name, and escapes what it is given unless it is `.md`.

    Its filters: `percent` (0.876 is 88 %), `counted` (1 text, 1,204 texts), `thousands` (1,204).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=select_autoescape(disabled_extensions=[".md.jinja"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda score: f"{100 * score:.0f} %",
        "counted": counted,
        "thousands": lambda number: f"{number:,}",
    }
    return environment.get_template(path.name)


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 text", "1,204 texts"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
