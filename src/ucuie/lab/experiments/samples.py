"""The data of an experiment: fixed samples of converted sets, copied once, so that all trials see the same.

In: folders that `ucuie convert` wrote. Out: `data/GROUP/SET/{train,validation,test}.jsonl` in the workspace
and `data/GROUP.json`, which says what was taken and which training texts were left out as leaks.
"""

import json
from collections.abc import Callable, Sequence
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
from ucuie.lab.experiments.trials import ALL, Data, Evaluation, Job, Training
from ucuie.lab.experiments.workspace import Workspace
from ucuie.schema import CAPABILITIES, Example, Split

_SEED = 0
"""Of the samples that all trials share; low-resource samples have the seed of their trial."""
_ZERO_SHOT = "zero-shot"
_Take = Callable[[Path, Path], dict[str, Any]]
"""Takes from a converted set for a new folder, and says what it took."""


def prepare(workspace: Workspace, job: Job) -> None:
    """Make the samples that a job needs, where they are not there yet.

    Raises:
        DataError: sets are missing; says how to make them.
        ConfigError: the workspace has samples of another kind.
    """
    _prepare_training(workspace, ALL, percent=None, seed=_SEED)
    if isinstance(job, Training) and job.percent is not None:
        _prepare_training(workspace, job.samples, percent=job.percent, seed=job.seed)
    if isinstance(job, Evaluation) and job.data == "zero-shot":
        scale = workspace.scale
        request = {"sets": scale.zero_shot_sets, "max_test": scale.max_test, "test_split": scale.test_split}
        _make(workspace, _ZERO_SHOT, request, lambda source, target: _take_test(scale, source, target))


def _prepare_training(workspace: Workspace, group: str, *, percent: int | None, seed: int) -> None:
    """The scale's number of training examples of each set, or a percentage; and texts to test on."""
    scale = workspace.scale
    request = {
        "sets": scale.sets,
        "max_train": scale.max_train,
        "max_test": scale.max_test,
        "max_validation": scale.max_validation,
        "test_split": scale.test_split,
        "percent": percent,
        "seed": seed,
    }
    held_out = [_find(name, workspace.sources) for name in (*scale.sets, *scale.zero_shot_sets)]
    options = MixtureOptions(seed=seed, percent=percent, max_per_dataset=scale.max_train)

    def take(source: Path, target: Path) -> dict[str, Any]:
        mixture = build_mixture([source], held_out=held_out, options=options)
        write_examples(target / "train.jsonl", mixture.examples)
        if (source / "validation.jsonl").exists():
            examples = read_gold(source, split="validation", limit=scale.max_validation)
            write_examples(target / "validation.jsonl", examples)
        return {**mixture.shares[source.name].model_dump(), **_take_test(scale, source, target)}

    _make(workspace, group, request, take)


def _take_test(scale: Scale, source: Path, target: Path) -> dict[str, int]:
    examples = read_gold(source, split=scale.test_split, limit=scale.max_test)
    return {"test": write_examples(target / "test.jsonl", examples)}


def _make(workspace: Workspace, group: str, request: dict[str, Any], take: _Take) -> None:
    """The samples of a group, unless they were made with the same request."""
    path = _record(workspace.folder, group)
    if path.exists():
        if json.loads(path.read_text("utf-8"))["request"] != json.loads(json.dumps(request)):
            raise ConfigError(
                f"{path} was made with other settings of the scale; name another folder with --runs, or "
                f"remove {workspace.folder}"
            )
        return
    taken = {
        name: take(_find(name, workspace.sources), path.parent / group / name) for name in request["sets"]
    }
    write_text(path, json.dumps({"request": request, "shares": taken}, indent=1) + "\n")


def check_sources(scale: Scale, sources: Sequence[Path]) -> None:
    """Look for all sets of a scale before anything is run.

    Raises:
        DataError: names every set that is missing, where to get it and how to convert it.
    """
    faults = []
    for name in dict.fromkeys((*scale.sets, *scale.zero_shot_sets)):
        if any(_is_set(source / name) for source in sources):
            continue
        folder = sources[0] / name
        faults.append(f"{name}: there is no {folder}/train.jsonl or test.jsonl")
        if (known := catalogue().get(name)) is not None:
            faults.append(f"  get it: {known.obtain}")
            faults.append(f"  convert it: ucuie convert {name} --source RAW --output {folder}")
    if faults:
        hint = "--data names a folder of converted sets; repeatable"
        raise DataError(", ".join(map(str, sources)), faults, hint)


def gold(folder: Path, data: Data) -> list[Example]:
    """The examples of a workspace's samples that an evaluation is made on."""
    group = _ZERO_SHOT if data == "zero-shot" else ALL
    split: Split = "validation" if data == "validation" else "test"
    paths = sorted((folder / "data" / group).glob(f"*/{split}.jsonl"))
    examples = [example for path in paths for example in read_gold(path)]
    return list(capability_subset(examples, data)) if data in CAPABILITIES else examples


def shares(folder: Path) -> dict[str, Any]:
    """The share taken from each set that is trained on; empty if nothing is prepared."""
    path = _record(folder, ALL)
    taken: dict[str, Any] = json.loads(path.read_text("utf-8"))["shares"] if path.exists() else {}
    return taken


def _record(folder: Path, group: str) -> Path:
    return folder / "data" / f"{group}.json"


def _find(name: str, sources: Sequence[Path]) -> Path:
    return next((source / name for source in sources if _is_set(source / name)), sources[0] / name)


def _is_set(folder: Path) -> bool:
    return any(folder.glob("*.jsonl"))
