"""Files of texts as a stream of rows, in an order that never changes.

In: a file, a folder or a pattern, anywhere that fsspec reaches. Out: a row for each line that is not blank of
JSON Lines and plain text, for each row of a table, for each .txt file of a folder. What cannot be read is a
row with its fault; memory is bounded by the longest row that is allowed.
"""

import codecs
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

import fsspec
from fsspec.compression import compr
from fsspec.core import url_to_fs

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
    said,
    unreadable,
)
from ucuie.batch.tables import open_table
from ucuie.errors import ConfigError, DataError, needs, show
from ucuie.files import utf16_fault

_KINDS = (*JSON_SUFFIXES, PLAIN_SUFFIX, *TABLE_SUFFIXES)
_HINT = (
    "name a file, a folder or a pattern such as 's3://bucket/notes-*.jsonl' with .jsonl, .parquet, .csv, "
    ".tsv or .txt files; all but .parquet may be compressed"
)
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified")
"""Names that file systems have for that which changes with a file."""
_BUFFER_BYTES = 2**16
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class InputFacts:
    """One input as distinct from another: its files, as stored; `sha256` is of their versions too."""

    num_files: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class InputFile:
    """One file: `name` is its path in the input, `suffix` without that of a compression."""

    path: str
    name: str
    size: int
    version: str
    suffix: str
    compression: str | None
    is_document: bool


class Source:
    """The files of an input, named by the path or address of a file, a folder, or a pattern with `*`.

    Raises:
        DataError: nothing of the kind is there, or the address cannot be reached.
    """

    def __init__(self, url: str, columns: Columns) -> None:
        self._url = url
        self._columns = columns
        try:
            self._fs, self._root = url_to_fs(url)
            self._folder, found = _find(self._fs, self._root)
        except Exception as error:  # each file system raises its own
            raise DataError(url, [said(error)], _HINT) from None
        listed = (_input_file(path, info, self._folder) for path, info in sorted(found.items()))
        self.files = tuple(file for file in listed if file is not None)
        self.num_left_out = len(found) - len(self.files)
        """Files of kinds that are not read."""
        if not self.files:
            fault = "there is no file of texts in it" if found else "there is no such file"
            raise DataError(url, [fault], _HINT)
        if any(file.suffix == PARQUET_SUFFIX for file in self.files):
            needs("pyarrow.parquet", "tables")

    def check_output(self, folder: str) -> None:
        """Refuse a folder whose files, once they are there, would be part of this input.

        Raises:
            ConfigError: it is one.
        """
        is_deep = self._root.rstrip("/") == self._folder or "**" in self._root
        try:
            fs, root = url_to_fs(folder)
        except (ValueError, ImportError):  # no place at all, as whoever writes there will say
            return
        if is_deep and fs == self._fs and f"{root}/".startswith(f"{self._folder}/"):
            raise ConfigError(
                f"{show(folder)} lies in the input, which would grow by it; name another folder"
            )

    def check_unchanged(self) -> None:
        """Refuse what was read where other files are there by now, or the same in other versions.

        Raises:
            DataError: it is so.
        """
        self._fs.invalidate_cache()
        if Source(self._url, self._columns).facts != self.facts:
            fault = "files were changed, added or removed while it was read, and rows may be missing"
            raise DataError(self._url, [fault], "run it again, into a new folder")

    @property
    def facts(self) -> InputFacts:
        """Numbers that tell this input from another."""
        listed = "".join(f"{file.name}\0{file.size}\0{file.version}\n" for file in self.files)
        sha256 = hashlib.sha256(listed.encode()).hexdigest()
        return InputFacts(len(self.files), sum(file.size for file in self.files), sha256)

    def rows(self) -> Iterator[tuple[Row, int]]:
        """Every row, with how many bytes of all files come before it, about."""
        before = 0
        for file in self.files:
            for row, position in self._rows_of(file):
                yield row, before + min(position, file.size)
            before += file.size

    def _rows_of(self, file: InputFile) -> Iterator[tuple[Row, int]]:
        if file.is_document:
            yield self._document(file), 0
            return
        num_seen = 0
        try:
            with self._fs.open(file.path, "rb") as raw:
                read = _parquet_rows if file.suffix == PARQUET_SUFFIX else _text_rows
                for row, position in read(file, raw, self._columns):
                    num_seen = row.number
                    yield row, position
        except Exception as error:  # whatever the file system, the decompressor or the table's reader raise
            yield Row(file.name, num_seen + 1, b"", fault=unreadable(num_seen, error)), file.size

    def _document(self, file: InputFile) -> Row:
        content, fault = b"", None
        if file.size > self._columns.max_bytes:
            fault = self._columns.too_long(f"{file.size:,} bytes")
        else:
            try:
                content = self._fs.cat_file(file.path)
                fault = utf16_fault(content)
            except Exception as error:  # as above
                fault = f"the file cannot be read: {said(error)}"
        return Row(file.name, 1, content.removeprefix(codecs.BOM_UTF8), "file", file.name, fault)


def _find(fs: fsspec.AbstractFileSystem, root: str) -> tuple[str | None, dict[str, dict[str, Any]]]:
    """The folder that names are told from, None for one file, and all files with what is known of them."""
    if (mark := _PATTERN.search(root)) and not fs.exists(root):
        found = fs.glob(root, detail=True)
        folder = root[: mark.start()].rpartition("/")[0]
        return folder, {path: info for path, info in found.items() if info["type"] == "file"}
    if fs.isdir(root):
        return root.rstrip("/"), fs.find(root, detail=True)
    info = fs.info(root)
    return None, {info["name"]: info}


def _input_file(path: str, info: dict[str, Any], folder: str | None) -> InputFile | None:
    """None for hidden files, and kinds that are not read."""
    name = PurePosixPath(path).name if folder is None else path.removeprefix(folder).lstrip("/")
    if any(part.startswith((".", "_")) for part in PurePosixPath(name).parts):
        return None
    suffix, compression = kind_of(name)
    if suffix not in _KINDS or (compression and suffix == PARQUET_SUFFIX):
        return None
    version = next((str(info[key]) for key in _VERSION_KEYS if key in info), "")
    is_document = folder is not None and suffix == PLAIN_SUFFIX and not compression
    return InputFile(path, name, int(info["size"] or 0), version, suffix, compression, is_document)


def _text_rows(file: InputFile, raw: IO[bytes], columns: Columns) -> Iterator[tuple[Row, int]]:
    content: Any = raw if file.compression is None else compr[file.compression](raw, mode="r")
    # Not every file system's own readline has a limit. Of a damaged file, what is in the buffer is lost.
    lines = io.BufferedReader(content, _BUFFER_BYTES)
    try:
        begin(lines)
        if file.suffix in TABLE_SUFFIXES:
            rows = open_table(lines, file.suffix, file.name, columns).rows
        else:
            rows = line_rows(lines, file.name, columns, is_json=file.suffix in JSON_SUFFIXES)
        for row in rows:
            yield row, (raw if file.compression else lines).tell()
    finally:
        # Closed it would be twice: by whoever opened the file too.
        lines.detach()


def _parquet_rows(file: InputFile, raw: IO[bytes], columns: Columns) -> Iterator[tuple[Row, int]]:
    table = open_table(raw, file.suffix, file.name, columns)
    for row in table.rows:
        yield row, file.size * row.number // (table.num_rows or 1)
