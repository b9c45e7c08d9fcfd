"""A user's own files in, unified JSONL out, with the labels that stand in them.

What cannot be converted is a `Fault`: it stops everything (`strict`) or is left out and stands in the report.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from ucuie.data.catalogue import Dataset
from ucuie.data.draft import Fault
from ucuie.data.examples import HINT, scan_examples
from ucuie.data.formats import format_named
from ucuie.data.labels import Converted, Readings, examples_of, name_faults
from ucuie.data.readers import spacing_of
from ucuie.data.tokens import Spacing
from ucuie.data.unified_folder import ConversionReport, write_folder
from ucuie.errors import DataError
from ucuie.schema import SPLITS, Split, Task

UNIFIED = "unified"
"""The format of `convert_format` that is unified data already."""
_NO_DATA = frozenset(["LICENSE", "README", "SOURCE", "report"])
_SPLIT_STARTS = ("train", "val", "dev", "test")


def convert_format(
    format_name: str,
    source: Path,
    output: Path,
    *,
    task: Task = "NER",
    spacing: Spacing = "natural",
    strict: bool = False,
) -> ConversionReport:
    """Writes a user's own files as unified data, with the labels that stand in them.

    Args:
        format_name: a name in `FORMATS`, or "unified": data that is unified already is verified line by line
            and put into the splits that its examples name.
        source: a file or a folder. Files whose names begin with val or dev are validation data, with test
            test data, all others training data. Of brat, folders of such names are the splits.
        output: folder to write into; the data set is named after it.
        task: what the annotation is about.
        spacing: how tokens are joined, in formats that hold tokens.
        strict: a fault stops the conversion, and nothing is written.

    Raises:
        ConfigError: there is no such format.
        DataError: there is no such file, it holds nothing, or, with `strict`, anything in it is at fault.
    """
    files, not_read = _user_files(source, format_name)
    if source.resolve() == output.resolve():
        raise DataError(str(output), ["it is the folder that is read"], "choose another folder to write into")
    if format_name == UNIFIED:
        dataset = _row_of(output.name, task, {})
        splits = _unified_splits(files, source)
        return write_folder(dataset, splits, output, spacing=None, strict=strict, not_read=not_read)
    reader = format_named(format_name).reader
    given = {"task": task, "spacing": spacing}
    options = reader.options.model_validate(
        {key: given[key] for key in given if key in reader.options.model_fields}
    )
    dataset = _open_dataset(
        output.name, task, (reading for paths in files.values() for reading in reader.read(paths, options))
    )
    splits = (
        (split, examples_of(dataset, split, reader.read(paths, options))) for split, paths in files.items()
    )
    return write_folder(
        dataset, splits, output, spacing=spacing_of(options), strict=strict, not_read=not_read
    )


def _user_files(source: Path, format_name: str) -> tuple[dict[Split, list[Path]], tuple[str, ...]]:
    """The files, or of brat the folders, of each split, and the names of what else is there.

    Raises:
        DataError: there is nothing to read.
    """
    if not source.exists():
        raise DataError(str(source), ["it is not there"])
    if source.is_file():
        return {_split_of(source): [source]}, ()
    files: dict[Split, list[Path]] = {}
    not_read = []
    for path in sorted(source.iterdir()):
        is_data = path.is_file() and not path.name.startswith(".") and path.stem not in _NO_DATA
        if format_name == "brat":
            is_data = path.is_dir() and path.name.casefold().startswith(_SPLIT_STARTS)
        if is_data:
            files.setdefault(_split_of(path), []).append(path)
        else:
            not_read.append(path.name)
    if format_name == "brat" and not files:
        return {"train": [source]}, ()
    if not files:
        raise DataError(str(source), ["there is no file of data in it"])
    return {split: files[split] for split in SPLITS if split in files}, tuple(not_read)


def _split_of(path: Path) -> Split:
    name = path.name.casefold()
    return "validation" if name.startswith(("val", "dev")) else "test" if name.startswith("test") else "train"


def _unified_splits(
    files: Mapping[Split, list[Path]], source: Path
) -> Iterator[tuple[Split, Iterator[Converted | Fault]]]:
    """The examples of each split by their own word; a bad line counts in the split of its file.

    Raises:
        DataError: there is no example.
    """

    def items(wanted: Split) -> Iterator[Converted | Fault]:
        for split, paths in files.items():
            for item in chain.from_iterable(map(scan_examples, paths)):
                if isinstance(item, Fault):
                    if wanted == split:
                        yield item
                elif wanted == item.split:
                    yield item, ()

    first = {split: next(items(split), None) for split in SPLITS}
    if not any(isinstance(item, tuple) for split in SPLITS for item in items(split)):
        fault = next(filter(None, first.values()), "no line holds an example")
        raise DataError(str(source), [str(fault)], HINT)
    return ((split, items(split)) for split in SPLITS if first[split] is not None)


def _open_dataset(name: str, task: Task, readings: Readings) -> Dataset:
    """A row whose labels are those that stand in the drafts.

    Raises:
        DataError: no draft has any label.
    """
    slots: dict[str, dict[str, str]] = {}
    first_fault = ""
    for reading in readings:
        if isinstance(reading, Fault):
            first_fault = first_fault or str(reading)
            continue
        if name_faults(reading):
            continue  # `examples_of` counts it
        for label in reading.offered or ():
            slots.setdefault(label, {})
        for record in reading.records:
            slots.setdefault(record.frame, {}).update(
                (filled.slot, filled.slot.strip()) for filled in record.slots
            )
    if not slots:
        raise DataError(name, [first_fault or "no text has an annotation"], f"is it annotated for {task}?")
    labels = {label: {"name": label.strip(), "slots": slots[label]} for label in sorted(slots)}
    return _row_of(name, task, labels)


def _row_of(name: str, task: Task, labels: Mapping[str, object]) -> Dataset:
    """A row of the catalogue for data of a user's own."""
    row = {"name": name, "title": name, "task": task, "weights": "unstated", "labels": labels}
    return Dataset.model_validate(row | dict.fromkeys(("domain", "licence", "homepage", "obtain"), ""))
