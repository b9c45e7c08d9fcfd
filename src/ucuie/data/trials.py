"""Folders of the trials that protocols ask for: parts of a training split, selections of unseen labels."""

from pathlib import Path

from ucuie.data.examples import example_files, read_examples, write_examples
from ucuie.data.sampling import low_resource, zero_shot_folds
from ucuie.errors import ConfigError


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
