"""The model card, `README.md`: what a model folder says, in words and in the metadata that hubs read.

Everything in it comes from the folder; what the folder does not say is left out.
"""

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ucuie.errors import ModelError
from ucuie.model.calibration import Calibration
from ucuie.model.info import BACKBONE_FOLDER, CARD_FILE, INFO_FILE, ModelInfo, read_calibration
from ucuie.model.source import is_hub_id
from ucuie.templates import load_template

_TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
_TAGS = ("information-extraction", "named-entity-recognition", "relation-extraction", "event-extraction")
_METADATA = ("license", "language")
"""Keys of `ModelInfo.training` whose values are in the words of a hub's metadata."""
_OF_A_RUN = ("config", "versions", "data", "processes")
"""Keys that `ucuie train` writes there; with others around them, they are below "adapter"."""
_DATASET = re.compile(r"([\w.-]+/)?[\w.-]+")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_SHARES = ("used", "available", "leaked")
_Score = tuple[str, str, str, float]
"""Scorer, data set, row (empty where there is none), and the number."""


def write_info(
    folder: Path,
    info: ModelInfo,
    *,
    name: str,
    calibration: Calibration | None = None,
    card: str | None = None,
) -> None:
    """Writes `ucuie.json` and the card of a model of that name into a folder.

    A `card` is kept, as `own_card` gives it; None makes one, which tells of the calibration.
    """
    (folder / INFO_FILE).write_text(info.to_json(), "utf-8")
    (folder / CARD_FILE).write_text(card or model_card(name, info, calibration), "utf-8")


def own_card(folder: Path, info: ModelInfo) -> str | None:
    """The card of a folder if a person wrote or edited it; None if it is as it was made, or not there."""
    try:
        text = (folder / CARD_FILE).read_text("utf-8")
    except FileNotFoundError:
        return None
    try:
        calibration = read_calibration(folder, info)
    except ModelError:  # it is about to be replaced
        calibration = None
    title = _TITLE.search(text)
    name = title[1] if title else ""
    return None if text in {model_card(name, info, one) for one in (None, calibration)} else text


def model_card(
    name: str,
    info: ModelInfo,
    calibration: Calibration | None = None,
    *,
    license: str | None = None,  # noqa: A002  the name that hubs have for it
    languages: Sequence[str] = (),
) -> str:
    """The card in Markdown, with the metadata that hubs read on top.

    The name is what the model's users call it: a hub id, or a folder. License and languages are in the words
    of hubs; where they are not given, they are what the folder says.
    """
    training = dict(info.training)
    run = training if "config" in training else training.pop("adapter", {})
    shares = run.get("data", {}) if isinstance(run, Mapping) else {}
    shares = {dataset: share for dataset, share in shares.items() if isinstance(share, Mapping)}
    said = {"license": license, "language": list(languages) or None}
    said = {key: said[key] or training.get(key) for key in _METADATA}
    notes = {key: value for key, value in training.items() if key not in (*_METADATA, *_OF_A_RUN)}
    limits = {key: notes.pop(key) for key in list(notes) if key.startswith("limits")}
    scores = list(_scores(info.scores))
    metadata = {
        "library_name": "ucuie",
        "pipeline_tag": "token-classification",
        **said,
        "base_model": info.backbone if is_hub_id(info.backbone) else None,
        "datasets": [dataset for dataset in shares if _DATASET.fullmatch(dataset)],
        "tags": list(_TAGS),
        "model-index": [{"name": name, "results": _results(scores)}] if scores else None,
    }
    given = {key: value for key, value in metadata.items() if value}
    return load_template(_TEMPLATE).render(
        metadata=yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=1000),
        name=name,
        quoted=json.dumps(name, ensure_ascii=False),
        argument=shlex.quote(name),
        info=info,
        is_whole=info.backbone == BACKBONE_FOLDER,
        notes="\n".join(_listed(notes)),
        limits=[_line(value) for value in limits.values()],
        shares=[
            [_cell(dataset), *(_said(share.get(key, "")) for key in _SHARES)]
            for dataset, share in shares.items()
        ],
        versions=run.get("versions", {}) if isinstance(run, Mapping) else {},
        calibration=calibration,
        scorers=list(dict.fromkeys(scorer for scorer, *_ in scores)),
        scores=_score_rows(scores),
    ).rstrip("\n") + "\n"  # fmt: skip


def _scores(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[_Score]:
    """The numbers of nested mappings: scorer, then data set and row as two keys or as "data set, row"."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _scores(value, (*path, str(key)))
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            names = (*path[1:], *str(key).rsplit(", ", 1)) if path else (str(key),)
            row = names[-1] if len(names) > 1 else ""
            dataset = ", ".join(names[:-1] or names)
            yield path[0] if path else "score", dataset, row, value


def _results(scores: Sequence[_Score]) -> list[dict[str, Any]]:
    """The scores as a hub's `model-index` has them."""
    results: dict[tuple[str, str], dict[str, Any]] = {}
    for scorer, dataset, row, value in scores:
        task = {"type": "token-classification"} | ({"name": row} if row else {})
        empty = {"task": task, "dataset": {"name": dataset, "type": dataset}, "metrics": []}
        kind = "f1" if scorer.startswith("F1") else scorer
        metrics = results.setdefault((dataset, row), empty)["metrics"]
        metrics.append({"type": kind, "name": scorer, "value": value})
    return list(results.values())


def _score_rows(scores: Sequence[_Score]) -> list[list[str]]:
    scorers = list(dict.fromkeys(scorer for scorer, *_ in scores))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for scorer, dataset, row, value in scores:
        rows.setdefault((dataset, row), {})[scorer] = _said(value)
    return [
        [_cell(dataset), _cell(row), *(numbers.get(scorer, "") for scorer in scorers)]
        for (dataset, row), numbers in rows.items()
    ]


def _listed(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Nested mappings as nested lists of Markdown."""
    for key, value in values.items():
        item = f"{indent}- {_line(key).replace('_', ' ')}:"
        if isinstance(value, Mapping):
            yield item
            yield from _listed(value, indent + "  ")
        else:
            listed = value if isinstance(value, list | tuple) else [value]
            yield f"{item} {', '.join(map(_said, listed))}"


def _said(value: Any) -> str:
    if isinstance(value, float) and abs(value) >= 1:
        return str(round(value, 2))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _line(value)


def _line(value: Any) -> str:
    """Words of a folder, which must not become headings of the card."""
    return " ".join(str(value).split())


def _cell(value: Any) -> str:
    return _line(value).replace("|", "\\|")
