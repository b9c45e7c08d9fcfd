"""CSV: a row for each filler, with the number of its record; a text without records is one row.

id,text,record,frame,slot,filler,start,end
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TextIO

from ucuie.data.draft import Draft, Fault, checked_span, filler_at
from ucuie.data.readers.items import ReaderOptions, reason_of
from ucuie.schema import Example, FilledSlot, Filler, Record

COLUMNS = ("id", "text", "record", "frame", "slot", "filler", "start", "end")


def read_table(paths: Sequence[Path], options: ReaderOptions) -> Iterator[Draft | Fault]:
    """A draft for each run of rows with the same id; an empty slot means the frame's own filler."""
    for path in paths:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                yield Fault(f"{path.name} line 1", f"the columns {', '.join(missing)} are missing")
                continue
            for identifier, group in groupby(rows, key=lambda row: row["id"]):
                place = f"{path.name} id {identifier}"
                try:
                    yield _draft(place, list(group))
                except (LookupError, TypeError, ValueError) as error:
                    yield Fault(place, reason_of(error))


def _draft(place: str, rows: Sequence[dict[str, str]]) -> Draft:
    text = rows[0]["text"]
    records = []
    for number, group in groupby(rows, key=lambda row: row["record"]):
        if not number:
            continue
        frame, own = "", None
        slots = []
        for row in group:
            frame = row["frame"]
            filler = (
                filler_at(text, checked_span(text, int(row["start"]), row["filler"]))
                if row["start"]
                else None
            )
            if row["slot"]:
                slots.append(FilledSlot(slot=row["slot"], filler=filler))
            else:
                own = filler
        records.append(Record(frame=frame, filler=own, slots=tuple(slots)))
    return Draft(place, text, tuple(records))


class TableWriter:
    """Writes examples as rows of one CSV file."""

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def write(self, example: Example) -> None:
        """Adds the rows of an example."""
        head = (example.id, example.text)
        if not example.records:
            self._rows.writerow((*head, *[""] * (len(COLUMNS) - len(head))))
        for number, record in enumerate(example.records, start=1):
            if record.filler is not None or not record.slots:
                self._rows.writerow((*head, number, record.frame, "", *_cells(record.filler)))
            for filled in record.slots:
                self._rows.writerow((*head, number, record.frame, filled.slot, *_cells(filled.filler)))


def _cells(filler: Filler | None) -> tuple[str, str, str]:
    return ("", "", "") if filler is None else (filler.text, str(filler.start), str(filler.end))
