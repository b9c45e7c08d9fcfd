"""What variants cost: time and memory of a training step, time of an extraction; side by side in one process.

In: a workspace. Out: plain values for `result.json`. Steps are those of real training rows.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ucuie.extract.extractor import Extractor, Query
from ucuie.lab.bench.timing import Work, device_name, interleaved
from ucuie.lab.experiments.samples import gold
from ucuie.lab.experiments.trials import Training
from ucuie.lab.experiments.workspace import Workspace
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.model.folder import Backbone, LoadedModel, load_backbone
from ucuie.schema import Example
from ucuie.train.objective import task_loss
from ucuie.train.rows import TrainingSet, collate
from ucuie.train.run import adapted

COMPARED = ("lora", "lora-rank", "lora-equal", "lora-moe", "no-shared", "hard", "soft", "full")
REPEATS = 3
NUM_TEXTS = 8
_ROUTING = ("instruction_mask", "capability_labels")


def measure_cost(workspace: Workspace) -> dict[str, Any]:
    """Seconds and bytes of each variant in `COMPARED`.

    Returns:
        `variants`: for each its `trainable_parameters`, `step_seconds` (forward and backward of a batch),
        `step_bytes` (what autograd keeps for the backward), `text_seconds` (of one extraction in a batch);
        and the `device` and `rows` of the batch.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    examples = gold(workspace.folder, "test")[:NUM_TEXTS]
    training: dict[str, Work] = {}
    extraction: dict[str, Work] = {}
    found: dict[str, dict[str, float]] = {}
    batch: dict[str, Any] = {}
    for name in COMPARED:
        config = workspace.config(Training(name, workspace.scale.learning_rates[0], seed=0))
        backbone = load_backbone(workspace.backbone, device=device)
        model: Any = backbone.model.train()
        if config.method == "adapter":
            model = adapted(backbone.model, config.adapter)
        else:
            model.requires_grad_(True)
        batch = batch or _batch(backbone, examples, device, max_rows=config.batch_size)
        training[name] = partial(_step, model, batch)
        loaded = LoadedModel(model, backbone.tokenizer, InstructionPool.load(), None, name)
        extraction[name] = partial(_extract, loaded, examples)
        found[name] = {
            "trainable_parameters": model.num_parameters(only_trainable=True),
            "step_bytes": _kept_bytes(training[name], model),
        }
    for name, seconds in interleaved(training, device, repeats=REPEATS).items():
        found[name]["step_seconds"] = seconds
    for name, seconds in interleaved(extraction, device, repeats=REPEATS).items():
        found[name]["text_seconds"] = seconds / len(examples)
    rows, tokens = batch["input_ids"].shape
    return {"variants": found, "device": device_name(device), "rows": rows, "tokens": tokens}


def _batch(
    backbone: Backbone, examples: Sequence[Example], device: torch.device, *, max_rows: int
) -> dict[str, Any]:
    """A batch of training rows under the full objective."""
    pool = InstructionPool.load()
    rows = TrainingSet(
        examples,
        PromptEncoder(backbone.tokenizer, pool=pool),
        pool=None,
        grammars=None,
        augmentation=None,
        max_length=backbone.model.config.max_position_embeddings,
    )
    chosen = [rows[0, row] for row in rows.questions.rows()[:max_rows]]
    batch = collate(chosen, pad_id=backbone.tokenizer.pad_token_id or 0)
    return {name: value.to(device) for name, value in batch.items() if isinstance(value, Tensor)}


def _step(model: Any, batch: dict[str, Tensor]) -> None:
    model.train()
    model.zero_grad(set_to_none=True)
    is_adapted = hasattr(model, "peft_config")
    loss: Any = task_loss(model, {key: batch[key] for key in batch if is_adapted or key not in _ROUTING})
    if is_adapted:
        auxiliary = model.base_model.auxiliary_losses()
        loss = loss + auxiliary.bce + auxiliary.entropy
    loss.backward()


def _kept_bytes(step: Work, model: Any) -> int:
    """Bytes of all tensors, each once, that a step keeps for its backward; parameters are not counted."""
    own = {parameter.data_ptr() for parameter in model.parameters()}
    # While a storage is alive no other has its address.
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step()
    return sum(storage.nbytes() for storage in kept.values())


def _extract(loaded: LoadedModel, examples: Sequence[Example]) -> None:
    loaded.model.eval()
    extractor = Extractor(loaded, max_new_tokens=32)
    for _ in extractor.answer(Query.of_example(example) for example in examples):
        pass
