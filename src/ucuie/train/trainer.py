"""The Hugging Face Trainer with the objective of UC-UIE: L_task + gamma L_bce + beta L_entropy.

A step may be divided into several batches, one after the other or on several processes; its loss is that of
the whole, whatever the division. So is the loss of an evaluation, where the whole is the validation set. Logs
every loss term and, by task, the mean capability gates. Checkpoints are the same whether the weights are
shared out over processes or not. Its arguments come from the configuration, and from defaults.
"""

import os
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from peft import PeftModel
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from transformers.trainer_utils import EvalLoopOutput

from ucuie.errors import ConfigError, did_you_mean, needs
from ucuie.schema import CAPABILITIES
from ucuie.train.config import LossConfig, StageConfig, TrainConfig
from ucuie.train.distributed import is_sharded, shard, shared_state, trained_tensors, whole_state
from ucuie.train.objective import IGNORED, task_loss
from ucuie.train.order import EpochSampler, Key, evaluation_keys
from ucuie.train.packing import PACKED_ATTENTION
from ucuie.train.rows import TrainingSet

CHECKPOINT_STEPS = 200
ROUTING_INPUTS = ("instruction_mask", "capability_labels", "segment_ids")
DEFAULT_ARGUMENTS: dict[str, Any] = {
    # Every forward uses every parameter: experts that are switched off are multiplied by 0.
    "ddp_find_unused_parameters": False,
    "eval_strategy": "epoch",
    "logging_steps": 20,
    "lr_scheduler_type": "cosine",
    "report_to": ["tensorboard"],
    "save_steps": CHECKPOINT_STEPS,
    "save_total_limit": 2,
    "warmup_steps": 0.03,
    # AdamW's decay would move experts that no example of a stage reaches.
    "weight_decay": 0.0,
}
CHECKPOINTING = ("activation_checkpointing", "gradient_checkpointing")
"""Versions of transformers name it differently; later ones know both."""
BITSANDBYTES_OPTIMIZERS = ("adamw_8bit", "adamw_bnb", "ademamix", "lion", "paged_", "rmsprop_bnb")
"""Beginnings of the names of those that the library bitsandbytes has."""


def check_optimizer(config: TrainConfig) -> None:
    """Refuses an optimiser whose library is not installed, before the Trainer does."""
    optimizer = str(config.trainer.get("optim", ""))
    if optimizer.startswith(BITSANDBYTES_OPTIMIZERS):
        needs("bitsandbytes", "quantized")


def divide_step(config: TrainConfig, num_processes: int) -> tuple[int, int]:
    """Rows at a time on one device, and how many times that is done for one step."""
    rows = config.micro_batch_size or config.batch_size // num_processes
    if rows == 0 or config.batch_size % (rows * num_processes):
        at_a_time = "" if config.micro_batch_size is None else f" with {rows} rows at a time"
        raise ConfigError(
            f"{config.batch_size} rows of a step (batch_size) cannot be shared evenly by "
            f"{num_processes} processes{at_a_time}; change batch_size or micro_batch_size"
        )
    return rows, config.batch_size // (rows * num_processes)


def trainer_arguments(
    config: TrainConfig, stage: StageConfig, folder: Path, *, has_validation: bool
) -> TrainingArguments:
    """The Trainer's arguments for a stage of a run, whose checkpoints and logs go into a folder.

    Without validation data nothing is evaluated, whatever `trainer` says, which is for both stages.

    Raises:
        ConfigError: an argument is unknown, impossible, or follows from other keys.
    """
    rows, times = divide_step(config, PartialState().num_processes)
    own: dict[str, Any] = {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": times,
        "output_dir": str(folder),
        "learning_rate": stage.learning_rate,
        "num_train_epochs": stage.epochs,
        "max_steps": stage.max_steps or -1,
        "seed": config.seed,
    }
    if taken := {*own, *CHECKPOINTING} & config.trainer.keys():
        names = ", ".join(sorted(taken))
        raise ConfigError(f"trainer.{names} follows from the configuration's own keys")
    known = set(TrainingArguments.__dataclass_fields__)
    for key in config.trainer:
        if key not in known:
            raise ConfigError(f"trainer.{key} is unknown{did_you_mean(key, sorted(known))}")
    if config.trainer.get("fsdp") or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        raise ConfigError(
            "this package shares out weights itself; set sharding: full (or --sharding full) "
            "in place of trainer.fsdp and of accelerate's own FSDP"
        )
    settings: dict[str, Any] = {
        "per_device_eval_batch_size": rows,
        "remove_unused_columns": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
        # Without this word bf16 is refused on a CPU, where it may be twice as fast.
        "use_cpu": not torch.accelerator.is_available(),
    }
    if config.gradient_checkpointing:
        name = next(name for name in CHECKPOINTING if name in known)
        settings |= {name: True, f"{name}_kwargs": {"use_reentrant": False}}
    unwatched = {} if has_validation else {"eval_strategy": "no"}
    try:
        arguments = TrainingArguments(**(DEFAULT_ARGUMENTS | own | settings | config.trainer | unwatched))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trainer: {error}") from error
    # Of several GPUs one process uses one: DataParallel's threads would share the routing of one forward.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


class UcuieTrainer(Trainer):  # type: ignore[misc]  # transformers is not type-checked
    """Trains an adapted model, or a plain one, on a `TrainingSet`.

    Args:
        gates_are_labels: capability warming: the experts are scaled by the capability labels, while the
            BCE loss goes on training the router towards them.
    """

    def __init__(self, *, loss: LossConfig, gates_are_labels: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        # Every term is divided by what the whole step has of its kind, so nothing is left to scale.
        self.loss_is_scaled_for_ga = True
        self._loss = loss
        self._gates_are_labels = gates_are_labels
        self._totals = torch.ones(3)
        self._terms = _Terms()

    def _get_train_sampler(self, train_dataset: TrainingSet | None = None) -> EpochSampler:
        dataset, arguments = train_dataset or self.train_dataset, self.args
        step = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        return EpochSampler(dataset.questions, batch_size=step, seed=arguments.seed)

    def _get_eval_sampler(self, eval_dataset: TrainingSet) -> list[Key]:
        batch_size = self.args.eval_batch_size * self.args.world_size
        return evaluation_keys(eval_dataset.questions, batch_size=batch_size)

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> Tensor:
        """Labelled tokens of the batches of a step, on all processes; notes its rows and tokens as well."""
        counts = torch.stack([_counts(batch) for batch in batch_samples]).sum(dim=0).to(device)
        self._totals = self.accelerator.reduce(counts, "sum")
        return self._totals[0]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The part of a step's L that a batch makes up.

        `_get_num_items_in_batch` has seen the step. Parts of all processes add up to L; since gradients are
        averaged over processes, each is multiplied by their number.
        """
        loss = self._part(model, inputs) * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss

    def _part(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """The share of a batch in L, noted by terms; of one that does not count it is 0, as its gradients."""
        inputs = dict(inputs)
        counts = _counts(inputs)
        tasks = inputs.pop("tasks", None)
        is_counted = inputs.pop("is_counted", True)
        labels = inputs["capability_labels"]
        num_labelled = self._totals[0]
        if self.model.config._attn_implementation != PACKED_ATTENTION:
            inputs.pop("layout", None)
        is_adapted = isinstance(self.accelerator.unwrap_model(model), PeftModel)
        if not is_adapted:
            inputs = {name: value for name, value in inputs.items() if name not in ROUTING_INPUTS}
        elif self._gates_are_labels:
            inputs = inputs | {"capability_gates": labels}
        loss: Tensor = task_loss(model, inputs) * is_counted / num_labelled
        self._terms.add("loss/task", loss, counts[0] / num_labelled)
        if is_adapted:
            loss = loss + self._auxiliary_loss(model, tasks if is_counted else None, counts)
        return loss

    def _auxiliary_loss(self, model: nn.Module, tasks: list[str] | None, counts: Tensor) -> Tensor:
        """L_bce weighted by rows, L_entropy of the batches of all processes together by tokens."""
        tuner = self.accelerator.unwrap_model(model).base_model
        _, num_rows, num_tokens = self._totals
        tokens_now = self.accelerator.reduce(counts[2].clone(), "sum")
        # Where no process has a batch that counts, the entropy only has to be a number.
        share = torch.nan_to_num(counts[2] / tokens_now, nan=1.0)

        def widen(usage: Tensor) -> Tensor:
            mine = usage * share
            # Others' parts have their gradient where they were computed.
            everyones: Tensor = self.accelerator.reduce(mine.detach().clone(), "sum")
            widened: Tensor = mine + everyones - mine.detach()
            return widened

        auxiliary = tuner.auxiliary_losses(widen=widen)
        bce = auxiliary.bce * counts[1] / num_rows
        entropy = auxiliary.entropy * tokens_now / num_tokens
        # Every process has the value of the whole, but the gradient of its own part.
        entropy = entropy - entropy.detach() * (1 - 1 / self.accelerator.num_processes)
        self._terms.add("loss/bce", bce, counts[1] / num_rows)
        self._terms.add("loss/entropy", entropy, counts[2] / num_tokens)
        if tasks is not None:
            self._note_gates(tuner, tasks)
        combined: Tensor = self._loss.gamma * bce + self._loss.beta * entropy
        return combined

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """L over the rows of a data set, each once, as if they were one step; gives every term as well."""
        self.callback_handler.eval_dataloader = dataloader
        self.model.eval()
        training = self._totals, self._terms
        # Sums, which the terms' own weights make into means of tokens or rows.
        self._totals, self._terms = torch.ones(3, device=self.args.device), _Terms()
        for batch in dataloader:
            with torch.no_grad(), self.compute_loss_context_manager():
                self._part(self.model, self._prepare_inputs(batch))
            self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        terms = self._terms.take()
        self._totals, self._terms = training
        bce, entropy = terms.get("loss/bce", 0.0), terms.get("loss/entropy", 0.0)
        loss = terms["loss/task"] + (self._loss.gamma * bce + self._loss.beta * entropy)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in ({"loss": loss} | terms).items()}
        return EvalLoopOutput(None, None, metrics, len(self.eval_dataset))

    def _note_gates(self, tuner: Any, tasks: list[str]) -> None:
        statistics = tuner.routing_statistics().values()
        gates = [entry.capability_gates for entry in statistics if entry.capability_gates is not None]
        if not gates or gates[0].shape[-1] != len(CAPABILITIES):
            return
        means = torch.stack(gates).float().mean(dim=0)
        for task, row in zip(tasks, means.expand(len(tasks), -1), strict=True):
            for capability, gate in zip(CAPABILITIES, row, strict=True):
                self._terms.add(f"gates/{task}/{capability}", gate, gate.new_ones(()))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the means of the terms since the last log."""
        if "loss" in logs:
            logs |= self._terms.take()
        super().log(logs, start_time)


class ShardingTrainer(UcuieTrainer):
    """Shares the weights out over the processes; see `distributed`."""

    def _move_model_to_device(self, model: nn.Module, device: torch.device) -> None:
        """Leave it where it is: whole weights need not fit on the device."""

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """The optimiser of the parts; a checkpoint's weights have been loaded by now, into whole ones."""
        if not is_sharded(self.model):
            shard(self.model, dtype=torch.bfloat16 if self.args.bf16 else None)
        optimizer: Optimizer = super().create_optimizer(model)
        return optimizer

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the whole model into a checkpoint."""
        self._save(output_dir, state_dict=trained_tensors(self.model))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        state = whole_state(self.optimizer)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        # Mapped, since each process needs a part of it only.
        state = torch.load(folder / OPTIMIZER_NAME, map_location="cpu", mmap=True, weights_only=True)
        self.optimizer.load_state_dict(shared_state(state, self.optimizer))
        self.lr_scheduler.load_state_dict(torch.load(folder / SCHEDULER_NAME, weights_only=True))


class _Terms:
    """Sums of loss terms and of the weights that they had; they stay on their device until they are taken."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor, weight: Tensor) -> None:
        """One more part of a term: `value` has been multiplied by `weight`."""
        pair = torch.stack([value.detach().float(), weight.float()])
        self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def take(self) -> dict[str, float]:
        """The means over all processes, by name; begins anew."""
        totals: dict[str, tuple[float, float]] = {}
        mine = [(name, *pair.tolist()) for name, pair in self._sums.items()]
        for name, value, weight in gather_object(mine):
            before = totals.get(name, (0.0, 0.0))
            totals[name] = (before[0] + value, before[1] + weight)
        self._sums.clear()
        return {name: value / weight for name, (value, weight) in sorted(totals.items())}


def _counts(batch: dict[str, Any]) -> Tensor:
    """Labelled tokens, rows and tokens of a batch that count."""
    labelled = (batch["labels"] != IGNORED).sum().float()
    rows = labelled.new_tensor(len(batch["capability_labels"]))
    if "attention_mask" in batch:
        tokens = batch["attention_mask"].sum().float()
    else:
        tokens = labelled.new_tensor(batch["input_ids"].numel())
    counts: Tensor = torch.stack([labelled, rows, tokens]) * batch.get("is_counted", True)
    return counts
