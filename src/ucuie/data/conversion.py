"""From files to a folder of unified data: those of a row of the catalogue, or a user's own.

The folder has a JSONL file for each split and a report of all that was counted. The same files give the
same bytes, whole or not at all. What cannot be converted is a `Fault`: it stops everything (`strict`) or is
left out and stands in the report.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from pydantic import BaseModel, ValidationError

from ucuie.data.catalogue import Dataset, Partition, dataset_named
from ucuie.data.draft import Draft, Fault, Readings
from ucuie.data.examples import HINT, scan_examples
from ucuie.data.formats import format_named
from ucuie.data.formats.annotation_tools import Offsets
from ucuie.data.labels import Converted, examples_of, name_faults
from ucuie.data.readers import checked_options, read_drafts, spacing_of
from ucuie.data.sources import find_source
from ucuie.data.tokens import Spacing
from ucuie.errors import DataError
from ucuie.files import staged_files, write_text
from ucuie.schema import SPLITS, Split, Task

REPORT_NAME = "report.json"


class SplitReport(BaseModel, frozen=True, extra="forbid"):
    """The outcome of one split.

    Args:
        expected: what the catalogue expects; None where it does not say.
        with_records: examples that hold at least one record.
        changes: decisions that altered the source's annotation, with how often.
        faults: what was left out and why.
        sha256: digest of the file that was written.
    """

    examples: int
    expected: int | None
    with_records: int
    records: dict[str, int]
    changes: dict[str, int]
    faults: tuple[str, ...]
    sha256: str


class ConversionReport(BaseModel, frozen=True, extra="forbid"):
    """The outcome of `convert`; `report.json` holds the same.

    Args:
        spacing: how tokens were joined (`ucuie.data.tokens`); None where the source holds running text.
        not_read: what else lies in a user's folder: other folders, hidden files, pages about the data.
    """

    dataset: str
    spacing: Spacing | None
    splits: dict[Split, SplitReport]
    not_read: tuple[str, ...] = ()

    @property
    def is_as_expected(self) -> bool:
        """Every split has as many examples as the catalogue expects."""
        return all(split.expected in (None, split.examples) for split in self.splits.values())


def write_folder(
    dataset: Dataset,
    splits: Iterable[tuple[Split, Iterator[Converted | Fault]]],
    output: Path,
    *,
    spacing: Spacing | None,
    strict: bool,
    not_read: tuple[str, ...] = (),
) -> ConversionReport:
    """Writes the splits of a data set, and `report.json`, in the place of what an earlier conversion wrote.

    With `strict`, a fault stops it and nothing is written; `spacing` and `not_read` are for the report.

    Raises:
        DataError: with `strict`, anything is at fault; or the folder has files that no conversion wrote.
    """
    earlier = _check_output(output)
    with staged_files(output, last=REPORT_NAME) as staging:
        reports = {
            split: _write_split(staging / f"{split}.jsonl", converted, dataset.counts.get(split))
            for split, converted in splits
        }
        faults = [fault for report in reports.values() for fault in report.faults]
        if strict and faults:
            raise DataError(dataset.name, faults, "without `strict` these are left out")
        report = ConversionReport(dataset=dataset.name, spacing=spacing, splits=reports, not_read=not_read)
        write_text(staging / REPORT_NAME, report.model_dump_json(indent=1) + "\n")
    for split in earlier - set(reports):
        (output / f"{split}.jsonl").unlink(missing_ok=True)
    return report


def _check_output(output: Path) -> set[Split]:
    """The splits that an earlier conversion wrote there; a DataError names those that none wrote."""
    there: set[Split] = {split for split in SPLITS if (output / f"{split}.jsonl").exists()}
    try:
        earlier = set(ConversionReport.model_validate_json((output / REPORT_NAME).read_bytes()).splits)
    except (FileNotFoundError, ValidationError):
        earlier = set()
    foreign = [split for split in SPLITS if split in there - earlier]
    if foreign:
        faults = [f"{split}.jsonl is there, and was not written by a conversion" for split in foreign]
        raise DataError(str(output), faults, "choose another folder to write into")
    return earlier


def _write_split(path: Path, converted: Iterator[Converted | Fault], expected: int | None) -> SplitReport:
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


def convert(
    name: str, source: Path, output: Path, *, spacing: Spacing | None = None, strict: bool = False
) -> ConversionReport:
    """Writes `train.jsonl`, `validation.jsonl`, `test.jsonl` and `report.json` of a catalogue row.

    `source` is the folder with its raw files. A `spacing` joins their tokens in another way than the
    catalogue's, which reads naturally: "blank" gives the texts that systems were trained on that joined
    tokens with blanks. Running text stays. With `strict`, a fault stops it, and nothing is written.

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
    _check_sources(dataset, source)
    splits = _splits(dataset, source, spacing)
    return write_folder(dataset, splits, output, spacing=next(filter(None, spacings), None), strict=strict)


def _check_sources(dataset: Dataset, source: Path) -> None:
    """Raise a DataError that names every raw file that is not there, and the folder below that has them."""
    if not source.is_dir():
        raise DataError(
            str(source), ["it is a file" if source.exists() else "there is no such folder"], dataset.obtain
        )
    if faults := _missing(dataset, source):
        below = next((path for path in sorted(source.glob("*/")) if not _missing(dataset, path)), None)
        raise DataError(str(source), faults, f"did you mean {below}?" if below else dataset.obtain)


def _missing(dataset: Dataset, source: Path) -> list[str]:
    """What is said of each raw file that is not in a folder."""
    faults: dict[str, None] = {}
    for path in (path for files in dataset.sources.values() for path in files.paths):
        try:
            find_source(source, path)
        except DataError as error:
            faults |= dict.fromkeys(error.faults)
    return list(faults)


def _splits(
    dataset: Dataset, source: Path, spacing: Spacing | None
) -> Iterator[tuple[Split, Iterator[Converted | Fault]]]:
    for split, files in dataset.sources.items():
        paths = [find_source(source, path) for path in files.paths]
        readings = read_drafts(files.reader, paths, files.options, spacing=spacing)
        if split == "all":
            assert dataset.partition is not None
            parts = _parts(dataset.partition, list(readings))
            yield from ((part, examples_of(dataset, part, chosen)) for part, chosen in parts)
        else:
            yield split, examples_of(dataset, split, readings)


def _parts(
    partition: Partition, readings: list[Draft | Fault]
) -> Iterator[tuple[Split, list[Draft | Fault]]]:
    """A seeded split; within a split the order stays the source's."""
    indices = list(range(len(readings)))
    random.Random(partition.seed).shuffle(indices)
    start = 0
    for split, size in partition.sizes.items():
        chosen = [readings[index] for index in sorted(indices[start : start + size])]
        start += size
        rest = indices[sum(partition.sizes.values()) :] if split == "train" else []
        reason = "left out: more texts than the catalogue's splits have"
        yield split, [*chosen, *(Fault(readings[index].place, reason) for index in sorted(rest))]


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
    offsets: Offsets = "characters",
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
        offsets: what offsets count in doccano, Label Studio and Prodigy, where no copies of the words tell.
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
    given = {"task": task, "spacing": spacing, "offsets": offsets}
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
    """The files, or of brat the folders, of each split, and the names of what else is there."""
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
    """The examples of each split by their own word; a bad line counts in the split of its file."""

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
    """A row whose labels are those that stand in the drafts."""
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
