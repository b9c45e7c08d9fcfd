"""Training: checkpointed layers keep their own forward's routing; a resumed run ends where it would have."""

from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_cases import Inputs, MakeAdapted, MakeBackbone
from peft import PeftModel, get_peft_model
from torch import Tensor
from transformers import LlamaForCausalLM, Trainer, TrainingArguments

from ucuie.adapter import HierarchicalMoeConfig


def gradients_of_two_forwards(model: PeftModel, inputs: Inputs) -> dict[str, Tensor]:
    """Gradients of both forwards' losses, with both forwards done before the one backward."""
    model.train()
    model.zero_grad()
    other = inputs | {
        "input_ids": inputs["input_ids"].roll(1, dims=1),
        "instruction_mask": torch.arange(10) < torch.tensor([[7], [2], [6]]),
        "capability_labels": 1 - inputs["capability_labels"],
    }
    total = torch.zeros(())
    for batch in (inputs, other):
        output = model(**batch)
        losses = model.base_model.auxiliary_losses()
        total = total + output.loss + losses.bce + losses.entropy
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def enable_checkpointing(model: PeftModel, **options: object) -> None:
    model.get_base_model().activation_checkpointing_enable(options or None)


@pytest.mark.parametrize("settings", [{}, {"target_modules": ["q_proj", "o_proj", "down_proj"]}])
def test_checkpointed_layers_are_recomputed_under_their_own_routing(
    adapted: MakeAdapted, inputs: Inputs, settings: dict[str, Any]
) -> None:
    model = adapted(**settings)
    want = gradients_of_two_forwards(model, inputs)
    enable_checkpointing(model)
    got = gradients_of_two_forwards(model, inputs)
    assert got.keys() == want.keys()
    for name in want:
        assert torch.equal(got[name], want[name]), name


def test_recomputing_leaves_losses_and_statistics_of_the_last_forward(
    adapted: MakeAdapted, inputs: Inputs
) -> None:
    model = adapted()
    enable_checkpointing(model)
    model.train()
    earlier = model(**inputs).loss
    other = inputs | {"capability_gates": torch.zeros(3, 3)}
    with torch.no_grad():
        model(**other)
    earlier.backward()
    gates = model.base_model.routing_statistics()["model.layers.0.mlp.gate_proj"].capability_gates
    assert torch.equal(gates, torch.zeros(3, 3))


def test_reentrant_checkpoints_are_refused(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    enable_checkpointing(model, use_reentrant=True)
    model.train()
    with pytest.raises(ValueError, match="use_reentrant"):
        model(**inputs)
    enable_checkpointing(model)
    model(**inputs).loss.backward()


def test_unloading_restores_the_checkpoint_function(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    enable_checkpointing(model)
    layer = model.get_base_model().model.layers[0]
    checkpoint_function = attrgetter("_gradient_checkpointing_func")
    before = checkpoint_function(layer)
    model.train()
    model(**inputs)
    assert checkpoint_function(layer) is not before
    model.unload()
    assert checkpoint_function(layer) is before


def test_fresh_adapter_trains_with_all_its_losses(backbone: LlamaForCausalLM, inputs: Inputs) -> None:
    model = get_peft_model(backbone, HierarchicalMoeConfig()).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02, weight_decay=0)
    history = []
    for _ in range(30):
        output = model(**inputs)
        losses = model.base_model.auxiliary_losses()
        (output.loss + losses.bce + losses.entropy).backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append((output.loss.item(), losses.bce.item()))
    assert history[-1][0] < 0.5 * history[0][0]
    assert history[-1][1] < 0.5 * history[0][1]


class WithAuxiliaryLosses(Trainer):
    def compute_loss(
        self, model: PeftModel, inputs: Inputs, return_outputs: bool = False, **kwargs: object
    ) -> Any:
        output = model(**inputs)
        losses = model.base_model.auxiliary_losses()
        loss = output.loss + 0.1 * (losses.bce + losses.entropy)
        return (loss, output) if return_outputs else loss


def train(
    backbone: LlamaForCausalLM,
    folder: Path,
    inputs: Inputs,
    *,
    resume: bool = False,
    **options: object,
) -> dict[str, Tensor]:
    rows = [{name: value[row % 3] for name, value in inputs.items()} for row in range(12)]
    torch.manual_seed(3)
    model = get_peft_model(backbone, HierarchicalMoeConfig())
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=3,
        max_steps=4,
        save_steps=2,
        learning_rate=0.05,
        weight_decay=0,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
        dataloader_pin_memory=False,
        **options,
    )
    trainer = WithAuxiliaryLosses(model=model, args=arguments, train_dataset=rows)
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-2") if resume else None)
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_trainer_resumes_from_its_checkpoint(
    make_backbone: MakeBackbone, inputs: Inputs, tmp_path: Path
) -> None:
    want = train(make_backbone(), tmp_path, inputs)
    got = train(make_backbone(), tmp_path, inputs, resume=True)
    for name in want:
        assert torch.equal(got[name], want[name]), name


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_trainer_with_checkpointed_layers_learns_the_same(
    make_backbone: MakeBackbone, inputs: Inputs, tmp_path: Path
) -> None:
    want = train(make_backbone(), tmp_path / "plain", inputs)
    got = train(make_backbone(), tmp_path / "checkpointed", inputs, gradient_checkpointing=True)
    for name in want:
        torch.testing.assert_close(got[name], want[name])
