"""The catalogue: one declarative row for each data set, read from the YAML files in `datasets/`.

A row says what the set is, where it comes from, what may be done with it, how its files are read and
what its labels are called in plain English. Nothing here opens a data file.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, Field, model_validator

from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.schema import TASKS, Frame, Schema, Slot, Split, Task

Setting = Literal["supervised", "low-resource", "zero-shot"]

_SLOTS: Mapping[str, tuple[str, ...]] = {
    "NER": (),
    "RE": ("subject", "object"),
    "EE": (),
    "ABSA": ("aspect", "opinion"),
}


class Label(BaseModel, frozen=True, extra="forbid"):
    """The name of a source's label in the unified data, and its slots (source name: our name)."""

    name: str
    slots: dict[str, str] = Field(default_factory=dict)


class Origin(BaseModel, frozen=True, extra="forbid"):
    """The raw files that make up a split, and how they are read.

    Args:
        paths: below the raw folder, without the suffix of a compression; `archive.tar.gz/member` works.
        reader: a name in `ucuie.data.readers.READERS`.
    """

    paths: tuple[str, ...]
    reader: str
    options: dict[str, Any] = Field(default_factory=dict)


class Partition(BaseModel, frozen=True, extra="forbid"):
    """A seeded split of a set that comes in one piece: sizes of the splits, the rest is left out."""

    seed: int = 0
    sizes: dict[Split, int]


class Dataset(BaseModel, frozen=True, extra="forbid"):
    """A row of the catalogue.

    Args:
        title: what its authors call it.
        language: ISO 639-1 code.
        setting: how the paper uses it; None for sets beyond the paper.
        paper_counts: examples per split in Table 7 of the paper.
        counts: examples per split that converting the files yields.
        counts_note: why `counts` and `paper_counts` differ.
        licence: of the annotation and, where known, the text.
        weights: whether released weights may be trained on it: the licence is open, states nothing
            (allowed, named in the model card), or forbids it.
        sources: per split, or under `all` where the files hold several splits.
        labels: the frames by their source names.
        note: the trap a reader of the results should know.
    """

    name: str
    title: str
    task: Task
    domain: str
    language: str = "en"
    setting: Setting | None = None
    paper_counts: dict[Split, int] = Field(default_factory=dict)
    counts: dict[Split, int] = Field(default_factory=dict)
    counts_note: str = ""
    licence: str
    weights: Literal["open", "unstated", "forbidden"]
    homepage: str
    obtain: str
    sources: dict[Split | Literal["all"], Origin] = Field(default_factory=dict)
    partition: Partition | None = None
    labels: dict[str, Label]
    note: str = ""

    @property
    def schema_of_all(self) -> Schema:
        """All labels of the set, in catalogue order."""
        return self.schema_of(tuple(self.labels))

    def schema_of(self, labels: tuple[str, ...]) -> Schema:
        """The schema of some labels, given by their source names; two of one name are one frame."""
        slots: dict[str, dict[str, None]] = {}
        for source_name in labels:
            label = self.labels[source_name]
            slots.setdefault(label.name, {}).update(dict.fromkeys(label.slots.values()))
        return Schema(
            frames=tuple(
                Frame(name=name, slots=tuple(Slot(name=slot) for slot in slot_names))
                for name, slot_names in slots.items()
            )
        )

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, row: dict[str, Any]) -> dict[str, Any]:
        """Short forms written out: labels as names, reader and options once for all splits."""
        row = dict(row)
        default_slots = {slot: slot for slot in _SLOTS.get(row.get("task", ""), ())}
        labels = row.get("labels", {})
        if isinstance(labels, list):
            labels = {label: natural_name(label) for label in labels}
        row["labels"] = {name: _label(name, value, default_slots) for name, value in labels.items()}
        shared: dict[str, Any] = {key: row.pop(key) for key in ("reader", "options") if key in row}
        if "files" in row:
            row["sources"] = {split: _source(value, shared) for split, value in row.pop("files").items()}
        return row

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.paper_counts and self.counts and self.paper_counts != self.counts and not self.counts_note:
            raise ValueError("counts differ from the paper's without a counts_note")
        if ("all" in self.sources) != (self.partition is not None):
            raise ValueError("files for `all` and a partition belong together")
        return self


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def catalogue() -> Mapping[str, Dataset]:
    """Every data set by name, in the order of the paper's Table 7, then the others."""
    rows = {}
    for task in TASKS:
        document = files(__package__).joinpath("datasets", f"{task.lower()}.yaml").read_text("utf-8")
        for name, row in yaml.load(document, _LOADER).items():  # noqa: S506  it is the safe loader
            rows[name] = Dataset(name=name, task=task, **row)
    return MappingProxyType(rows)


def dataset_named(name: str) -> Dataset:
    """The row of that name.

    Raises:
        ConfigError: the catalogue has no such set; the message names the nearest.
    """
    if name not in catalogue():
        raise ConfigError(f"no data set {show(name)} in the catalogue{did_you_mean(name, catalogue())}")
    return catalogue()[name]


_CAMEL_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\s_/.:-]+")


def natural_name(label: str) -> str:
    """A label as words: "Cause-Effect" gives "cause effect", "birthPlace" "birth place", "DNA" stays."""
    words = _SEPARATORS.sub(" ", _CAMEL_BORDER.sub(" ", label)).split()
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)


def _label(source_name: str, value: Any, default_slots: Mapping[str, str]) -> dict[str, Any]:
    """A label as its name, a list of its slots, or a map of both; slots are a list or a map to our names."""
    if isinstance(value, str):
        value = {"name": value}
    elif isinstance(value, list):
        value = {"slots": value}
    label = {"name": natural_name(source_name), "slots": default_slots, **value}
    if isinstance(label["slots"], list):
        label["slots"] = {slot: natural_name(slot) for slot in label["slots"]}
    return label


def _source(value: Any, shared: Mapping[str, Any]) -> dict[str, Any]:
    """A split's files as a path, a list of paths, or a map that overrides the row's reader or options."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        value = {"paths": value}
    return {**shared, **value, "options": {**shared.get("options", {}), **value.get("options", {})}}
