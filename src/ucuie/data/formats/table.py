"""CSV: a row for each filler, with the number of its record; a text without records is one row.

id,text,record,frame,slot,filler,start,end
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ucuie.data.draft import Draft, Fault, Readings, checked_span, filler_at
from ucuie.data.readers.items import ReaderOptions, reason_of
from ucuie.errors import show
from ucuie.files import utf16_fault
from ucuie.schema import Example, FilledSlot, Filler, Record

COLUMNS = ("id", "text", "record", "frame", "slot", "filler", "start", "end")
_WHOLE = re.compile(r"([0-9]+)(?:\.0*)?")
_MAX_CELL = 2**31 - 1
"""Characters; Python's own limit of 131,072 is less than some documents have."""


class _Row(NamedTuple):
    place: str
    cells: dict[str, str]


def read_table(paths: Sequence[Path], options: ReaderOptions) -> Readings:
    """A draft for each run of rows with the same id; an empty slot means the frame's own filler."""
    for path in paths:
        for key, group in groupby(
            _rows(path), key=lambda row: row if isinstance(row, Fault) else row.cells["id"]
        ):
            if isinstance(key, Fault):
                yield key
            else:
                yield _draft([row for row in group if isinstance(row, _Row)])


def _rows(path: Path) -> Iterator[_Row | Fault]:
    """The rows of a file; a quote that is never closed is one fault up to the end of the file."""
    limit = csv.field_size_limit(_MAX_CELL)
    try:
        with path.open("rb") as raw:
            if fault := utf16_fault(raw.read(8)):
                yield Fault(path.name, fault)
                return
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            separator = max(",;\t", key=file.readline().count)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            header: list[str] = []
            while True:
                first = reader.line_num + 1
                place = f"{path.name} line {first}"
                try:
                    cells = next(reader)
                except StopIteration:
                    break
                except csv.Error as error:
                    if first != reader.line_num:
                        place = f"{path.name} lines {first} to {reader.line_num}"
                    yield Fault(place, f"not CSV: {error}")
                    continue
                if not header:
                    header = cells
                    missing = [column for column in COLUMNS if column not in header]
                    if missing:
                        yield Fault(place, f"the columns {', '.join(missing)} are missing")
                        return
                elif cells and len(cells) != len(header):
                    yield Fault(place, f"{len(cells)} cells under {len(header)} columns")
                elif cells:
                    yield _Row(place, dict(zip(header, cells, strict=True)))
    finally:
        csv.field_size_limit(limit)


def _draft(rows: Sequence[_Row]) -> Draft | Fault:
    text = rows[0].cells["text"]
    records: dict[str, tuple[str, Filler | None, list[FilledSlot]]] = {}
    for row in rows:
        try:
            _add(row.cells, text, records)
        except (LookupError, ValueError) as error:
            return Fault(row.place, reason_of(error))
    return Draft(
        rows[0].place,
        text,
        tuple(Record(frame=frame, filler=own, slots=tuple(slots)) for frame, own, slots in records.values()),
    )


def _add(
    cells: dict[str, str], text: str, records: dict[str, tuple[str, Filler | None, list[FilledSlot]]]
) -> None:
    """Adds what a row says to the record of its number.

    Raises:
        ValueError: the row contradicts the text or the rows before it.
    """
    if cells["text"] != text:
        raise ValueError(f"the text {show(cells['text'])} is another one than in the first row of its id")
    if not cells["record"]:
        if any(cells[column] for column in COLUMNS[3:]):
            raise ValueError("a frame, slot or filler stands there without the number of its record")
        return
    frame, own, slots = records.get(cells["record"], (cells["frame"], None, []))
    if cells["frame"] != frame:
        raise ValueError(f"record {cells['record']} is {show(frame)} and {show(cells['frame'])}")
    filler = _filler(cells, text)
    if cells["slot"]:
        slots.append(FilledSlot(slot=cells["slot"], filler=filler))
    elif own is not None:
        raise ValueError(f"record {cells['record']} has a second filler of its own")
    else:
        own = filler
    records[cells["record"]] = frame, own, slots


def _filler(cells: dict[str, str], text: str) -> Filler | None:
    if not cells["start"]:
        if cells["filler"]:
            raise ValueError(f"{show(cells['filler'])} has no start")
        return None
    span = checked_span(text, _offset(cells["start"]), cells["filler"])
    if cells["end"] and _offset(cells["end"]) != span[1]:
        raise ValueError(f"{show(cells['filler'])} ends at {span[1]}, not at {cells['end']}")
    return filler_at(text, span)


def _offset(cell: str) -> int:
    """A whole number, which pandas writes as 3.0 where cells of the column are empty."""
    whole = _WHOLE.fullmatch(cell)
    if whole is None:
        raise ValueError(f"{show(cell)} is no offset, which is a whole number")
    return int(whole[1])


def write_table(examples: Iterable[Example], path: Path) -> Iterator[list[str]]:
    """Writes examples as rows of one CSV file, which loses nothing but an id equal to the one before it."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        plain = csv.writer(file, lineterminator="\n")
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        plain.writerow(COLUMNS)
        before = None
        for number, example in enumerate(examples, start=1):
            is_repeated = example.id == before
            before = f"{example.id} ({number})" if is_repeated else example.id
            head = (before, example.text)
            # Before Python 3.11.9 a carriage return alone was not quoted.
            names = (name for frame in example.schema.frames for name in (frame.name, *frame.slot_names))
            rows = quoted if any("\r" in cell for cell in (*head, *names)) else plain
            if not example.records:
                rows.writerow((*head, *[""] * (len(COLUMNS) - len(head))))
            for index, record in enumerate(example.records, start=1):
                if record.filler is not None or not record.slots:
                    rows.writerow((*head, index, record.frame, "", *_cells(record.filler)))
                for filled in record.slots:
                    rows.writerow((*head, index, record.frame, filled.slot, *_cells(filled.filler)))
            yield ["id equal to the one before"] * is_repeated


def _cells(filler: Filler | None) -> tuple[str, str, str]:
    return ("", "", "") if filler is None else (filler.text, str(filler.start), str(filler.end))
