"""Raw corpora and users' files in, unified JSONL out, with a report of all that was counted on the way.

The same raw files give the same bytes. Files appear whole or not at all: each is written beside its
place and renamed. What cannot be converted is a `Fault`: it stops everything (`strict`) or is left
out and stands in the report.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from ucuie.atomic import staged_files, write_text
from ucuie.data.catalogue import Dataset, dataset_named
from ucuie.data.draft import Draft, Fault
from ucuie.data.examples import validation_faults
from ucuie.data.formats import format_named
from ucuie.data.readers import checked_options, read_drafts, spacing_of
from ucuie.data.sources import encoding_fault, find_source
from ucuie.data.tokens import Spacing
from ucuie.errors import DataError, did_you_mean, show
from ucuie.linearize import order_records
from ucuie.schema import Example, FilledSlot, Record, Schema, Split, Task

SPLITS: tuple[Split, ...] = get_args(Split)
REPORT_NAME = "report.json"

_Readings = Iterator[Draft | Fault]
_Converted = tuple[Example, tuple[str, ...]]


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitReport(_Report):
    """What became of one split.

    Args:
        examples: lines written.
        expected: what the catalogue expects; None where it does not say.
        with_records: examples that hold at least one record.
        records: by frame.
        changes: decisions that altered the source's annotation, with how often.
        faults: what was left out and why.
        sha256: of the file written.
    """

    examples: int
    expected: int | None
    with_records: int
    records: dict[str, int]
    changes: dict[str, int]
    faults: tuple[str, ...]
    sha256: str


class ConversionReport(_Report):
    """What `convert` did; `report.json` holds the same.

    Args:
        dataset: its name.
        spacing: how tokens were joined (`ucuie.data.tokens`); None where the source holds running text.
        splits: what became of each.
    """

    dataset: str
    spacing: Spacing | None
    splits: dict[Split, SplitReport]

    @property
    def is_as_expected(self) -> bool:
        """Whether every split has as many examples as the catalogue expects."""
        return all(split.expected in (None, split.examples) for split in self.splits.values())


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
    return _convert(dataset, _splits(dataset, source, spacing), output, spacing=used, strict=strict)


def _check_sources(dataset: Dataset, source: Path) -> None:
    """Raise a DataError that names every raw file that is not there."""
    faults: list[str] = []
    for files in dataset.sources.values():
        for path in files.paths:
            try:
                find_source(source, path)
            except DataError as error:
                faults += error.faults
    if faults:
        raise DataError(str(source), faults, dataset.obtain)


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
        format_name: a name in `FORMATS`.
        source: a file; or a folder, whose files named like train, dev or test become those splits. What
            has another name is training data. A folder of brat is one split.
        output: folder to write into; the data set is named after it.
        task: what the annotation is about.
        spacing: how tokens are joined, in formats that hold tokens.
        strict: a fault stops the conversion, and nothing is written.

    Raises:
        ConfigError: there is no such format.
        DataError: there is no such file, it holds nothing, or, with `strict`, anything in it is at fault.
    """
    reader = format_named(format_name).reader
    given = {"task": task, "spacing": spacing}
    options = reader.options.model_validate(
        {key: given[key] for key in given if key in reader.options.model_fields}
    )
    files = {split: paths for split, paths in _user_files(source, format_name).items() if paths}
    if not files:
        raise DataError(str(source), ["there is no file in it"])
    dataset = _open_dataset(
        output.name, task, (reading for paths in files.values() for reading in reader.read(paths, options))
    )
    splits = ((split, reader.read(paths, options)) for split, paths in files.items())
    return _convert(dataset, splits, output, spacing=spacing_of(options), strict=strict)


def _user_files(source: Path, format_name: str) -> dict[Split, list[Path]]:
    if not source.exists():
        raise DataError(str(source), ["it is not there"])
    if source.is_file() or format_name == "brat":
        return {"train": [source]}
    files: dict[Split, list[Path]] = {"train": [], "validation": [], "test": []}
    for path in sorted(path for path in source.iterdir() if path.is_file()):
        stem = path.name.casefold()
        is_validation = stem.startswith(("val", "dev"))
        files["validation" if is_validation else "test" if stem.startswith("test") else "train"].append(path)
    return files


def _open_dataset(name: str, task: Task, readings: _Readings) -> Dataset:
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
        names = [record.frame for record in reading.records]
        names += [filled.slot for record in reading.records for filled in record.slots]
        if any(map(encoding_fault, (*(reading.offered or ()), *names))):
            continue  # its labels are unknown then, which is counted as a fault
        for label in reading.offered or ():
            slots.setdefault(label, {})
        for record in reading.records:
            slots.setdefault(record.frame, {}).update((filled.slot, filled.slot) for filled in record.slots)
    if not slots:
        raise DataError(name, [first_fault or "no text has an annotation"], f"is it annotated for {task}?")
    labels = {label: {"name": label, "slots": slots[label]} for label in sorted(slots)}
    row = {"name": name, "title": name, "task": task, "weights": "unstated", "labels": labels}
    return Dataset.model_validate(row | dict.fromkeys(("domain", "licence", "homepage", "obtain"), ""))


def _convert(
    dataset: Dataset,
    splits: Iterable[tuple[Split, _Readings]],
    output: Path,
    *,
    spacing: Spacing | None,
    strict: bool,
) -> ConversionReport:
    with staged_files(output, last=REPORT_NAME) as staging:
        reports = {
            split: _write_split(
                staging / f"{split}.jsonl", _examples(dataset, split, readings), dataset.counts.get(split)
            )
            for split, readings in splits
        }
        faults = [fault for report in reports.values() for fault in report.faults]
        if strict and faults:
            raise DataError(dataset.name, faults, "without `strict` these are left out")
        report = ConversionReport(dataset=dataset.name, spacing=spacing, splits=reports)
        write_text(staging / REPORT_NAME, report.model_dump_json(indent=1) + "\n")
    for split in set(SPLITS) - set(reports):
        (output / f"{split}.jsonl").unlink(missing_ok=True)
    return report


def _splits(dataset: Dataset, source: Path, spacing: Spacing | None) -> Iterator[tuple[Split, _Readings]]:
    """What the readers make of each split."""
    for split, files in dataset.sources.items():
        paths = [find_source(source, path) for path in files.paths]
        readings = read_drafts(files.reader, paths, files.options, spacing=spacing)
        if split == "all":
            yield from _partition(dataset, list(readings))
        else:
            yield split, readings


def _partition(dataset: Dataset, readings: list[Draft | Fault]) -> Iterator[tuple[Split, _Readings]]:
    """A seeded split; within a split the order stays the source's."""
    assert dataset.partition is not None
    indices = list(range(len(readings)))
    random.Random(dataset.partition.seed).shuffle(indices)
    start = 0
    for split, size in dataset.partition.sizes.items():
        chosen = sorted(indices[start : start + size])
        start += size
        yield split, iter([readings[index] for index in chosen])


def _examples(dataset: Dataset, split: Split, readings: _Readings) -> Iterator[_Converted | Fault]:
    """(example, changes) for each draft; the id counts what the split holds, faults included."""
    schemas: dict[tuple[str, ...], Schema] = {}
    for number, reading in enumerate(readings, start=1):
        if isinstance(reading, Fault):
            yield reading
            continue
        not_utf8 = encoding_fault(reading.text)
        if not_utf8 is not None:
            yield Fault(reading.place, not_utf8)
            continue
        unknown = _unknown_labels(dataset, reading)
        if unknown:
            yield Fault(reading.place, "; ".join(unknown))
            continue
        offered = reading.offered or tuple(dataset.labels)
        schema = schemas.get(offered) or schemas.setdefault(offered, dataset.schema_of(offered))
        records = order_records([_renamed(record, dataset) for record in reading.records], schema)
        unique = tuple(dict.fromkeys(records))
        changes = (*reading.changes, *("repeated record left out" for _ in range(len(records) - len(unique))))
        try:
            example = Example(
                id=f"{dataset.name}/{split}/{number}",
                dataset=dataset.name,
                task=dataset.task,
                split=split,
                text=reading.text,
                schema=schema,
                records=unique,
            )
        except ValidationError as error:
            yield Fault(reading.place, validation_faults(error))
            continue
        yield example, changes


def _unknown_labels(dataset: Dataset, draft: Draft) -> list[str]:
    faults = [
        f"label {show(label)} is not in the catalogue{did_you_mean(label, dataset.labels)}"
        for label in dict.fromkeys((*(draft.offered or ()), *(record.frame for record in draft.records)))
        if label not in dataset.labels
    ]
    for record in draft.records:
        slots = dataset.labels[record.frame].slots if record.frame in dataset.labels else {}
        faults += [
            f"slot {show(filled.slot)} is not in frame {show(record.frame)}{did_you_mean(filled.slot, slots)}"
            for filled in record.slots
            if record.frame in dataset.labels and filled.slot not in slots
        ]
    return faults


def _renamed(record: Record, dataset: Dataset) -> Record:
    """The record in the catalogue's words."""
    label = dataset.labels[record.frame]
    return Record(
        frame=label.name,
        filler=record.filler,
        slots=tuple(
            FilledSlot(slot=label.slots[filled.slot], filler=filled.filler) for filled in record.slots
        ),
    )


def _write_split(path: Path, converted: Iterator[_Converted | Fault], expected: int | None) -> SplitReport:
    examples = with_records = 0
    records: Counter[str] = Counter()
    changes: Counter[str] = Counter()
    faults = []
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for item in converted:
            if isinstance(item, Fault):
                faults.append(str(item))
                continue
            example, example_changes = item
            line = f"{example.to_json()}\n".encode()
            file.write(line)
            digest.update(line)
            examples += 1
            with_records += bool(example.records)
            records.update(record.frame for record in example.records)
            changes.update(example_changes)
    return SplitReport(
        examples=examples,
        expected=expected,
        with_records=with_records,
        records=dict(sorted(records.items())),
        changes=dict(sorted(changes.items())),
        faults=tuple(faults),
        sha256=digest.hexdigest(),
    )
