"""What protocols need around the scorer: folders of trials, predictions beside the gold they belong to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ucuie.data.draft import Fault
from ucuie.data.examples import example_files, read_examples, validation_faults, write_examples
from ucuie.data.sampling import low_resource, zero_shot_folds
from ucuie.data.sources import read_json, read_json_lines
from ucuie.errors import ConfigError, DataError, show
from ucuie.schema import Example, Record

_RECORDS = TypeAdapter(tuple[Record, ...])
_TYPES = TypeAdapter(dict[str, str])


def write_low_resource(source: Path, output: Path, *, percent: float, seed: int) -> int:
    """Writes a folder with a part of a training split and the other splits whole; returns the part's size.

    Args:
        source: a converted data set.
        output: folder to write into.
        percent: of the shuffled training split, rounded up.
        seed: of the shuffling.

    Raises:
        ConfigError: the per cent are not between 0, exclusive, and 100.
        DataError: there is no unified data, or it has bad lines.
    """
    try:
        chosen = low_resource(list(read_examples(source, split="train")), percent, seed)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    output.mkdir(parents=True, exist_ok=True)
    for split in ("validation", "test"):
        if source / f"{split}.jsonl" in example_files(source):
            write_examples(output / f"{split}.jsonl", read_examples(source / f"{split}.jsonl"))
    return write_examples(output / "train.jsonl", chosen)


def write_zero_shot_folds(source: Path, output: Path) -> list[int]:
    """Writes `seed-0/test.jsonl`, `seed-1/...`: a folder for each selection of labels; returns their sizes.

    Raises:
        DataError: there is no unified data, or it has bad lines.
    """
    sizes = []
    for number, fold in enumerate(zero_shot_folds(read_examples(source, split="test"))):
        folder = output / f"seed-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        sizes.append(write_examples(folder / "test.jsonl", fold.examples))
    return sizes


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
        except ValidationError as error:
            faults.append(f"{place}   {validation_faults(error)}")
        except ValueError as error:
            faults.append(f"{place}   {error}")
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
