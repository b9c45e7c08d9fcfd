"""The training mixture: several converted data sets as one sequence, without any text that is held out.

What is in memory are numbers: where the examples of the mixture stand. The examples themselves are parsed
from their files when they are asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ucuie.data.examples import example_files
from ucuie.data.index import IndexedFile, index_file
from ucuie.data.leaks import HeldOut
from ucuie.data.sampling import generator_for, low_resource, repeated, sample_examples, shares_of
from ucuie.schema import Example, Split

HELD_OUT_SPLITS: tuple[Split, ...] = ("validation", "test")

_Place = tuple[int, int]
"""(index of the file, number of the example in it)."""


class MixtureOptions(BaseModel):
    """What of each data set goes into the mixture.

    Args:
        seed: of the sampling and of the order.
        percent: of the training split of each data set, rounded up, as in low-resource trials; None is all.
        max_per_dataset: examples; None takes all.
        size: examples in all; None is as many as the data sets have under their caps.
        temperature: each data set gives examples in proportion to its size ** (1 / temperature): 1 keeps
            the proportions, more draws small data sets several times and large ones in part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    percent: float | None = Field(default=None, gt=0, le=100)
    max_per_dataset: int | None = Field(default=10_000, ge=1)
    size: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=1)


class DatasetShare(BaseModel):
    """What one data set gave to the mixture, in training examples.

    Args:
        available: in its training split, or in the part of it that `percent` takes.
        leaked: of those, left out because their text is held out.
        leaked_from: how many stand in each held-out split; one may stand in several.
        used: in the mixture, repetitions included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    available: int
    leaked: int
    leaked_from: dict[str, int] = Field(default_factory=dict)
    used: int


@dataclass(frozen=True, eq=False)
class MixtureExamples(Sequence[Example]):
    """The examples of a mixture; each access parses one.

    A repetition has the number of its repetition in its id, so that chance varies it in its own way.

    Args:
        files: where the examples stand.
        places: index of the file, number in the file and repetition of each, (N, 3).
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

    Args:
        folders: converted data sets to train on; their own validation and test texts are held out too.
        held_out: further converted data sets, or folders of them, whose validation and test texts must not
            be trained on.
        options: caps, shares and seed.

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
        kept = [place for place, is_leak in zip(available, guard.mask(texts), strict=True) if not is_leak]
        generator = generator_for(options.seed, folder.name)
        candidates[name] = sample_examples(kept, options.max_per_dataset, generator)
        shares[name] = DatasetShare(
            available=len(available),
            leaked=len(available) - len(kept),
            leaked_from=guard.counts(texts),
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


def held_out_texts(folders: Sequence[Path]) -> HeldOut:
    """The validation and test texts of converted data sets.

    Raises:
        DataError: a folder has bad lines.
    """
    folders = list(dict.fromkeys(folders))
    splits = {}
    for name, folder in zip(_names(folders), folders, strict=True):
        for split in HELD_OUT_SPLITS:
            if (folder / f"{split}.jsonl").exists():
                index = index_file(folder / f"{split}.jsonl")
                is_held_out = ~np.isin(np.arange(len(index)), index.numbers_of("train"))
                splits[f"{name}/{split}"] = np.unique(index.fingerprints[is_held_out])
    return HeldOut(splits)


def _training_places(folder: Path, files: list[IndexedFile]) -> list[_Place]:
    """Where the training examples of a data set stand; its files are added to `files`."""
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
