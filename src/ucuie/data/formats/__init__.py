"""Formats of users' own data, both ways: `FORMATS` names them, `export` writes unified data in one.

Reading a format is `ucuie.data.convert_format`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ucuie.data.examples import example_files, read_examples
from ucuie.data.formats.annotation_tools import (
    GraphOptions,
    Written,
    read_doccano,
    read_label_studio,
    read_prodigy,
    write_doccano,
    write_label_studio,
    write_prodigy,
)
from ucuie.data.formats.brat import read_brat, write_brat
from ucuie.data.formats.corpora import (
    read_gliner,
    read_iepile,
    read_instructuie,
    write_gliner,
    write_iepile,
    write_instructuie,
)
from ucuie.data.formats.spacy_docs import read_doc_bin, write_doc_bin
from ucuie.data.formats.table import read_table, write_table
from ucuie.data.readers import Reader
from ucuie.data.readers.columns import ColumnOptions, read_columns, write_columns
from ucuie.data.readers.items import ReaderOptions, TokenOptions
from ucuie.errors import ConfigError, DataError, did_you_mean, show
from ucuie.files import staged_file, staged_files
from ucuie.schema import SPLITS, Example, Split

Lost = Counter[str]
Write = Callable[[Iterable[Example], Path], Iterator[list[str]]]


class ExportReport(BaseModel):
    """What `export` wrote, and how often the format could not hold something."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    examples: int
    lost: dict[str, int]


@dataclass(frozen=True)
class Format:
    """A format of users' data.

    Args:
        write: writes examples to a file and yields, for each, what the format cannot hold. None for brat,
            which has two files for each text.
        cannot_hold: what is never kept, in words.
    """

    reader: Reader
    suffix: str
    write: Write | None
    cannot_hold: str


def export(examples: Iterable[Example], format_name: str, output: Path) -> ExportReport:
    """Writes the examples of a data set to a file, of brat to a folder, whole or not at all.

    Raises:
        ConfigError: there is no such format.
        DataError: a folder for brat holds texts already, which would be mixed with the new ones.
    """
    chosen = format_named(format_name)
    lost: Lost = Counter()
    count = 0
    if chosen.write is None:
        if any(output.glob("*.txt")):
            raise DataError(str(output), ["it holds texts already"], "choose an empty folder")
        with staged_files(output, last="annotation.conf") as staging:
            for count, example_lost in enumerate(_write_brat_folder(examples, staging), start=1):  # noqa: B007
                lost.update(example_lost)
    else:
        with staged_file(output) as staged:
            for count, example_lost in enumerate(chosen.write(examples, staged), start=1):  # noqa: B007
                lost.update(example_lost)
    return ExportReport(format=format_name, examples=count, lost=dict(sorted(lost.items())))


def export_splits(folder: Path, format_name: str, output: Path) -> dict[Split, ExportReport]:
    """Writes every split of converted data in a format: a file for each, of brat a folder.

    Files of the same names are replaced.

    Raises:
        ConfigError: there is no such format.
        DataError: there is no unified data, or a folder for brat holds texts already.
    """
    suffix = format_named(format_name).suffix
    return {
        split: export(read_examples(folder / f"{split}.jsonl"), format_name, output / f"{split}{suffix}")
        for split in SPLITS
        if folder / f"{split}.jsonl" in example_files(folder)
    }


def format_named(name: str) -> Format:
    """The format of that name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if name not in FORMATS:
        raise ConfigError(f"no format {show(name)}{did_you_mean(name, FORMATS)}")
    return FORMATS[name]


def _texts(render: Callable[[Example], tuple[str, list[str]]]) -> Write:
    """One text after the other."""

    def write(examples: Iterable[Example], path: Path) -> Iterator[list[str]]:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for example in examples:
                text, lost = render(example)
                file.write(text)
                yield lost

    return write


def _lines(render: Callable[[Example], Written]) -> Write:
    """One JSON object a line."""

    def line(example: Example) -> tuple[str, list[str]]:
        item, lost = render(example)
        return json.dumps(item, ensure_ascii=False) + "\n", lost

    return _texts(line)


def _list(render: Callable[[Example], Written]) -> Write:
    """One JSON list, an item a line."""

    def write(examples: Iterable[Example], path: Path) -> Iterator[list[str]]:
        separator = "[\n"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for example in examples:
                item, lost = render(example)
                file.write(separator + json.dumps(item, ensure_ascii=False))
                separator = ",\n"
                yield lost
            file.write("[]\n" if separator == "[\n" else "\n]\n")

    return write


def _write_brat_folder(examples: Iterable[Example], folder: Path) -> Iterator[list[str]]:
    entities: set[str] = set()
    for number, example in enumerate(examples, start=1):
        annotation, lost = write_brat(example)
        (folder / f"{number:06}.txt").write_text(example.text, encoding="utf-8", newline="")
        (folder / f"{number:06}.ann").write_text(annotation, encoding="utf-8", newline="\n")
        entities.update(
            line.split("\t")[1].split(" ")[0] for line in annotation.splitlines() if line[0] == "T"
        )
        yield lost
    (folder / "annotation.conf").write_text(
        "[entities]\n"
        + "".join(f"{name}\n" for name in sorted(entities))
        + "[relations]\n[events]\n[attributes]\n",
        encoding="utf-8",
    )


_NO_SCHEMA = "the schema, ids and scores"

FORMATS: dict[str, Format] = {
    "brat": Format(
        Reader(read_brat, GraphOptions), "", None, f"{_NO_SCHEMA}; records that are neither spans nor pairs"
    ),
    "conll": Format(
        Reader(read_columns, ColumnOptions),
        ".conll",
        _texts(write_columns),
        f"{_NO_SCHEMA}; blanks; nested entities; slots",
    ),
    "csv": Format(Reader(read_table, ReaderOptions), ".csv", write_table, "the schema and scores"),
    "doccano": Format(
        Reader(read_doccano, GraphOptions),
        ".jsonl",
        _lines(write_doccano),
        f"{_NO_SCHEMA}; records that are neither spans nor pairs",
    ),
    "gliner": Format(
        Reader(read_gliner, TokenOptions), ".json", _list(write_gliner), f"{_NO_SCHEMA}; blanks; slots"
    ),
    "iepile": Format(
        Reader(read_iepile, GraphOptions), ".json", _lines(write_iepile), f"{_NO_SCHEMA} but labels; offsets"
    ),
    "instructuie": Format(
        Reader(read_instructuie, GraphOptions), ".json", _list(write_instructuie), _NO_SCHEMA
    ),
    "label-studio": Format(
        Reader(read_label_studio, GraphOptions),
        ".json",
        _list(write_label_studio),
        f"{_NO_SCHEMA}; records that are neither spans nor pairs",
    ),
    "prodigy": Format(
        Reader(read_prodigy, GraphOptions),
        ".jsonl",
        _lines(write_prodigy),
        f"{_NO_SCHEMA}; two events of one type on the same words; records that are neither spans nor pairs",
    ),
    "spacy": Format(Reader(read_doc_bin, ReaderOptions), ".spacy", write_doc_bin, f"{_NO_SCHEMA}; slots"),
}
