"""The Hugging Face Trainer with the objective of UC-UIE: L_task + gamma L_bce + beta L_entropy.

Logs every loss term and, by task, the mean capability gates. Knows nothing of stages or files.
"""

from collections import defaultdict
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import Trainer

from ucuie.schema import CAPABILITIES
from ucuie.train.config import LossConfig
from ucuie.train.objective import IGNORED, task_loss
from ucuie.train.training_set import EpochSampler, TrainingSet

ROUTING_INPUTS = ("instruction_mask", "capability_labels")


class UcuieTrainer(Trainer):  # type: ignore[misc]  # transformers is not type-checked
    """Trains an adapted model, or a plain one, on a `TrainingSet`.

    Args:
        loss: the weights of the loss terms.
        gates_are_labels: capability warming: the experts are scaled by the capability labels, while the
            BCE loss goes on training the router towards them.
        arguments: those of `transformers.Trainer`.
    """

    def __init__(self, *, loss: LossConfig, gates_are_labels: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        # The loss divides by the labelled tokens of all accumulated batches, so nothing is left to scale.
        self.loss_is_scaled_for_ga = True
        self._loss = loss
        self._gates_are_labels = gates_are_labels
        self._terms: dict[str, list[float]] = defaultdict(list)

    def _get_train_sampler(self, train_dataset: TrainingSet | None = None) -> EpochSampler:
        dataset = train_dataset or self.train_dataset
        return EpochSampler(dataset.lengths, batch_size=self.args.train_batch_size, seed=self.args.seed)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """L of a batch. The terms without tokens weigh as much as the batch has of all labelled tokens."""
        num_labelled = (inputs["labels"] != IGNORED).sum()
        num_items = num_labelled if num_items_in_batch is None else num_items_in_batch
        tasks = inputs.pop("tasks", None)
        labels = inputs["capability_labels"]
        is_adapted = isinstance(self.accelerator.unwrap_model(model), PeftModel)
        if not is_adapted:
            inputs = {name: value for name, value in inputs.items() if name not in ROUTING_INPUTS}
        elif self._gates_are_labels:
            inputs = inputs | {"capability_gates": labels}
        loss = task_loss(model, inputs) / num_items
        self._terms["loss/task"].append(loss.item())
        if is_adapted:
            share = num_labelled / num_items
            loss = loss + share * self._auxiliary_loss(model, tasks)
        return (loss, {}) if return_outputs else loss

    def _auxiliary_loss(self, model: nn.Module, tasks: list[str] | None) -> Tensor:
        tuner = self.accelerator.unwrap_model(model).base_model
        auxiliary = tuner.auxiliary_losses()
        self._terms["loss/bce"].append(auxiliary.bce.item())
        self._terms["loss/entropy"].append(auxiliary.entropy.item())
        if tasks is not None:
            self._note_gates(tuner, tasks)
        combined: Tensor = self._loss.gamma * auxiliary.bce + self._loss.beta * auxiliary.entropy
        return combined

    def _note_gates(self, tuner: Any, tasks: list[str]) -> None:
        statistics = tuner.routing_statistics().values()
        gates = [entry.capability_gates for entry in statistics if entry.capability_gates is not None]
        if not gates or gates[0].shape[-1] != len(CAPABILITIES):
            return
        means = torch.stack(gates).float().mean(dim=0)
        for task, row in zip(tasks, means.expand(len(tasks), -1).tolist(), strict=True):
            for capability, gate in zip(CAPABILITIES, row, strict=True):
                self._terms[f"gates/{task}/{capability}"].append(gate)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the means of the terms since the last log."""
        if "loss" in logs or "eval_loss" in logs:
            logs |= {name: sum(values) / len(values) for name, values in sorted(self._terms.items())}
            self._terms.clear()
        super().log(logs, start_time)
