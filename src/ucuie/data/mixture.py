"""Which examples are taken, by a seed: the training mixture, low-resource and zero-shot trials.

A mixture is several converted data sets as one sequence, without any text that is held out. In memory are
numbers: where its examples stand, which are parsed when they are asked for. `generator_for` makes all chance
from (seed, epoch, name), so that a resumed run sees the same examples whatever it has drawn before.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ucuie.config import Config
from ucuie.data.examples import (
    Fingerprints,
    IndexedFile,
    example_files,
    index_file,
    read_examples,
    write_examples,
)
from ucuie.errors import ConfigError
from ucuie.schema import Example, Schema, Split

HELD_OUT_SPLITS: tuple[Split, ...] = ("validation", "test")

_Place = tuple[int, int]
"""(index of the file, number of the example in it)."""


class MixtureOptions(Config):
    """The share of each data set that goes into the mixture.

    Args:
        seed: of the sampling and of the order.
        percent: of the training split of each data set, rounded up, as in low-resource trials; None is all.
        max_per_dataset: examples; None takes all.
        size: examples in all; None is as many as the data sets have under their caps.
        temperature: each data set gives examples in proportion to its size ** (1 / temperature): 1 keeps
            the proportions, more draws small data sets several times and large ones in part.
    """

    seed: int = 0
    percent: float | None = Field(default=None, gt=0, le=100)
    max_per_dataset: int | None = Field(default=10_000, ge=1)
    size: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=1)


class DatasetShare(BaseModel, frozen=True, extra="forbid"):
    """The part of one data set in the mixture, in training examples.

    Args:
        available: in its training split, or in the part of it that `percent` takes.
        leaked: of those, left out because their text is held out.
        leaked_from: how many stand in each held-out split; one may stand in several.
        used: in the mixture, repetitions included.
    """

    available: int
    leaked: int
    leaked_from: dict[str, int] = Field(default_factory=dict)
    used: int


@dataclass(frozen=True, eq=False)
class MixtureExamples(Sequence[Example]):
    """The examples of a mixture; each access parses one.

    A repetition has the number of its repetition in its id, so that chance varies it in its own way. `places`
    (N, 3) are the index of the file, the number in the file and the repetition of each.
    """

    files: tuple[IndexedFile, ...]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "MixtureExamples": ...
    def __getitem__(self, index: int | slice) -> "Example | MixtureExamples":
        if isinstance(index, slice):
            return replace(self, places=self.places[index])
        file, number, repetition = map(int, self.places[index])
        example = self.files[file][number]
        return replace(example, id=f"{example.id}#{repetition + 1}") if repetition else example

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Mixture:
    """Training examples of several data sets in random order, and what each gave."""

    examples: Sequence[Example]
    shares: Mapping[str, DatasetShare]


def build_mixture(
    folders: Sequence[Path], *, held_out: Sequence[Path] = (), options: MixtureOptions | None = None
) -> Mixture:
    """The training examples of converted data sets without any text that is held out.

    Held out are the validation and test texts of the `folders` and of `held_out`, which are further converted
    data sets, or folders of them.

    Raises:
        DataError: a folder holds no unified data, or bad lines.
    """
    options = options or MixtureOptions()
    names = _names(folders)
    guard = held_out_texts([*folders, *(one for folder in held_out for one in dataset_folders(folder))])
    files: list[IndexedFile] = []
    candidates: dict[str, list[_Place]] = {}
    shares = {}
    for name, folder in zip(names, folders, strict=True):
        available = _training_places(folder, files)
        if options.percent is not None:
            available = low_resource(available, options.percent, options.seed)
        texts = np.array([files[file].fingerprints[number] for file, number in available], np.uint64)
        is_leak = np.isin(texts, np.concatenate([np.empty(0, np.uint64), *guard.values()]))
        kept = list(compress(available, ~is_leak))
        generator = generator_for(options.seed, folder.name)
        candidates[name] = sample_examples(kept, options.max_per_dataset, generator)
        shares[name] = DatasetShare(
            available=len(available),
            leaked=len(available) - len(kept),
            leaked_from=count_leaks(texts, guard),
            used=0,
        )
    places = []
    for name, chosen in _drawn(candidates, options).items():
        shares[name] = shares[name].model_copy(update={"used": len(chosen)})
        places += chosen
    generator_for(options.seed, "order").shuffle(places)
    return Mixture(MixtureExamples(tuple(files), np.array(places, np.int64).reshape(-1, 3)), shares)


def dataset_folders(path: Path) -> list[Path]:
    """The converted data sets that a path stands for: itself, or the folders in it that hold unified data.

    Raises:
        DataError: there is none.
    """
    if path.is_dir() and not any(path.glob("*.jsonl")):
        folders = sorted(folder for folder in path.glob("[!.]*/") if any(folder.glob("*.jsonl")))
        if folders:
            return folders
    example_files(path)
    return [path]


def _names(folders: Sequence[Path]) -> list[str]:
    """A name for each folder: its own, or its whole path where two folders have the same."""
    names = [folder.name for folder in folders]
    return [
        name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)
    ]


def held_out_texts(folders: Sequence[Path]) -> dict[str, Fingerprints]:
    """The validation and test texts of converted data sets, by names such as "casie/test"."""
    folders = list(dict.fromkeys(folders))
    splits = {}
    for name, folder in zip(_names(folders), folders, strict=True):
        for split in HELD_OUT_SPLITS:
            if (folder / f"{split}.jsonl").exists():
                index = index_file(folder / f"{split}.jsonl")
                texts = np.delete(index.fingerprints, index.numbers_of("train"))
                splits[f"{name}/{split}"] = np.unique(texts)
    return splits


def count_leaks(texts: Fingerprints, held_out: Mapping[str, Fingerprints]) -> dict[str, int]:
    """Counts the texts that stand in each split, where any does; a text may stand in several."""
    found = {name: int(np.isin(texts, split).sum()) for name, split in held_out.items()}
    return {name: count for name, count in found.items() if count}


def _training_places(folder: Path, files: list[IndexedFile]) -> list[_Place]:
    """The places of the training examples of a data set; its files are added to `files`."""
    places = []
    for path in example_files(folder, split="train"):
        index = index_file(path)
        places += [(len(files), int(number)) for number in index.numbers_of("train")]
        files.append(index)
    return places


def _drawn(
    candidates: Mapping[str, Sequence[_Place]], options: MixtureOptions
) -> dict[str, list[tuple[int, int, int]]]:
    """What each data set gives: file, number and repetition of its examples."""
    sizes = [len(places) for places in candidates.values()]
    total = options.size or sum(sizes)
    counts = shares_of(sizes, total, options.temperature)
    drawn = {}
    for (name, places), count in zip(candidates.items(), counts, strict=True):
        generator = generator_for(options.seed, f"{name}/temperature")
        drawn[name] = [(*place, repetition) for place, repetition in repeated(places, count, generator)]
    return drawn


Item = TypeVar("Item")


def generator_for(seed: int, name: str, epoch: int = 0) -> random.Random:
    """The generator for an example, by its id, or for anything else that has a name."""
    return random.Random(f"{seed}/{epoch}/{name}")


def sample_examples(examples: Iterable[Item], maximum: int | None, generator: random.Random) -> list[Item]:
    """At most `maximum` examples, all equally likely, in their order; never holds more than those."""
    reservoir: list[tuple[int, Item]] = []
    for index, example in enumerate(examples):
        if maximum is None or len(reservoir) < maximum:
            reservoir.append((index, example))
            continue
        place = generator.randrange(index + 1)
        if place < maximum:
            reservoir[place] = (index, example)
    return [example for _, example in sorted(reservoir, key=lambda pair: pair[0])]


def low_resource(examples: Sequence[Item], percent: float, seed: int) -> list[Item]:
    """The first `percent` of the shuffled examples, rounded up, in their original order.

    The order depends on the seed alone, so that the 1 % of a seed are among its 5 %.

    Raises:
        ConfigError: the per cent are not between 0, exclusive, and 100.
    """
    if not 0 < percent <= 100:
        raise ConfigError(f"{percent} % of the examples cannot be taken")
    indices = list(range(len(examples)))
    generator_for(seed, "low-resource").shuffle(indices)
    # Rounded first: 100 * 0.07 / 0.07 is a little more than 100.
    count = math.ceil(round(len(examples) * percent / 100, 6))
    return [examples[index] for index in sorted(indices[:count])]


def shares_of(sizes: Sequence[int], total: int, temperature: float) -> list[int]:
    """Divides `total` examples among data sets, in proportion to size ** (1 / temperature).

    1 keeps the proportions, a high temperature makes the data sets equal. Fractions go to the largest
    remainders, of equal ones to the first.
    """
    weights = [size ** (1 / temperature) if size else 0.0 for size in sizes]
    if not any(weights):
        return [0] * len(sizes)
    exact = [total * weight / sum(weights) for weight in weights]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda index: shares[index] - exact[index])
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares


def repeated(items: Sequence[Item], count: int, generator: random.Random) -> list[tuple[Item, int]]:
    """`count` items, each with the number of its repetition: all as often as they fit, then a sample."""
    rounds, rest = divmod(count, len(items)) if items else (0, 0)
    taken = [(item, repetition) for repetition in range(rounds) for item in items]
    return taken + [(item, rounds) for item in sample_examples(items, rest, generator)]


def zero_shot_folds(examples: Iterable[Example]) -> dict[Schema, list[Example]]:
    """The trials of a zero-shot set, in their order: one for each selection of labels that examples offer.

    FewRel and Wiki-ZSL have five: five unseen relations for each of five seeds.
    """
    folds: dict[Schema, list[Example]] = {}
    for example in examples:
        folds.setdefault(example.schema, []).append(example)
    return folds


def write_low_resource(source: Path, output: Path, *, percent: float, seed: int) -> int:
    """Writes a folder with `low_resource` of a training split and the other splits whole; returns its size.

    Raises:
        ConfigError: the per cent are not between 0, exclusive, and 100.
        DataError: there is no unified data, or it has bad lines.
    """
    chosen = low_resource(list(read_examples(source, split="train")), percent, seed)
    for split in HELD_OUT_SPLITS:
        if source / f"{split}.jsonl" in example_files(source):
            write_examples(output / f"{split}.jsonl", read_examples(source / f"{split}.jsonl"))
    return write_examples(output / "train.jsonl", chosen)


def write_zero_shot_folds(source: Path, output: Path) -> list[int]:
    """Writes `seed-0/test.jsonl`, `seed-1/...`: a folder for each selection of labels; returns their sizes.

    Raises:
        DataError: there is no unified data, or it has bad lines.
    """
    folds = zero_shot_folds(read_examples(source, split="test"))
    return [
        write_examples(output / f"seed-{number}" / "test.jsonl", fold)
        for number, fold in enumerate(folds.values())
    ]
