"""The folder of a converted data set: a file for each split, and a report of all that was counted on the way.

In: examples as they come, with faults between them. The same examples give the same bytes. Files appear whole
or not at all: each is written beside its place and renamed. Where the examples are from is not known here.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ucuie.data.catalogue import Dataset
from ucuie.data.draft import Fault
from ucuie.data.labels import Converted
from ucuie.data.tokens import Spacing
from ucuie.errors import DataError
from ucuie.files import staged_files, write_text
from ucuie.schema import SPLITS, Split

REPORT_NAME = "report.json"


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
        not_read: what else lies in a user's folder: other folders, hidden files, pages about the data.
    """

    dataset: str
    spacing: Spacing | None
    splits: dict[Split, SplitReport]
    not_read: tuple[str, ...] = ()

    @property
    def is_as_expected(self) -> bool:
        """Whether every split has as many examples as the catalogue expects."""
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

    Args:
        dataset: their name, and how many examples are expected.
        splits: what there is of each.
        output: folder to write into.
        spacing: for the report.
        strict: a fault stops the conversion, and nothing is written.
        not_read: for the report.

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
    """The splits that an earlier conversion wrote there.

    Raises:
        DataError: there are split files that no conversion wrote.
    """
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
