"""Readers by format: each turns raw files into drafts, and knows no data set by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ucuie.config import validate_config
from ucuie.data.draft import Draft, Fault
from ucuie.data.readers.columns import ColumnOptions, read_columns
from ucuie.data.readers.dygie import DygieOptions, SpertOptions, read_dygie, read_spert
from ucuie.data.readers.events import CasieOptions, read_casie, read_duee, read_phee, read_rams
from ucuie.data.readers.items import ReaderOptions, TokenOptions
from ucuie.data.readers.oneie import OneieOptions, read_maven, read_oneie
from ucuie.data.readers.opinions import read_acos, read_aste
from ucuie.data.readers.relations import (
    SemevalOptions,
    read_docred,
    read_fewrel,
    read_relation_prompt,
    read_semeval,
)
from ucuie.data.readers.triples import OpenRelationOptions, read_open_relations, read_spo, read_triples
from ucuie.data.tokens import Spacing
from ucuie.errors import ConfigError, did_you_mean, show


@dataclass(frozen=True)
class Reader:
    """A format's reading function and the model its options are checked against."""

    read: Callable[[Sequence[Path], Any], Iterator[Draft | Fault]]
    options: type[ReaderOptions]


READERS: dict[str, Reader] = {
    "acos": Reader(read_acos, TokenOptions),
    "aste": Reader(read_aste, TokenOptions),
    "casie": Reader(read_casie, CasieOptions),
    "columns": Reader(read_columns, ColumnOptions),
    "docred": Reader(read_docred, TokenOptions),
    "duee": Reader(read_duee, ReaderOptions),
    "dygie": Reader(read_dygie, DygieOptions),
    "fewrel": Reader(read_fewrel, TokenOptions),
    "maven": Reader(read_maven, TokenOptions),
    "oneie": Reader(read_oneie, OneieOptions),
    "open relations": Reader(read_open_relations, OpenRelationOptions),
    "phee": Reader(read_phee, ReaderOptions),
    "rams": Reader(read_rams, TokenOptions),
    "relation prompt": Reader(read_relation_prompt, TokenOptions),
    "semeval": Reader(read_semeval, SemevalOptions),
    "spert": Reader(read_spert, SpertOptions),
    "spo": Reader(read_spo, ReaderOptions),
    "triples": Reader(read_triples, TokenOptions),
}


def read_drafts(
    reader: str, paths: Sequence[Path], options: Mapping[str, Any], *, spacing: Spacing | None = None
) -> Iterator[Draft | Fault]:
    """The drafts of some files."""
    return _reader_named(reader).read(paths, checked_options(reader, options, spacing=spacing))


def checked_options(
    reader: str, options: Mapping[str, Any], *, spacing: Spacing | None = None
) -> ReaderOptions:
    """The options of a reader; a spacing replaces the one among them if the reader joins tokens at all."""
    model = _reader_named(reader).options
    if spacing is not None and issubclass(model, TokenOptions):
        options = {**options, "spacing": spacing}
    return validate_config(model, dict(options), origin=f"the options of reader {reader}")


def spacing_of(options: ReaderOptions) -> Spacing | None:
    """The spacing of joined tokens; None where the source holds running text."""
    return options.spacing if isinstance(options, TokenOptions) else None


def _reader_named(reader: str) -> Reader:
    if reader not in READERS:
        raise ConfigError(f"no reader {show(reader)}{did_you_mean(reader, READERS)}")
    return READERS[reader]
