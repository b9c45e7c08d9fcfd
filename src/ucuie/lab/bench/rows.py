"""What is saved where texts share an instruction: steps of a training run, in shared rows and in rows apart.

In: the configuration of a run, whose backbone and data are read. Out: texts per second of forward and
backward of the same texts, once as the run packs them and once each behind an instruction of its own.
"""

from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import torch

from ucuie.lab.bench.options import RowsOptions
from ucuie.lab.bench.timing import interleaved, settings_of, threads, timed
from ucuie.lab.bench.variants import bench_device
from ucuie.language.pool import InstructionPool
from ucuie.model.backbone import without_adapter
from ucuie.model.folder import load_backbone
from ucuie.train.config import TrainConfig
from ucuie.train.objective import task_loss
from ucuie.train.order import Indices
from ucuie.train.packing import pack, packed_attention
from ucuie.train.rows import TrainingSet, read_training_data
from ucuie.train.run import Stages, adapted


def bench_rows(config: TrainConfig, options: RowsOptions) -> dict[str, Any]:
    """Time the first steps of a run, with its texts in shared rows and in rows apart, which take turns.

    Nothing is written.

    Returns:
        `shared_over_apart`, the ratio of texts per second; `..._texts_per_second` and `..._tokens` of both;
        `seconds`; `settings`.

    Raises:
        ConfigError, DataError, ModelError: what the run would be refused for.
    """
    where = bench_device(options.device)
    backbone = load_backbone(config.backbone, device=where, weights=config.backbone_weights)
    stages = Stages(config, Path(), backbone, InstructionPool.load(config.instruction_pool))
    rows = stages.training_set(read_training_data(config).train)
    model = adapted(backbone.model, config.adapter).train()
    generator = Random(config.seed)
    chosen = rows.questions.rows(generator)
    generator.shuffle(chosen)
    shared = chosen[: options.steps * config.batch_size]
    apart: list[Indices] = [(index,) for row in shared for index in row]
    per_step = len(apart) // options.steps
    batches = {
        "shared": _batches(rows, shared, config.batch_size, where),
        "apart": _batches(rows, apart, max(per_step, 1), where),
    }
    with threads(options.num_threads), packed_attention(without_adapter(model), shares_instructions=True):
        work = {name: timed(_Work(model, parts, config), where) for name, parts in batches.items()}
        seconds = interleaved(work, repeats=options.repeats)
    tokens = {name: sum(part["input_ids"].numel() for part in parts) for name, parts in batches.items()}
    return {
        "settings": {
            **settings_of(options, "repeats", device=where),
            "texts": len(apart),
            "rows": len(shared),
            "texts_per_row": config.texts_per_row,
            "threads": options.num_threads,
        },
        "seconds": seconds,
        "shared_over_apart": seconds["apart"] / seconds["shared"],
        **{f"{name}_texts_per_second": len(apart) / seconds[name] for name in batches},
        **{f"{name}_tokens": count for name, count in tokens.items()},
    }


def _batches(
    rows: TrainingSet, chosen: list[Indices], size: int, device: torch.device
) -> list[dict[str, Any]]:
    remaining = iter([rows[0, row] for row in chosen])
    parts = iter(lambda: [*islice(remaining, size)], [])
    return [
        {name: value.to(device) for name, value in pack(part).items() if hasattr(value, "to")}
        for part in parts
    ]


class _Work:
    """Forward and backward of some batches, as a run computes them."""

    def __init__(self, model: Any, batches: list[dict[str, Any]], config: TrainConfig) -> None:
        self._model, self._batches, self._loss = model, batches, config.loss
        self._is_half = bool(config.trainer.get("bf16"))

    def __call__(self) -> None:
        for batch in self._batches:
            device = batch["input_ids"].device
            with torch.autocast(device.type, torch.bfloat16, enabled=self._is_half):
                loss = task_loss(self._model, batch)
                auxiliary = self._model.base_model.auxiliary_losses()
            loss = loss + self._loss.gamma * auxiliary.bce + self._loss.beta * auxiliary.entropy
            torch.autograd.backward(loss)
        self._model.zero_grad(set_to_none=True)
