"""The schema that annotated data has: every label in it, with its slots."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ucuie.data.examples import read_examples
from ucuie.data.own_files import UNIFIED, convert_format
from ucuie.errors import DataError
from ucuie.schema import Example, Frame, Schema, Slot, Task


@dataclass(frozen=True)
class DataSchema:
    """The schema of some data.

    Args:
        schema: every frame that an example offers, the most frequent first.
        num_examples: of the data.
        counts: how many records each frame has.
    """

    schema: Schema
    num_examples: int
    counts: Counter[str]


def schema_of_data(source: Path, *, format_name: str = UNIFIED, task: Task = "NER") -> DataSchema:
    """The schema of a file or folder.

    Args:
        source: annotated data.
        format_name: a name in `FORMATS`, or "unified".
        task: what the annotation of a format is about.

    Raises:
        ConfigError: there is no such format.
        DataError: there is no such file, or nothing in it can be used; of unified data, any line is at fault.
    """
    if format_name == UNIFIED:
        return schema_of_examples(read_examples(source), str(source))
    with TemporaryDirectory() as folder:
        convert_format(format_name, source, Path(folder), task=task)
        return schema_of_examples(read_examples(Path(folder)), str(source))


def schema_of_examples(examples: Iterable[Example], source: str) -> DataSchema:
    """The schema of examples; `source` is what a message calls them.

    Raises:
        DataError: there are none.
    """
    counts: Counter[str] = Counter()
    descriptions: dict[str, str] = {}
    slots: dict[str, dict[str, Slot]] = {}
    num_examples = 0
    for example in examples:
        num_examples += 1
        for frame in example.schema.frames:
            known = slots.setdefault(frame.name, {})
            for slot in frame.slots:
                known.setdefault(slot.name, slot)
            if frame.description is not None:
                descriptions.setdefault(frame.name, frame.description)
        counts.update(record.frame for record in example.records)
    if not slots:
        raise DataError(source, ["there is no annotated text in it"])
    frames = [
        Frame(name=name, description=descriptions.get(name), slots=tuple(slots[name].values()))
        for name in sorted(slots, key=lambda name: -counts[name])
    ]
    return DataSchema(Schema(frames=tuple(frames)), num_examples, counts)
