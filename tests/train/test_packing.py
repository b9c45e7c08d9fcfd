"""Packed batches: the same losses and gradients as padded ones, for any rows and any backbone that packs."""

import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen3Config

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.adapter.reference import loop_over_experts
from ucuie.errors import ConfigError
from ucuie.train.objective import task_loss
from ucuie.train.packing import pack, packed_attention
from ucuie.train.training_set import TrainingRow, collate

VOCABULARY = 50
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
BACKBONES = {
    "llama": LlamaConfig(**SIZES),
    "mistral, sliding window": MistralConfig(**SIZES, sliding_window=6),
    "qwen3": Qwen3Config(**SIZES),
}
ADAPTERS = {
    "soft": {},
    "hard": {"router": "hard"},
    "no shared expert": {"use_shared_expert": False},
    "LoRA": {"use_capability_experts": False},
    "one level": {"num_levels": 1},
}


def make_model(backbone="llama", **adapter):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(BACKBONES[backbone])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(model, HierarchicalMoeConfig(**adapter))
    for name, parameter in model.named_parameters():
        if "hierarchical_moe" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def make_rows(seed, count, *, has_masks=False):
    generator = random.Random(seed)
    rows = []
    for index in range(count):
        length = generator.randint(3, 30)
        positions = np.array(sorted(generator.sample(range(1, length), generator.randint(1, length - 1))))
        masks = None
        if has_masks:
            allowed = np.random.default_rng(seed + index).random((len(positions), 64)) < 0.5
            ids = np.arange(length)
            allowed[np.arange(len(positions)), ids[positions]] = True
            masks = np.packbits(allowed, axis=1, bitorder="little").view(np.int32)
        rows.append(
            TrainingRow(
                ids=list(range(length)) if has_masks else generator.choices(range(VOCABULARY), k=length),
                instruction_length=generator.randint(1, length - 1),
                positions=positions,
                allowed=masks,
                capability_labels=tuple(float(generator.random() < 0.5) for _ in range(3)),
                task=generator.choice(["NER", "RE"]),
            )
        )
    return rows


def losses_and_gradients(model, batch, *, has_gates=False):
    model.zero_grad()
    inputs = {name: value for name, value in batch.items() if name != "tasks"}
    if has_gates:
        inputs["capability_gates"] = inputs["capability_labels"]
    task = task_loss(model, inputs)
    auxiliary = model.base_model.auxiliary_losses()
    (task + auxiliary.bce + auxiliary.entropy).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"task": task, "bce": auxiliary.bce, "entropy": auxiliary.entropy} | gradients


@settings(max_examples=40)
@given(data=st.data())
def test_packed_rows_have_the_losses_and_gradients_of_padded_ones(data):
    model = make_model(
        data.draw(st.sampled_from(list(BACKBONES)), "backbone"),
        **ADAPTERS[data.draw(st.sampled_from(list(ADAPTERS)), "adapter")],
    )
    rows = make_rows(
        data.draw(st.integers(0, 99), "seed"),
        data.draw(st.integers(1, 6), "rows"),
        has_masks=data.draw(st.booleans(), "grammar objective"),
    )
    has_gates = data.draw(st.booleans(), "warming")
    if data.draw(st.booleans(), "checkpointing"):
        model.train()
        model.get_base_model().activation_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    padded = losses_and_gradients(model, collate(rows, pad_id=0), has_gates=has_gates)
    with packed_attention(model.get_base_model()):
        packed = losses_and_gradients(model, pack(rows), has_gates=has_gates)
    assert packed.keys() == padded.keys()
    for name in padded:
        torch.testing.assert_close(
            packed[name], padded[name], rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_packed_rows_go_through_the_loop_over_experts_too():
    model = make_model()
    batch = pack(make_rows(3, 4))
    with packed_attention(model.get_base_model()):
        fused = losses_and_gradients(model, batch)
        with loop_over_experts(model):
            loop = losses_and_gradients(model, batch)
    for name in fused:
        torch.testing.assert_close(fused[name], loop[name], rtol=1e-4, atol=1e-5)


def test_a_row_does_not_see_its_neighbours():
    model = make_model().eval()
    first, second, third = make_rows(5, 3)
    with packed_attention(model.get_base_model()):

        def gates_and_loss(rows):
            batch = pack(rows)
            # Only the first row counts.
            batch["labels"][:, len(rows[0].ids) :] = -100
            loss = task_loss(model, {name: value for name, value in batch.items() if name != "tasks"})
            statistics = model.base_model.routing_statistics().values()
            return [loss, *(entry.capability_gates[0] for entry in statistics)]

        torch.testing.assert_close(gates_and_loss([first, second]), gates_and_loss([first, third, second]))


def test_a_packed_batch_holds_every_row_in_turn():
    rows = make_rows(1, 3)
    batch = pack(rows)
    start = 0
    for index, row in enumerate(rows):
        place = slice(start, start + len(row.ids))
        assert batch["input_ids"][0, place].tolist() == row.ids
        assert batch["position_ids"][0, place].tolist() == list(range(len(row.ids)))
        assert set(batch["segment_ids"][0, place].tolist()) == {index}
        assert batch["instruction_mask"][0, place].sum() == row.instruction_length
        labelled = torch.nonzero(batch["labels"][0, place] != -100).flatten().tolist()
        assert labelled == row.positions.tolist()
        start += len(row.ids)
    assert batch["input_ids"].shape == (1, start)


def test_the_attention_is_put_back():
    model = make_model().get_base_model()
    with packed_attention(model):
        assert model.config._attn_implementation == "ucuie_packed"
    assert model.config._attn_implementation == "sdpa"


def test_padded_batches_are_refused_where_packed_ones_are_expected():
    model = make_model()
    batch = collate(make_rows(1, 2), pad_id=0)
    with packed_attention(model.get_base_model()), pytest.raises(ValueError, match="packed batches only"):
        losses_and_gradients(model, batch)


def test_attention_that_mixes_packed_rows_is_refused():
    model = make_model().get_base_model()
    model.set_attn_implementation("eager")
    with pytest.raises(ConfigError, match="set packing: false"), packed_attention(model):
        pass


@pytest.mark.parametrize("shape", [(2, 8), (1, 7)])
def test_segments_of_another_shape_are_refused(shape):
    model = make_model()
    with pytest.raises(ValueError, match="a packed batch is one row"):
        model(
            input_ids=torch.ones(2, 8, dtype=torch.long) if shape[0] == 2 else torch.ones(1, 8).long(),
            segment_ids=torch.zeros(shape, dtype=torch.long),
            instruction_mask=torch.ones(2, 8).bool() if shape[0] == 2 else torch.ones(1, 8).bool(),
        )
