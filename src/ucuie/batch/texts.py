"""A file of texts read as a whole, before any work: all faults are told at once, and nothing is half done."""

import io
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ucuie.batch.question import Question
from ucuie.batch.rows import (
    JSON_SUFFIXES,
    PARQUET_SUFFIX,
    PLAIN_SUFFIX,
    TABLE_SUFFIXES,
    Columns,
    Row,
    begin,
    kind_of,
    line_rows,
    not_utf8,
    said,
    unreadable,
)
from ucuie.batch.tables import missing_column, open_table
from ucuie.errors import DataError, SchemaError, needs
from ucuie.extract.query import AnswersQueries, Query
from ucuie.files import utf16_fault, write_text

STDIN = "-"
_JSON = (*JSON_SUFFIXES, ".json")
_JSON_BEGINS = re.compile(r"\s*\[?\s*\{")
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
    """The texts of a file; without a suffix, as "-" (standard input), it is plain text unless JSON begins it.

    Raises:
        DataError: the file is not there, is not UTF-8, is of no kind that is read, is a broken table or one
            without the column of the texts, or holds nothing.
        MissingExtraError: it is Parquet, and pyarrow is not installed.
    """
    suffix, _ = kind_of(path.name)
    if suffix in TABLE_SUFFIXES:
        rows = _table_rows(path, suffix, columns)
    else:
        content = _content(path)
        if suffix and suffix not in (*_JSON, PLAIN_SUFFIX):
            raise DataError(path.name, [f"files with the suffix {suffix!r} are not read"], _HINT)
        is_json = suffix in _JSON or (not suffix and _JSON_BEGINS.match(content) is not None)
        lines = io.BufferedReader(io.BytesIO(content.encode()))
        try:
            begin(lines)
        except ValueError as error:
            raise DataError(_name(path), [said(error)]) from None
        # Blanks that are no ASCII too.
        rows = [row for row in line_rows(lines, "", columns, is_json=is_json) if row.raw.decode().strip()]
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
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() == PLAIN_SUFFIX)
        if not files:
            fault = f"there is no {PLAIN_SUFFIX} file in it"
            raise DataError(str(path), [fault], "a folder of documents holds .txt files")
        return Texts(str(path), tuple(_document(path, file, place) for place, file in enumerate(files, 1)))
    suffix, _ = kind_of(path.name)
    if suffix in JSON_SUFFIXES:
        raise DataError(path.name, ["each line of JSON Lines is a document already"], "leave --document out")
    if suffix in TABLE_SUFFIXES:
        raise DataError(path.name, ["each row of a table is a document already"], "leave --document out")
    name, content = _name(path), _content(path).encode()
    return Texts(name, (Row(name, 1, content, "file", "1" if str(path) == STDIN else name),))


def _document(folder: Path, path: Path, number: int) -> Row:
    name = path.relative_to(folder).as_posix()
    try:
        return Row(name, number, _content(path).encode(), "file", name)
    except DataError as error:
        return Row(name, number, b"", "file", name, fault=error.faults[0])


def _table_rows(path: Path, suffix: str, columns: Columns) -> list[Row]:
    if suffix == PARQUET_SUFFIX:
        needs("pyarrow.parquet", "tables")
    content = io.BufferedReader(io.BytesIO(_bytes(path)))
    rows: list[Row] = []
    try:
        if suffix != PARQUET_SUFFIX:
            begin(content)
        table = open_table(content, suffix, "", columns)
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
        content = sys.stdin.buffer.read() if str(path) == STDIN else path.read_bytes()
        _, compression = kind_of(path.name)
        if compression is None:
            return content
        from fsspec.compression import compr

        unpacked: bytes = compr[compression](io.BytesIO(content), mode="r").read()
        return unpacked
    except OSError as error:
        raise DataError(str(path), [error.strerror or str(error)], _HINT) from None
    except Exception as error:  # of the decompressor, one of many classes
        raise DataError(str(path), [f"it cannot be unpacked: {said(error)}"], "pack it anew") from None


def _content(path: Path) -> str:
    content = _bytes(path)
    if fault := utf16_fault(content[:64]):
        raise DataError(_name(path), [fault])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(_name(path), [not_utf8(error)], "save the file as UTF-8") from None
