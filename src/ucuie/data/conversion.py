"""The raw files of a row of the catalogue in, unified JSONL out, with a report of all that was counted.

The same raw files give the same bytes. What cannot be converted is a `Fault`: it stops everything (`strict`)
or is left out and stands in the report.
"""

import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ucuie.data.catalogue import Dataset, dataset_named
from ucuie.data.draft import Draft, Fault
from ucuie.data.labels import Readings, examples_of
from ucuie.data.readers import checked_options, read_drafts, spacing_of
from ucuie.data.sources import find_source
from ucuie.data.tokens import Spacing
from ucuie.data.unified_folder import ConversionReport, write_folder
from ucuie.errors import DataError
from ucuie.schema import Split


def convert(
    name: str, source: Path, output: Path, *, spacing: Spacing | None = None, strict: bool = False
) -> ConversionReport:
    """Writes `train.jsonl`, `validation.jsonl`, `test.jsonl` and `report.json` of a catalogue row.

    Args:
        name: of the data set.
        source: folder with its raw files.
        output: folder to write into; files of earlier runs are replaced.
        spacing: how tokens are joined; None is the catalogue's way, which reads naturally. "blank" gives
            the texts that systems were trained on that joined tokens with blanks. A source with running
            text keeps it.
        strict: a fault stops the conversion, and nothing is written.

    Raises:
        ConfigError: the catalogue has no such set.
        DataError: a raw file is missing or unreadable, or, with `strict`, anything in it is at fault.
    """
    dataset = dataset_named(name)
    if not dataset.sources:
        raise DataError(name, ["the catalogue does not say how its files are read"], dataset.obtain)
    spacings = [
        spacing_of(checked_options(files.reader, files.options, spacing=spacing))
        for files in dataset.sources.values()
    ]
    used = next((one for one in spacings if one is not None), None)
    _check_sources(dataset, source)
    splits = (
        (split, examples_of(dataset, split, readings))
        for split, readings in _splits(dataset, source, spacing)
    )
    return write_folder(dataset, splits, output, spacing=used, strict=strict)


def _check_sources(dataset: Dataset, source: Path) -> None:
    """Raise a DataError that names every raw file that is not there, and the folder below that has them."""
    if not source.is_dir():
        raise DataError(
            str(source), ["it is a file" if source.exists() else "there is no such folder"], dataset.obtain
        )
    faults: dict[str, None] = {}
    for path in (path for files in dataset.sources.values() for path in files.paths):
        try:
            find_source(source, path)
        except DataError as error:
            faults |= dict.fromkeys(error.faults)
    if not faults:
        return
    below = [path for path in sorted(source.glob("*/")) if _holds(path, dataset)]
    raise DataError(str(source), [*faults], f"did you mean {below[0]}?" if below else dataset.obtain)


def _holds(folder: Path, dataset: Dataset) -> bool:
    """Whether every raw file of a data set lies in the folder."""
    try:
        _check_sources(dataset, folder)
    except DataError:
        return False
    return True


def _splits(dataset: Dataset, source: Path, spacing: Spacing | None) -> Iterator[tuple[Split, Readings]]:
    """What the readers make of each split."""
    for split, files in dataset.sources.items():
        paths = [find_source(source, path) for path in files.paths]
        readings = read_drafts(files.reader, paths, files.options, spacing=spacing)
        if split == "all":
            yield from _partition(dataset, list(readings))
        else:
            yield split, readings


def _partition(dataset: Dataset, readings: list[Draft | Fault]) -> Iterator[tuple[Split, Readings]]:
    """A seeded split; within a split the order stays the source's."""
    assert dataset.partition is not None
    indices = list(range(len(readings)))
    random.Random(dataset.partition.seed).shuffle(indices)
    start = 0
    for split, size in dataset.partition.sizes.items():
        chosen = sorted(indices[start : start + size])
        start += size
        rest = indices[sum(dataset.partition.sizes.values()) :] if split == "train" else []
        faults = (
            Fault(readings[index].place, "left out: more texts than the catalogue's splits have")
            for index in sorted(rest)
        )
        yield split, chain((readings[index] for index in chosen), faults)
