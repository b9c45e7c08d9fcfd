"""The data of an experiment: fixed samples of converted sets, copied once, so that all trials see the same.

In: folders that `ucuie convert` wrote. Out: `data/GROUP/SET/{train,validation,test}.jsonl` in the workspace
and `data/GROUP.json`, which says what was taken and which training texts were left out as leaks.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ucuie.data import (
    MixtureOptions,
    build_mixture,
    capability_subset,
    catalogue,
    read_gold,
    write_examples,
)
from ucuie.errors import ConfigError, DataError
from ucuie.files import write_text
from ucuie.lab.experiments.scales import Scale
from ucuie.lab.experiments.trials import Data
from ucuie.schema import CAPABILITIES, Example, Split

_SEED = 0
"""Of the samples that all trials share; low-resource samples have the seed of their trial."""
ALL = "all"
ZERO_SHOT = "zero-shot"


def low_resource_group(percent: int, seed: int) -> str:
    """The name of the group of a low-resource trial."""
    return f"{percent}percent-seed{seed}"


def prepare(
    scale: Scale,
    sources: Sequence[Path],
    folder: Path,
    *,
    percent: int | None = None,
    seed: int = _SEED,
) -> Path:
    """The samples to train and test on; made where they are not there yet.

    Args:
        scale: says of what and how much.
        sources: folders in which the converted sets lie.
        folder: where the workspace keeps its files.
        percent: of each training split instead of the scale's number of examples.
        seed: which low-resource sample is drawn.

    Raises:
        DataError: sets are missing; says how to make them.
        ConfigError: the workspace has samples of another kind.
    """
    group = ALL if percent is None else low_resource_group(percent, seed)
    request = {
        "sets": scale.sets,
        "max_train": scale.max_train,
        "max_test": scale.max_test,
        "max_validation": scale.max_validation,
        "test_split": scale.test_split,
        "percent": percent,
        "seed": seed,
    }
    if _is_there(folder, group, request):
        return folder / "data" / group
    found = [_find(name, sources) for name in scale.sets]
    held_out = [*found, *(_find(name, sources) for name in scale.zero_shot_sets)]
    options = MixtureOptions(seed=seed, percent=percent, max_per_dataset=scale.max_train)
    shares = {}
    for source in found:
        mixture = build_mixture([source], held_out=held_out, options=options)
        target = _new_folder(folder / "data" / group / source.name)
        write_examples(target / "train.jsonl", mixture.examples)
        shares[source.name] = mixture.shares[source.name].model_dump()
        shares[source.name]["test"] = _write(source, target / "test.jsonl", scale.test_split, scale.max_test)
        if (source / "validation.jsonl").exists():
            _write(source, target / "validation.jsonl", "validation", scale.max_validation)
    _record(folder, group, request, shares)
    return folder / "data" / group


def prepare_zero_shot(scale: Scale, sources: Sequence[Path], folder: Path) -> Path:
    """The test samples of sets that are never trained on; made where they are not there yet.

    Raises:
        DataError: sets are missing; says how to make them.
        ConfigError: the workspace has samples of another kind.
    """
    request = {"sets": scale.zero_shot_sets, "max_test": scale.max_test, "test_split": scale.test_split}
    if not _is_there(folder, ZERO_SHOT, request):
        shares = {}
        for name in scale.zero_shot_sets:
            target = _new_folder(folder / "data" / ZERO_SHOT / name)
            source = _find(name, sources)
            count = _write(source, target / "test.jsonl", scale.test_split, scale.max_test)
            shares[name] = {"test": count}
        _record(folder, ZERO_SHOT, request, shares)
    return folder / "data" / ZERO_SHOT


def check_sources(scale: Scale, sources: Sequence[Path]) -> None:
    """Look for all sets of a scale before anything is run.

    Raises:
        DataError: names every set that is missing, where to get it and how to convert it.
    """
    names = dict.fromkeys((*scale.sets, *scale.zero_shot_sets))
    missing = [name for name in names if not any(_is_set(source / name) for source in sources)]
    if missing:
        raise DataError(
            ", ".join(map(str, sources)),
            [fault for name in missing for fault in _missing(name, sources[0])],
            "--data names a folder of converted sets; repeatable",
        )


def gold(folder: Path, data: Data) -> list[Example]:
    """The examples of prepared samples that an evaluation is made on."""
    if data == "zero-shot":
        return list(_read(folder / "data" / ZERO_SHOT, "test"))
    split: Split = "validation" if data == "validation" else "test"
    examples = list(_read(folder / "data" / ALL, split))
    if data in CAPABILITIES:
        return list(capability_subset(examples, data))
    return examples


def shares(folder: Path, group: str = ALL) -> dict[str, Any]:
    """What was taken from each set; empty if nothing is prepared."""
    path = folder / "data" / f"{group}.json"
    taken: dict[str, Any] = json.loads(path.read_text("utf-8"))["shares"] if path.exists() else {}
    return taken


def _read(folder: Path, split: Split) -> Iterator[Example]:
    for path in sorted(folder.glob(f"*/{split}.jsonl")):
        yield from read_gold(path)


def _find(name: str, sources: Sequence[Path]) -> Path:
    return next((source / name for source in sources if _is_set(source / name)), sources[0] / name)


def _is_set(folder: Path) -> bool:
    return any(folder.glob("*.jsonl"))


def _missing(name: str, source: Path) -> list[str]:
    known = catalogue().get(name)
    lines = [f"{name}: there is no {source / name}/train.jsonl or test.jsonl"]
    if known is not None:
        lines.append(f"  get it: {known.obtain}")
        lines.append(f"  convert it: ucuie convert {name} --source RAW --output {source / name}")
    return lines


def _write(source: Path, target: Path, split: Split, limit: int | None) -> int:
    return write_examples(target, read_gold(source, split=split, limit=limit))


def _new_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_there(folder: Path, group: str, request: dict[str, Any]) -> bool:
    path = folder / "data" / f"{group}.json"
    if not path.exists():
        return False
    if json.loads(path.read_text("utf-8"))["request"] != json.loads(json.dumps(request)):
        raise ConfigError(
            f"{path} was made with other settings of the scale; name another folder with --runs, or remove "
            f"{folder}"
        )
    return True


def _record(folder: Path, group: str, request: dict[str, Any], taken: dict[str, Any]) -> None:
    content = {"request": request, "shares": taken}
    write_text(folder / "data" / f"{group}.json", json.dumps(content, indent=1) + "\n")
