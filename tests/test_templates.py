"""A table as plain text, Markdown, CSV and for the terminal."""

import csv
import io

import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from ucuie.templates import Table

TABLE = Table(
    ("name", "count", "range"),
    [("a | b", 1234, "1.00-2.50"), (Text("[c]", style="cyan"), None, "-")],
    title="Title",
    notes=["a note"],
)


def printed(shown: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_numbers_are_set_to_the_right_and_words_to_the_left() -> None:
    table = ["name   count      range", "a | b  1,234  1.00-2.50", "[c]                   -"]
    assert TABLE.to_text().splitlines() == ["Title", "", *table, "a note"]
    assert printed(TABLE.to_terminal()) == ["Title", *table, "a note"]


@pytest.mark.parametrize(
    ("cells", "is_number"),
    [
        (["1", "2.50"], True),
        (["1,234", "-", ""], True),
        (["-1.5", "+2"], True),
        (["3.20 GiB", "12 %"], True),
        (["-", ""], False),
        (["7", "of 8"], False),
        (["v1.2"], False),
    ],
)
def test_a_column_is_one_of_numbers_where_nothing_else_is_in_it(cells: list[str], is_number: bool) -> None:
    assert Table(("column",), [[cell] for cell in cells]).are_numbers == [is_number]


def test_markdown_escapes_bars() -> None:
    assert TABLE.to_markdown().splitlines() == [
        "**Title**",
        "",
        "| name | count | range |",
        "|---|---|---|",
        r"| a \| b | 1,234 | 1.00-2.50 |",
        "| [c] |  | - |",
        "",
        "a note",
    ]


def test_csv_has_numbers_as_they_are() -> None:
    rows = list(csv.reader(io.StringIO(TABLE.to_csv())))
    assert rows == [["name", "count", "range"], ["a | b", "1234", "1.00-2.50"], ["[c]", "", "-"]]


def test_without_headings_there_are_rows_alone() -> None:
    table = Table((), [("weights", "1.25 GiB"), ("total", "12.00 GiB")])
    lines = ["weights   1.25 GiB", "total    12.00 GiB"]
    assert table.to_text().splitlines() == printed(table.to_terminal()) == lines


def test_without_rows_there_are_headings_alone() -> None:
    assert Table(("a", "b"), []).to_text() == "a  b"
