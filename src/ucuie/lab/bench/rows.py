"""What is saved where texts share an instruction: steps of a training run, in shared rows and in rows apart.

In: the configuration of a run, whose backbone and data are read. Out: texts per second of forward and
backward of the same texts, once as the run packs them and once each behind an instruction of its own.
"""

from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch

from ucuie.lab.bench.options import RowsOptions
from ucuie.lab.bench.timing import bench_device, interleaved, settings_of
from ucuie.language.pool import InstructionPool
from ucuie.model.backbone import without_adapter
from ucuie.model.folder import load_backbone
from ucuie.train.config import TrainConfig
from ucuie.train.objective import task_loss
from ucuie.train.order import Indices
from ucuie.train.packing import pack, packed_attention
from ucuie.train.rows import read_training_data
from ucuie.train.run import Stages, adapted

Batches = list[dict[str, Any]]


def bench_rows(config: TrainConfig, options: RowsOptions) -> dict[str, Any]:
    """Time the first steps of a run, with its texts in shared rows and in rows apart, which take turns.

    Nothing is written.

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

    def packed(taken: list[Indices], size: int) -> Batches:
        chosen = [rows[0, row] for row in taken]
        parts = (pack(chosen[start : start + size]) for start in range(0, len(chosen), size))
        return [
            {name: value.to(where) for name, value in part.items() if hasattr(value, "to")} for part in parts
        ]

    batches = {
        "shared": packed(shared, config.batch_size),
        "apart": packed(apart, max(len(apart) // options.steps, 1)),
    }
    works = {name: partial(_step, model, parts, config) for name, parts in batches.items()}
    with packed_attention(without_adapter(model), shares_instructions=True):
        seconds = interleaved(works, where, repeats=options.repeats, num_threads=options.num_threads)
    return {
        "settings": settings_of(
            options, where, texts=len(apart), rows=len(shared), texts_per_row=config.texts_per_row
        ),
        "seconds": seconds,
        "shared_over_apart": seconds["apart"] / seconds["shared"],
        **{f"{name}_texts_per_second": len(apart) / seconds[name] for name in batches},
        **{
            f"{name}_tokens": sum(part["input_ids"].numel() for part in parts)
            for name, parts in batches.items()
        },
    }


def _step(model: Any, batches: Batches, config: TrainConfig) -> None:
    """Forward and backward of some batches, as a run computes them."""
    for batch in batches:
        device = batch["input_ids"].device
        with torch.autocast(device.type, torch.bfloat16, enabled=bool(config.trainer.get("bf16"))):
            loss = task_loss(model, batch)
            auxiliary = model.base_model.auxiliary_losses()
        loss = loss + config.loss.gamma * auxiliary.bce + config.loss.beta * auxiliary.entropy
        torch.autograd.backward(loss)
    model.zero_grad(set_to_none=True)
