"""The folder that a batch writes: finished shards, what went wrong in them, and the manifest.

    manifest.json              the input, what is asked of it, the model: what another run has to agree with
    part-00000.jsonl           a row for each row of the input, in its order; .parquet if asked for
    rejected/part-00000.jsonl  of those without an answer: file, row, id, error; only where there are any
    report.json                numbers, once all is done

A file appears whole or not at all. Here or on a file system of fsspec.
"""

import io
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, ValidationError

from ucuie.batch.rows import said
from ucuie.batch.sources import InputFacts
from ucuie.errors import ConfigError, DataError, StorageError, UcuieError, needs, show
from ucuie.files import only_run, write_bytes
from ucuie.templates import counted

OutputFormat = Literal["jsonl", "parquet"]
MANIFEST, REPORT, REJECTED = "manifest.json", "report.json", "rejected"
_LOCK = ".lock"
_SHARD = re.compile(r"part-(\d{5,})\.(?:jsonl|parquet)")


class OutputError(StorageError):
    """A finished shard cannot be written, or the folder not be read."""


class Manifest(BaseModel):
    """Whose the shards of a folder are: the version of ucuie, the input, and all that is asked of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ucuie: str
    input: InputFacts
    asked: dict[str, Any]
    shard_rows: int
    format: OutputFormat

    def differences(self, other: Self) -> list[str]:
        """All that another run does otherwise, a line each."""

        def differing(mine: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
            return [
                f"{name}: was {show(mine.get(name))}, is {show(others.get(name))}"
                for name in dict.fromkeys((*mine, *others))
                if mine.get(name) != others.get(name)
            ]

        mine, others = (manifest.model_dump(mode="json", exclude={"input"}) for manifest in (self, other))
        asked = differing(mine.pop("asked"), others.pop("asked"))
        lines = differing(mine, others)
        if self.input != other.input:
            was, now = _described(self.input), _described(other.input)
            lines.append(f"the input: was {was}, is {now}, or newer files")
        return lines + asked


class OutputFolder:
    """A folder of shards, while it is open; one run at a time, as far as this machine can tell.

    Raises:
        ConfigError: the folder holds other things, or shards of a run that differs, or another run is at it.
        OutputError: it cannot be read or written.
    """

    def __init__(self, url: str, manifest: Manifest) -> None:
        self.url = url
        self._format = manifest.format
        if self._format == "parquet":
            needs("pyarrow.parquet", "tables")
        try:
            self._fs, self._root = url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(f"{show(url)} is no place to write to: {error}") from None
        self._is_local = isinstance(self._fs, LocalFileSystem)
        self._held = ExitStack()
        self._manifest = manifest

    def __enter__(self) -> Self:
        try:
            self._fs.makedirs(self._root, exist_ok=True)
            if self._is_local:
                self._held.enter_context(only_run(Path(self._root, _LOCK), self.url))
            self._check()
        except OSError as error:
            self.__exit__()
            raise OutputError(f"{show(self.url)} cannot be written: {said(error)}") from None
        except UcuieError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def finished(self) -> set[int]:
        """The numbers of the shards that are there."""
        return {int(found[1]) for name in self._names() if (found := _SHARD.fullmatch(name))}

    def write_shard(self, number: int, lines: Sequence[bytes]) -> int:
        """Writes a shard, in one step, and gives the number of its rows without an answer.

        Raises:
            OutputError: there is no room, or the folder is gone.
        """
        rows = [json.loads(line) for line in lines]
        rejected = [
            json.dumps({name: row[name] for name in ("file", "row", "id", "error")}) + "\n"
            for row in rows
            if row["error"] is not None
        ]
        if rejected:
            self._write(f"{REJECTED}/{_name(number, 'jsonl')}", "".join(rejected).encode())
        content = _parquet(rows) if self._format == "parquet" else b"".join(line + b"\n" for line in lines)
        self._write(_name(number, self._format), content)
        return len(rejected)

    def num_rejected(self, number: int) -> int:
        """The rows of a finished shard that have no answer."""
        try:
            return int(self._fs.cat_file(f"{self._root}/{REJECTED}/{_name(number, 'jsonl')}").count(b"\n"))
        except FileNotFoundError:
            return 0

    def write_report(self, report: dict[str, Any]) -> None:
        """Writes the numbers of a run that is done.

        Raises:
            OutputError: there is no room, or the folder is gone.
        """
        self._write(REPORT, json.dumps(report, indent=1).encode() + b"\n")

    def _names(self) -> list[str]:
        self._fs.invalidate_cache()
        try:
            return [path.rstrip("/").rpartition("/")[2] for path in self._fs.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []

    def _check(self) -> None:
        # Hidden ones are the lock, and what a killed run was writing.
        names = {name for name in self._names() if not name.startswith(".")}
        if MANIFEST not in names:
            if names:
                raise ConfigError(f"{show(self.url)} holds other files already; name a new folder")
            self._write(MANIFEST, self._manifest.model_dump_json(indent=1).encode() + b"\n")
            return
        try:
            earlier = Manifest.model_validate_json(self._fs.cat_file(f"{self._root}/{MANIFEST}"))
        except ValidationError:
            raise DataError(
                f"{self.url}/{MANIFEST}", ["it is not a manifest of this ucuie"], "name a new folder"
            ) from None
        if differences := earlier.differences(self._manifest):
            listed = "".join(f"\n  {line}" for line in differences)
            raise ConfigError(
                f"the shards in {show(self.url)} are of a run that differs:{listed}\n  name a new folder, or "
                "ask as before to go on"
            )

    def _write(self, name: str, content: bytes) -> None:
        path = f"{self._root}/{name}"
        try:
            if self._is_local:
                write_bytes(Path(path), content)
            else:
                # Object stores show an object when it is whole.
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                self._fs.pipe_file(path, content)
        except Exception as error:  # a remote file system raises its own
            raise OutputError(
                f"{name} cannot be written to {show(self.url)}: {said(error)}; what is finished stays, and "
                "the same command goes on from there"
            ) from error


def _name(number: int, suffix: str) -> str:
    return f"part-{number:05}.{suffix}"


def _described(facts: InputFacts) -> str:
    return f"{counted(facts.num_files, 'file')} of {counted(facts.num_bytes, 'byte')}"


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    text, whole, number = pa.string(), pa.int64(), pa.float64()
    filler = pa.struct({"text": text, "start": whole, "end": whole, "score": number})
    slots = pa.list_(pa.struct({"slot": text, "filler": filler}))
    records = pa.list_(pa.struct({"frame": text, "filler": filler, "slots": slots, "score": number}))
    dropped = pa.list_(pa.struct({"reason": text, "value": text}))
    schema = pa.schema(
        {"id": text, "file": text, "row": whole, "text": text, "records": records, "dropped": dropped}
        | {"truncated": pa.bool_(), "model": text, "seconds": number, "error": text}
    )
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, compression="zstd")
    return buffer.getvalue()
