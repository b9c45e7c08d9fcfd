"""Readers by format: each turns raw files into drafts, and knows no data set by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ucuie.config import validate_config
from ucuie.data.draft import Readings
from ucuie.data.readers import columns, events, mentions, relations, triples
from ucuie.data.readers.items import ReaderOptions, TokenOptions
from ucuie.data.tokens import Spacing
from ucuie.errors import ConfigError, did_you_mean, show


@dataclass(frozen=True)
class Reader:
    """A format's reading function and the model its options are checked against."""

    read: Callable[[Sequence[Path], Any], Readings]
    options: type[ReaderOptions]


READERS: dict[str, Reader] = {
    "acos": Reader(relations.read_acos, TokenOptions),
    "aste": Reader(relations.read_aste, TokenOptions),
    "casie": Reader(events.read_casie, events.CasieOptions),
    "columns": Reader(columns.read_columns, columns.ColumnOptions),
    "docred": Reader(relations.read_docred, TokenOptions),
    "duee": Reader(events.read_duee, ReaderOptions),
    "dygie": Reader(mentions.read_dygie, mentions.DygieOptions),
    "fewrel": Reader(relations.read_fewrel, TokenOptions),
    "maven": Reader(events.read_maven, TokenOptions),
    "oneie": Reader(mentions.read_oneie, mentions.OneieOptions),
    "open relations": Reader(triples.read_open_relations, triples.OpenRelationOptions),
    "phee": Reader(events.read_phee, ReaderOptions),
    "rams": Reader(events.read_rams, TokenOptions),
    "relation prompt": Reader(relations.read_relation_prompt, TokenOptions),
    "semeval": Reader(relations.read_semeval, relations.SemevalOptions),
    "spert": Reader(mentions.read_spert, mentions.SpertOptions),
    "spo": Reader(triples.read_spo, ReaderOptions),
    "triples": Reader(triples.read_triples, TokenOptions),
}


def read_drafts(
    reader: str, paths: Sequence[Path], options: Mapping[str, Any], *, spacing: Spacing | None = None
) -> Readings:
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
