"""The folder of an experiment's runs: one for each scale and backbone.

    runs/experiments/mini-2f83b4df/
      workspace.json    the backbone, and what equal ranks mean for it
      data/             the samples, see `samples`
      trials/NAME/      model/, model.run/ (losses), result.json, and a folder for each evaluation
      tables/           what pages are made from

A job is finished, crashed or missing: what `result.json` in its folder says, if it was made with the same
settings. Loads torch only to open a new workspace.
"""

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ucuie.errors import ConfigError, UcuieError
from ucuie.files import write_text
from ucuie.lab.experiments.scales import Scale
from ucuie.lab.experiments.trials import Cost, Evaluation, Job, Training
from ucuie.lab.experiments.variants import VARIANTS, laid_over
from ucuie.metrics import Report

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

State = Literal["finished", "crashed", "missing"]
RESULT_FILE = "result.json"
WORKSPACE_FILE = "workspace.json"
PAPER_EPOCHS = 3
"""Of the second stage (Section 4.1)."""
MODEL_FOLDER = "model"


@dataclass(frozen=True)
class Workspace:
    """Runs of one scale on one backbone.

    Args:
        sources: folders with converted sets.
        backbone: a folder or hub id.
        backbone_name: what pages call it.
        ranks: of a LoRA with the rank, or the trainable parameters, of all experts of UC-UIE together.
    """

    folder: Path
    scale: Scale
    sources: tuple[Path, ...]
    backbone: str
    backbone_name: str
    ranks: Mapping[str, int]

    def config(self, training: Training) -> Any:
        """The `TrainConfig` of a training."""
        from ucuie.train.config import TrainConfig

        folders = [self.folder / "data" / training.samples / name for name in self.scale.sets]
        places = {
            "backbone": self.backbone,
            "output": self.model(training),
            "data": {"train": folders, "mixture": {"max_per_dataset": None}},
        }
        return TrainConfig.model_validate({**self._settings(training), **places})

    def _settings(self, training: Training) -> dict[str, Any]:
        """What of a training's configuration is not the default and no path."""
        variant, scale = VARIANTS[training.variant], self.scale
        length: dict[str, int | None] = {"max_steps": scale.multitask_steps}
        if scale.multitask_steps is not None:
            extra = scale.warming_steps or 0 if variant.has_warming_steps else 0
            length = {"max_steps": variant.times_steps * scale.multitask_steps + extra}
        elif variant.times_steps > 1:
            length["epochs"] = variant.times_steps * PAPER_EPOCHS
        rate = {"learning_rate": training.learning_rate}
        stages = {
            "warming": {**rate, "max_steps": scale.warming_steps},
            "multitask": {**rate, **length},
        }
        settings = laid_over(laid_over(scale.settings, stages), variant.settings)
        if variant.match is not None:
            rank = self.ranks[variant.match]
            # The same alpha / r as every expert has.
            settings = laid_over(settings, {"adapter": {"r": rank, "alpha": 2 * rank}})
        return {**settings, "seed": training.seed}

    def model(self, training: Training) -> Path:
        """The folder of a training's model."""
        return self.folder / training.folder / MODEL_FOLDER

    def state(self, job: Job) -> State:
        """The state of a job under these settings: not run, or how it ended."""
        state: State = self._read(job).get("state", "missing")
        return state

    def result(self, job: Job) -> dict[str, Any]:
        """The result of a finished job.

        Raises:
            LookupError: it is not finished.
        """
        result = self._read(job)
        if result.get("state") != "finished":
            raise LookupError(job.folder)
        return result

    def error(self, job: Job) -> str:
        """The last line of why a job crashed; empty if it did not."""
        said: str = self._read(job).get("error", "")
        return said

    def final_loss(self, training: Training) -> float | None:
        """The mean task loss of the last logged steps of a finished training; None if it logged none."""
        run = self.model(training).with_suffix(".run") / "run.json"
        logged = json.loads(run.read_text("utf-8"))["losses"]["multitask"]
        losses: list[float] = [one["loss/task"] for one in logged if "loss/task" in one]
        return losses[-1] if losses else None

    def report(self, evaluation: Evaluation) -> Report:
        """The scores of a finished evaluation.

        Raises:
            LookupError: it is not finished.
        """
        self.result(evaluation)
        path = self.folder / evaluation.folder / "report.json"
        return Report.from_dict(json.loads(path.read_text("utf-8"))["scores"][0])

    def finish(self, job: Job, values: Mapping[str, Any]) -> None:
        """Writes down what a job gave."""
        self._write(job, {"state": "finished", **values})

    def crash(self, job: Job, error: Exception) -> None:
        """Writes down that a job failed, and how."""
        # Our own errors are sentences for users; of others the place is needed.
        lines = [line.strip() for line in str(error).splitlines()]
        if isinstance(error, UcuieError):
            said, told = str(error), ": ".join(lines[:2])  # what is at fault stands under where
        else:
            said, told = "".join(traceback.format_exception(error)), next(iter(lines), "")
        summary = f"{type(error).__name__}: {told}"
        self._write(job, {"state": "crashed", "error": summary, "details": said})

    def _read(self, job: Job) -> dict[str, Any]:
        """What `result.json` holds; nothing if it is not there, or of other settings."""
        try:
            result = json.loads((self.folder / job.folder / RESULT_FILE).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return result if result.get("key") == self._key(job) else {}

    def _write(self, job: Job, values: Mapping[str, Any]) -> None:
        content = {"key": self._key(job), **values}
        path = self.folder / job.folder / RESULT_FILE
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _key(self, job: Job) -> str:
        """A hash of all settings of a job; its folder may have moved."""
        if isinstance(job, Cost):
            parts: Any = self.scale.name
        elif isinstance(job, Training):
            parts = [self._settings(job), job.percent, self.scale.sets, self.scale.max_train]
        else:
            parts = [self._key(job.training), job.folder.name]
        return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def open_workspace(runs: Path, *, scale: Scale, sources: tuple[Path, ...], backbone: str) -> Workspace:
    """The workspace of a scale and a backbone, in the folder of all; made where it is not there yet.

    The backbone is "embedded", a folder or a hub id. The embedded one is copied, for packages change.

    Raises:
        ModelError: there is no such backbone.
        ConfigError: the folder holds something else.
    """
    from ucuie.model.backbone import backbone_fingerprint, save_backbone
    from ucuie.model.folder import EMBEDDED, EMBEDDED_NAME, load_backbone

    loaded = load_backbone(backbone)
    fingerprint = backbone_fingerprint(loaded.model)
    folder = runs / f"{scale.name}-{fingerprint[:8]}"
    path = folder / WORKSPACE_FILE
    if not path.exists():
        source = name = backbone
        if backbone == EMBEDDED:
            source, name = "backbone", EMBEDDED_NAME
            save_backbone(loaded.model, loaded.tokenizer, folder / source)
        elif Path(backbone).is_dir():
            place = Path(backbone).resolve()
            source, name = str(place), place.name
        content = {
            "backbone": source,
            "backbone_name": name,
            "fingerprint": fingerprint,
            "parameters": loaded.model.num_parameters(),
            "ranks": matching_ranks(loaded.model.config, dict(scale.settings.get("adapter", {}))),
        }
        write_text(path, json.dumps(content, indent=1) + "\n")
    content = json.loads(path.read_text("utf-8"))
    if content.get("fingerprint") != fingerprint:
        raise ConfigError(f"{path} is of another backbone; name another folder with --runs")
    own = folder / content["backbone"]
    source = str(own.resolve()) if own.is_dir() else content["backbone"]
    return Workspace(folder, scale, sources, source, content["backbone_name"], content["ranks"])


def matching_ranks(shape: "PreTrainedConfig", adapter: dict[str, Any]) -> dict[str, int]:
    """Ranks of a plain LoRA: `rank`, that of all experts together; `parameters`, the nearest to theirs."""
    from ucuie.adapter import HierarchicalMoeConfig
    from ucuie.lab.bench.timing import trainable_parameters

    total = trainable_parameters(shape, adapter)
    of_one_rank = trainable_parameters(shape, {**adapter, "use_capability_experts": False, "r": 1})
    return {
        "rank": HierarchicalMoeConfig(**adapter).layout().num_ranks,
        "parameters": round(total / of_one_rank),
    }
