"""Formats of users' own data, both ways: `FORMATS` names them, `export` writes unified data in one.

Reading a format is `ucuie.data.convert_format`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from ucuie.data.examples import example_files, read_examples
from ucuie.data.formats import annotation_tools as tools
from ucuie.data.formats import brat, corpora, spacy_docs, table
from ucuie.data.formats.annotation_tools import ToolOptions, Written
from ucuie.data.formats.graph import GraphOptions
from ucuie.data.readers import Reader, columns
from ucuie.data.readers.items import ReaderOptions, TokenOptions
from ucuie.errors import ConfigError, DataError, did_you_mean, show
from ucuie.files import staged_file, staged_files
from ucuie.schema import SPLITS, Example, Split

Write = Callable[[Iterable[Example], Path], Iterator[list[str]]]


class ExportReport(BaseModel, frozen=True, extra="forbid"):
    """The outcome of `export`: what it wrote, and how often the format could not hold something."""

    format: str
    examples: int
    lost: dict[str, int]


@dataclass(frozen=True)
class Format:
    """A format of users' data.

    Args:
        suffix: of its files; empty where the data is a folder.
        write: writes examples to a file or folder and yields, for each, what the format cannot hold.
        cannot_hold: what is never kept, in words.
    """

    reader: Reader
    suffix: str
    write: Write
    cannot_hold: str


def export(examples: Iterable[Example], format_name: str, output: Path) -> ExportReport:
    """Writes the examples of a data set to a file, of brat to a folder, whole or not at all.

    Raises:
        ConfigError: there is no such format.
        DataError: a folder for brat holds texts already, which would be mixed with the new ones.
    """
    chosen = format_named(format_name)
    if not chosen.suffix and any(output.glob("*.txt")):
        raise DataError(str(output), ["it holds texts already"], "choose an empty folder")
    lost: Counter[str] = Counter()
    count = 0
    with staged_file(output) if chosen.suffix else staged_files(output, last=brat.CONFIGURATION) as staged:
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
                if file.tell() == 0 and text.startswith("\ufeff"):
                    file.write("\ufeff")  # a reader takes the first of them for a byte order mark
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


_NO_SCHEMA = "the schema, ids and scores"
_NO_GRAPH = "names of a pair's slots; records that are neither spans nor pairs"

FORMATS: dict[str, Format] = {
    "brat": Format(
        Reader(brat.read_brat, GraphOptions),
        "",
        brat.write_brat,
        f"{_NO_SCHEMA}; signs in names; {_NO_GRAPH}",
    ),
    "conll": Format(
        Reader(columns.read_columns, columns.ColumnOptions),
        ".conll",
        _texts(columns.write_columns),
        f"{_NO_SCHEMA}; blanks; nested entities; slots",
    ),
    "csv": Format(
        Reader(table.read_table, ReaderOptions), ".csv", table.write_table, "the schema and scores"
    ),
    "doccano": Format(
        Reader(tools.read_doccano, ToolOptions),
        ".jsonl",
        _lines(tools.write_doccano),
        f"{_NO_SCHEMA}; {_NO_GRAPH}",
    ),
    "gliner": Format(
        Reader(corpora.read_gliner, TokenOptions),
        ".json",
        _list(corpora.write_gliner),
        f"{_NO_SCHEMA}; blanks; slots",
    ),
    "iepile": Format(
        Reader(corpora.read_iepile, GraphOptions),
        ".json",
        _lines(corpora.write_iepile),
        f"{_NO_SCHEMA} but labels; offsets; {_NO_GRAPH}",
    ),
    "instructuie": Format(
        Reader(corpora.read_instructuie, GraphOptions),
        ".json",
        _list(corpora.write_instructuie),
        f"{_NO_SCHEMA}; {_NO_GRAPH}",
    ),
    "label-studio": Format(
        Reader(tools.read_label_studio, ToolOptions),
        ".json",
        _list(tools.write_label_studio),
        f"{_NO_SCHEMA}; {_NO_GRAPH}",
    ),
    "prodigy": Format(
        Reader(tools.read_prodigy, ToolOptions),
        ".jsonl",
        _lines(tools.write_prodigy),
        f"{_NO_SCHEMA}; two events of one type on the same words; {_NO_GRAPH}",
    ),
    "spacy": Format(
        Reader(spacy_docs.read_doc_bin, ReaderOptions),
        ".spacy",
        spacy_docs.write_doc_bin,
        f"{_NO_SCHEMA}; slots",
    ),
}
