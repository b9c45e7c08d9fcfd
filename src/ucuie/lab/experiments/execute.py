"""Runs one job: trains, evaluates, or measures the routing or the cost."""

import shutil
import time
from collections.abc import Mapping
from typing import Any

import torch
from filelock import FileLock

from ucuie.evaluation.evaluate import evaluate
from ucuie.extract.extractor import Extractor
from ucuie.lab.experiments.cost import measure_cost
from ucuie.lab.experiments.routing import measure_routing
from ucuie.lab.experiments.samples import gold, prepare
from ucuie.lab.experiments.trials import Evaluation, Job, Training
from ucuie.lab.experiments.workspace import Workspace
from ucuie.model.folder import LoadedModel, load_model
from ucuie.train.run import run_training


def execute(job: Job, workspace: Workspace) -> Mapping[str, Any]:
    """Does a job and gives what `result.json` is to hold of it.

    Jobs on a model need its training to be finished. An interrupted training starts again.

    Raises:
        Exception: of any class, whatever went wrong.
    """
    with FileLock(workspace.folder / "data.lock"):  # several processes may begin at once
        prepare(workspace, job)
    if isinstance(job, Training):
        return _train(job, workspace)
    if isinstance(job, Evaluation):
        return _evaluate(job, workspace)
    return measure_cost(workspace)


def _train(training: Training, workspace: Workspace) -> dict[str, Any]:
    shutil.rmtree(workspace.folder / training.folder, ignore_errors=True)
    wall, processor = time.perf_counter(), time.process_time()
    model = run_training(workspace.config(training))
    return {
        "trainable_parameters": _trained_parameters(load_model(model, device="cpu")),
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _trained_parameters(loaded: LoadedModel) -> int:
    """Of an adapter all of its own; of a fully trained model all there are."""
    parameters = dict(loaded.model.named_parameters())
    own = [parameter for name, parameter in parameters.items() if "hierarchical_moe_" in name]
    return sum(parameter.numel() for parameter in own or parameters.values())


def _evaluate(evaluation: Evaluation, workspace: Workspace) -> dict[str, Any]:
    loaded = load_model(workspace.model(evaluation.training))
    if evaluation.data == "routing":
        return measure_routing(loaded, gold(workspace.folder, "test"))
    if evaluation.gates is not None:
        loaded.model.base_model.pin_gates(evaluation.gates)
    examples = gold(workspace.folder, evaluation.data)
    report = evaluate(Extractor(loaded), examples, workspace.folder / evaluation.folder)
    return {"examples": report.num_examples, "extraction_seconds": report.seconds}
