"""What scoring reads: gold, the predictions that belong to it, coarser names of types."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ucuie.data.draft import Fault
from ucuie.data.examples import HINT, read_examples, scan_examples
from ucuie.data.mixture import dataset_folders, generator_for, sample_examples
from ucuie.data.readers.items import reason_of
from ucuie.data.sources import read_json, read_json_lines
from ucuie.errors import DataError, show, validation_faults
from ucuie.schema import SPLITS, Example, Record, Split

_RECORDS = TypeAdapter(tuple[Record, ...])
_SAMPLING_SEED = 0
_TYPES = TypeAdapter(dict[str, str])


def read_gold(path: Path, *, split: Split = "test", limit: int | None = None) -> list[Example]:
    """The examples to evaluate on.

    Args:
        path: a file, all of it; a folder that `ucuie convert` wrote, of which the split is taken; or a folder
            of such folders.
        split: which one of a folder is taken.
        limit: at most so many examples of each file, drawn evenly by a fixed seed; None takes all.

    Raises:
        DataError: there are no examples, or lines that are not examples; all of those at once.
    """
    folders = dataset_folders(path)
    examples: list[Example] = []
    for folder in folders:
        found = read_examples(folder, split=split if folder.is_dir() else None)
        examples += sample_examples(found, limit, generator_for(_SAMPLING_SEED, folder.name))
    if not examples:
        raise _no_examples(path, folders, split)
    return examples


def _no_examples(path: Path, folders: Sequence[Path], split: Split) -> DataError:
    if path.is_file():
        return DataError(str(path), ["there is no example in it"], HINT)
    others = {item.split for folder in folders for item in scan_examples(folder) if isinstance(item, Example)}
    known = [one for one in SPLITS if one in others]
    hint = f"name another split: {', '.join(known)}" if known else "there are none of another split either"
    return DataError(str(path), [f"there are no examples of the split {split}"], hint)


def read_predictions(path: Path, examples: Sequence[Example]) -> list[tuple[Record, ...]]:
    """The records predicted for each example, from JSON lines with `id` and `records` in any order.

    Raises:
        DataError: lines that are no predictions, come twice, or are not there; all of them at once.
    """
    found: dict[str, tuple[Record, ...]] = {}
    faults = []
    for item in read_json_lines(path):
        if isinstance(item, Fault):
            faults.append(str(item))
            continue
        place, value = item
        try:
            identifier, records = _prediction(value)
        except ValueError as error:
            faults.append(f"{place}   {reason_of(error)}")
        else:
            if identifier in found:
                faults.append(f"{place}   a second prediction for {show(identifier)}")
            found[identifier] = records
    faults += [f"no prediction for {show(one.id)}" for one in examples if one.id not in found]
    if faults:
        raise DataError(str(path), faults, "`ucuie evaluate` writes such a file as predictions.jsonl")
    return [found[example.id] for example in examples]


def read_types(path: Path) -> dict[str, str]:
    """Names and the coarser names they stand under, from a JSON object.

    Raises:
        DataError: the file holds something else.
    """
    value = read_json(path)
    try:
        return _TYPES.validate_python(value, strict=True)
    except ValidationError as error:
        raise DataError(str(path), [validation_faults(error)], "give an object of names") from None


def _prediction(value: Any) -> tuple[str, tuple[Record, ...]]:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str) or "records" not in value:
        raise ValueError('no object with "id" and "records"')
    return value["id"], _RECORDS.validate_python(value["records"])
