"""Drafts with the labels of their source become examples in the words of a data set's row.

In: what a reader yields. Out: examples with id, schema and the changes that were made, or a `Fault`. What the
files were is not known here.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from pydantic import ValidationError

from ucuie.data.catalogue import Dataset
from ucuie.data.draft import Draft, Fault
from ucuie.data.sources import encoding_fault
from ucuie.errors import did_you_mean, show, validation_faults
from ucuie.language.linearize import order_records
from ucuie.schema import Example, FilledSlot, Record, Schema, Slot, Split

Converted = tuple[Example, tuple[str, ...]]
"""An example, and a sentence for each decision that altered the source's annotation."""


def examples_of(
    dataset: Dataset, split: Split, readings: Iterable[Draft | Fault]
) -> Iterator[Converted | Fault]:
    """The example of each draft; the id counts what the split holds, faults included."""
    schemas: dict[tuple[str, ...], Schema] = {}
    for number, reading in enumerate(readings, start=1):
        if isinstance(reading, Fault):
            yield reading
            continue
        not_utf8 = encoding_fault(reading.text)
        unusable = [not_utf8] if not_utf8 else name_faults(reading) or _unknown_labels(dataset, reading)
        if unusable:
            yield Fault(reading.place, "; ".join(unusable))
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


def name_faults(draft: Draft) -> list[str]:
    """Why labels of a draft cannot be names of frames and slots."""
    names = dict.fromkeys(draft.offered or ())
    for record in draft.records:
        names[record.frame] = None
        names.update((filled.slot, None) for filled in record.slots)
    return [fault for fault in map(_name_fault, names) if fault]


@lru_cache(maxsize=4096)
def _name_fault(name: str) -> str | None:
    try:
        Slot(name=name)
    except ValidationError as error:
        return f"label {show(name)}: {encoding_fault(name) or validation_faults(error)}"
    return None


def _unknown_labels(dataset: Dataset, draft: Draft) -> list[str]:
    faults = [
        f"label {show(label)} is not in the catalogue{did_you_mean(label, dataset.labels)}"
        for label in dict.fromkeys((*(draft.offered or ()), *(record.frame for record in draft.records)))
        if label not in dataset.labels
    ]
    if draft.offered is not None:
        strange = dict.fromkeys(one.frame for one in draft.records if one.frame not in draft.offered)
        faults += [
            f"label {show(label)} is not among those that the text was annotated for" for label in strange
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
