"""A file of texts read as a whole, before any work: all faults are told at once, and nothing is half done."""

import codecs
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ucuie.batch.question import Question
from ucuie.batch.rows import (
    PARQUET_SUFFIX,
    PLAIN_SUFFIX,
    TABLE_SUFFIXES,
    Columns,
    Row,
    line_rows,
    missing_column,
    not_utf8,
    open_table,
    unreadable,
)
from ucuie.errors import DataError, SchemaError, needs
from ucuie.extract.query import AnswersQueries, Query
from ucuie.files import write_text

STDIN = "-"
_HINT = (
    'one JSON object a line with "text" and perhaps "id"; such columns in a .parquet, .csv or .tsv table; '
    "of a .txt file every line is a text"
)


@dataclass(frozen=True)
class Texts:
    """Every line that is not blank, row of a table or file of a folder, and the name that messages use."""

    name: str
    rows: tuple[Row, ...]

    @property
    def description(self) -> str:
        """The place of faults, as messages name it."""
        if len(self.rows) == 1:
            return self.name
        return f"the {len(self.rows):,} {self.rows[0].unit}s of {self.name}"

    def rejected_path(self, output: Path | None) -> Path:
        """The list of bad rows of `notes.jsonl`: `notes.rejected.jsonl` beside the output, or here."""
        folder = Path() if output is None else output.parent
        return folder / f"{Path(self.name).stem}.rejected.jsonl"

    def queries(
        self, question: Question, extractor: AnswersQueries, *, rejected: Path | None = None
    ) -> list[Query]:
        """A query for each row that `extractor` can read.

        The others are listed in the file `rejected`, in a form that can be repaired and read again; without
        one, the whole file is refused for one of them.

        Raises:
            DataError: rows cannot be used; all of them at once.
            SchemaError: the schema is too large for the model's context.
        """
        queries, reasons = question.queries(self.rows)
        places = list(queries)
        for index, fault in extractor.faults(list(queries.values())).items():
            # A schema that is too large is so for every row.
            if isinstance(fault, SchemaError):
                raise fault
            reasons[places[index]] = str(fault)
            del queries[places[index]]
        bad = [(self.rows[place], reasons[place]) for place in sorted(reasons)]
        if bad and rejected is None:
            raise DataError(
                self.description,
                [f"{_place(row):<11} {reason}" for row, reason in bad],
                "nothing was written. --skip-bad leaves such lines out and lists them in "
                f"{self.rejected_path(None)}",
            )
        if bad and rejected is not None:
            lines = (json.dumps(_rejection(row, reason), ensure_ascii=False) for row, reason in bad)
            write_text(rejected, "".join(f"{line}\n" for line in lines))
        return list(queries.values())


def _place(row: Row) -> str:
    return row.file if row.kind == "file" else f"{row.unit} {row.number}"


def _rejection(row: Row, reason: str) -> dict[str, Any]:
    if row.kind == "file":
        return {"file": row.file, "reason": reason}
    try:
        raw = row.raw.decode()
    except UnicodeDecodeError:
        raw = ""
    return {row.unit: row.number, "reason": reason, "raw": raw}


def read_texts(path: Path, columns: Columns) -> Texts:
    """The texts of a file; "-" is standard input, plain text if its first line does not begin with a brace.

    Raises:
        DataError: the file is not there, is not UTF-8, is a broken table or one without the column of the
            texts, or holds nothing.
        MissingExtraError: it is Parquet, and pyarrow is not installed.
    """
    if path.suffix in TABLE_SUFFIXES:
        rows = _table_rows(path, columns)
    else:
        content = _content(path)
        is_plain = path.suffix == PLAIN_SUFFIX
        if str(path) == STDIN:
            is_plain = not content.lstrip().startswith("{")
        lines = line_rows(io.BytesIO(content.encode()), "", columns, is_json=not is_plain)
        # Blanks that are no ASCII too.
        rows = [row for row in lines if row.raw.decode().strip()]
    if not rows:
        raise DataError(_name(path), ["there is no text in it"], _HINT)
    return Texts(_name(path), tuple(rows))


def read_documents(path: Path) -> Texts:
    """The whole content of a file as one text; of a folder, that of every .txt file below it.

    Raises:
        DataError: the file is not there, is not UTF-8, or is a table or one of JSON Lines; the folder holds
            no .txt file. Files of a folder that cannot be read are bad rows.
    """
    if path.is_dir():
        files = sorted(path.rglob(f"*{PLAIN_SUFFIX}"))
        if not files:
            fault = f"there is no {PLAIN_SUFFIX} file in it"
            raise DataError(str(path), [fault], "a folder of documents holds .txt files")
        return Texts(str(path), tuple(_document(path, file, place) for place, file in enumerate(files, 1)))
    if path.suffix == ".jsonl":
        raise DataError(path.name, ["each line of JSON Lines is a document already"], "leave --document out")
    if path.suffix in TABLE_SUFFIXES:
        raise DataError(path.name, ["each row of a table is a document already"], "leave --document out")
    name, content = _name(path), _content(path).encode()
    return Texts(name, (Row(name, 1, content, "file", "1" if str(path) == STDIN else name),))


def _document(folder: Path, path: Path, number: int) -> Row:
    name = path.relative_to(folder).as_posix()
    try:
        return Row(name, number, _content(path).encode(), "file", name)
    except DataError as error:
        return Row(name, number, b"", "file", name, fault=error.faults[0])


def _table_rows(path: Path, columns: Columns) -> list[Row]:
    if path.suffix == PARQUET_SUFFIX:
        needs("pyarrow.parquet", "tables")
    content = io.BytesIO(_bytes(path).removeprefix(codecs.BOM_UTF8))
    rows: list[Row] = []
    try:
        table = open_table(content, path.suffix, "", columns)
        rows.extend(table.rows)
    except Exception as error:  # of the table's reader, one of many classes
        fault = unreadable(rows[-1].number if rows else 0, error)
        raise DataError(path.name, [fault], "nothing was written; save the file anew") from None
    if table.names and columns.text not in table.names:
        fault = missing_column(columns.text, table.names)
        raise DataError(path.name, [fault], "--text-column names the column of the texts")
    return rows


def _name(path: Path) -> str:
    return "standard input" if str(path) == STDIN else path.name


def _bytes(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == STDIN else path.read_bytes()
    except OSError as error:
        raise DataError(str(path), [error.strerror or str(error)], _HINT) from None


def _content(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(_name(path), [not_utf8(error)], "save the file as UTF-8") from None
