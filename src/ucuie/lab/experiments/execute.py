"""Runs one job: trains, evaluates, or measures the routing or the cost."""

import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from ucuie.engine.explanation import route_row
from ucuie.evaluation.evaluate import evaluate
from ucuie.extract.extractor import Extractor
from ucuie.lab.experiments.cost import measure_cost
from ucuie.lab.experiments.samples import gold, prepare
from ucuie.lab.experiments.trials import Evaluation, Job, Training
from ucuie.lab.experiments.workspace import Workspace
from ucuie.language.encode import PromptEncoder
from ucuie.model.folder import LoadedModel, load_model
from ucuie.schema import Example
from ucuie.schema.capabilities import capability_labels
from ucuie.train.run import run_training

EXAMPLES_OF_A_TASK = 40
SHOWN_OF_A_TASK = 2
_DECIMALS = 4


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
        return _routing(loaded, gold(workspace.folder, "test"))
    if evaluation.gates is not None:
        loaded.model.base_model.pin_gates(evaluation.gates)
    examples = gold(workspace.folder, evaluation.data)
    report = evaluate(Extractor(loaded), examples, workspace.folder / evaluation.folder)
    return {"examples": report.num_examples, "extraction_seconds": report.seconds}


def _routing(loaded: LoadedModel, examples: Sequence[Example]) -> dict[str, Any]:
    """Means over the tokens of the first examples of each task, and single tokens of some of them.

    Returns:
        `linears`, their names; `capabilities`; `tasks`: for each the `gates` (linears, C), `weights`
        (linears, C, Q) and `examples` with their `tokens` and `weights` (tokens, C, Q), means over linears.

    Raises:
        ValueError: the model has no capability experts.
    """
    encoder = PromptEncoder(loaded.tokenizer, pool=loaded.pool)
    by_task: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if len(by_task[example.task]) < EXAMPLES_OF_A_TASK:
            by_task[example.task].append(example)
    tasks = {}
    names: list[str] = []
    for task, chosen in by_task.items():
        gates, weights, num_tokens = [], [], 0
        shown: list[dict[str, Any]] = []
        for example in chosen:
            encoded = encoder.encode_example(example)
            answered = [*encoded.text_ids, *encoded.target_ids]
            labels = capability_labels(example.task)
            names, of_example, by_token = route_row(loaded.model, encoded.instruction_ids, answered, labels)
            gates.append(of_example)
            by_token = by_token[:, -len(answered) :]
            weights.append(by_token.sum(dim=1))
            num_tokens += len(answered)
            if len(shown) < SHOWN_OF_A_TASK:
                texts = [loaded.tokenizer.decode([token]) for token in answered]
                shown.append({"tokens": texts, "weights": _plain(by_token.mean(dim=0))})
        tasks[task] = {
            "gates": _plain(torch.stack(gates).mean(dim=0)),
            "weights": _plain(torch.stack(weights).sum(dim=0) / num_tokens),
            "examples": shown,
        }
    return {"linears": names, "capabilities": list(loaded.model.base_model.capability_names), "tasks": tasks}


def _plain(values: Tensor) -> Any:
    return (values * 10**_DECIMALS).round().div(10**_DECIMALS).tolist()
