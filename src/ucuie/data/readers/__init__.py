"""Readers by format: each turns raw files into drafts, and knows no data set by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ucuie.data.draft import Draft, Fault
from ucuie.data.readers.aste import AsteOptions, read_aste
from ucuie.data.readers.columns import ColumnOptions, read_columns
from ucuie.data.readers.phee import PheeOptions, read_phee
from ucuie.data.readers.spert import SpertOptions, read_spert
from ucuie.errors import ConfigError, did_you_mean, show


@dataclass(frozen=True)
class Reader:
    """A format's reading function and the model its options are checked against."""

    read: Callable[[Sequence[Path], Any], Iterator[Draft | Fault]]
    options: type[BaseModel]


READERS: dict[str, Reader] = {
    "aste": Reader(read_aste, AsteOptions),
    "columns": Reader(read_columns, ColumnOptions),
    "phee": Reader(read_phee, PheeOptions),
    "spert": Reader(read_spert, SpertOptions),
}


def read_drafts(reader: str, paths: Sequence[Path], options: Mapping[str, Any]) -> Iterator[Draft | Fault]:
    """The drafts of some files.

    Raises:
        ConfigError: there is no such reader, or it has no such option.
    """
    if reader not in READERS:
        raise ConfigError(f"no reader {show(reader)}{did_you_mean(reader, READERS)}")
    try:
        checked = READERS[reader].options.model_validate(dict(options))
    except ValidationError as error:
        raise ConfigError(f"options of reader {reader}: {error}") from None
    return READERS[reader].read(paths, checked)
