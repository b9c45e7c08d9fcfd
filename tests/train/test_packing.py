"""Packed batches: the same losses and gradients as padded ones, for any rows and any backbone that packs."""

import random
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PreTrainedModel, Qwen3Config

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.errors import ConfigError
from ucuie.lab.reference import loop_over_experts
from ucuie.train.objective import task_loss
from ucuie.train.packing import PackedLayout, attend_packed, pack, packed_attention
from ucuie.train.rows import AskedText, TrainingRow, collate

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


def make_model(backbone: str = "llama", **adapter: Any) -> PeftModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(BACKBONES[backbone])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(model, HierarchicalMoeConfig(**adapter))
    for name, parameter in model.named_parameters():
        if "hierarchical_moe" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def make_text(generator: random.Random, *, seed: int, has_masks: bool) -> AskedText:
    length = generator.randint(2, 20)
    positions = np.array(sorted(generator.sample(range(1, length), generator.randint(1, length - 1))))
    ids = np.arange(length) if has_masks else np.array(generator.choices(range(VOCABULARY), k=length))
    masks = None
    if has_masks:
        allowed = np.random.default_rng(seed).random((len(positions), 64)) < 0.5
        allowed[np.arange(len(positions)), ids[positions]] = True
        masks = np.packbits(allowed, axis=1, bitorder="little").view(np.int32)
    return AskedText(ids.tolist(), positions, masks)


def make_rows(seed: int, count: int, *, has_masks: bool = False, max_texts: int = 1) -> list[TrainingRow]:
    generator = random.Random(seed)
    return [
        TrainingRow(
            instruction_ids=generator.choices(range(VOCABULARY), k=generator.randint(1, 12)),
            texts=tuple(
                make_text(generator, seed=seed + index, has_masks=has_masks)
                for _ in range(generator.randint(1, max_texts))
            ),
            capability_labels=tuple(float(generator.random() < 0.5) for _ in range(3)),
            task=generator.choice(["NER", "RE"]),
        )
        for index in range(count)
    ]


def apart(rows: Iterable[TrainingRow]) -> list[TrainingRow]:
    return [replace(row, texts=(text,)) for row in rows for text in row.texts]


def losses_and_gradients(
    model: PeftModel, batch: dict[str, Any], *, has_gates: bool = False
) -> dict[str, Tensor]:
    model.zero_grad()
    inputs = {name: value for name, value in batch.items() if name != "tasks"}
    if has_gates:
        inputs["capability_gates"] = inputs["capability_labels"]
    task = task_loss(model, inputs)
    auxiliary = model.base_model.auxiliary_losses()
    (task + auxiliary.bce + auxiliary.entropy).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"task": task, "bce": auxiliary.bce, "entropy": auxiliary.entropy} | gradients


@settings(max_examples=25)
@given(data=st.data())
def test_packed_rows_have_the_losses_and_gradients_of_padded_ones(data: st.DataObject) -> None:
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


@settings(max_examples=25)
@given(data=st.data())
def test_texts_that_share_an_instruction_have_the_task_loss_and_gradients_of_rows_apart(
    data: st.DataObject,
) -> None:
    model = make_model(
        data.draw(st.sampled_from(list(BACKBONES)), "backbone"),
        **ADAPTERS[data.draw(st.sampled_from(list(ADAPTERS)), "adapter")],
    )
    rows = make_rows(
        data.draw(st.integers(0, 99), "seed"),
        data.draw(st.integers(1, 4), "rows"),
        has_masks=data.draw(st.booleans(), "grammar objective"),
        max_texts=5,
    )

    def task_loss_and_gradients(batch: dict[str, Any]) -> list[Tensor]:
        model.zero_grad()
        loss = task_loss(model, {name: value for name, value in batch.items() if name != "tasks"})
        loss.backward()
        return [loss, *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    padded = task_loss_and_gradients(collate(apart(rows), pad_id=0))
    with packed_attention(model.get_base_model(), shares_instructions=True):
        shared = task_loss_and_gradients(pack(rows))
    torch.testing.assert_close(shared, padded, rtol=1e-4, atol=1e-4)


@given(
    rows=st.lists(
        st.tuples(st.integers(1, 6), st.lists(st.integers(1, 6), min_size=1, max_size=4)),
        min_size=1,
        max_size=4,
    ),
    window=st.sampled_from([None, 1, 3]),
)
def test_packed_attention_is_masked_attention_over_all_tokens(
    rows: list[tuple[int, list[int]]], window: int | None
) -> None:
    torch.manual_seed(0)
    is_visible = []
    num_tokens = sum(instruction + sum(texts) for instruction, texts in rows)
    start = 0
    for instruction, texts in rows:
        shared = list(range(start, start + instruction))
        start += instruction
        sequences = [shared]
        for length in texts:
            sequences.append([*shared, *range(start, start + length)])
            start += length
        is_visible += [
            (seen, token)
            for sequence in sequences
            for later, token in enumerate(sequence)
            for earlier, seen in enumerate(sequence[: later + 1])
            if window is None or later - earlier < window
        ]
    mask = torch.zeros(num_tokens, num_tokens, dtype=torch.bool)
    seen, tokens = torch.tensor(is_visible).T
    mask[tokens, seen] = True
    query, key, value, weights = (
        torch.randn(num_tokens, heads, 4, dtype=torch.double, requires_grad=True) for heads in (6, 2, 2, 6)
    )
    mixed = attend_packed(query, key, value, PackedLayout.of(rows), scaling=0.5, window=window)
    keys, values = (states.repeat_interleave(3, dim=1) for states in (key, value))
    scores = torch.einsum("thd,shd->hts", query, keys) * 0.5
    expected = torch.einsum("hts,shd->thd", scores.masked_fill(~mask, -torch.inf).softmax(-1), values)
    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(
        torch.autograd.grad((mixed * weights).sum(), (query, key, value)),
        torch.autograd.grad((expected * weights).sum(), (query, key, value)),
    )


def test_packed_rows_go_through_the_loop_over_experts_too() -> None:
    model = make_model()
    batch = pack(make_rows(3, 4))
    with packed_attention(model.get_base_model()):
        fused = losses_and_gradients(model, batch)
        with loop_over_experts(model):
            loop = losses_and_gradients(model, batch)
    for name in fused:
        torch.testing.assert_close(fused[name], loop[name], rtol=1e-4, atol=1e-5)


def test_a_row_does_not_see_its_neighbours() -> None:
    model = make_model().eval()
    first, second, third = make_rows(5, 3)
    with packed_attention(model.get_base_model()):

        def gates_and_loss(rows: list[TrainingRow]) -> list[Tensor]:
            batch = pack(rows)
            # Only the first row counts.
            batch["labels"][:, len(rows[0].instruction_ids) + len(rows[0].texts[0].ids) :] = -100
            loss = task_loss(model, {name: value for name, value in batch.items() if name != "tasks"})
            statistics = model.base_model.routing_statistics().values()
            return [loss, *(entry.capability_gates[0] for entry in statistics)]

        torch.testing.assert_close(gates_and_loss([first, second]), gates_and_loss([first, third, second]))


def test_a_packed_batch_holds_every_row_in_turn() -> None:
    rows = make_rows(1, 3, max_texts=3)
    batch = pack(rows)
    start = 0
    for index, row in enumerate(rows):
        num_shared = len(row.instruction_ids)
        length = num_shared + sum(len(text.ids) for text in row.texts)
        place = slice(start, start + length)
        assert set(batch["segment_ids"][0, place].tolist()) == {index}
        assert batch["instruction_mask"][0, place].tolist() == [True] * num_shared + [False] * (
            length - num_shared
        )
        assert batch["input_ids"][0, start : start + num_shared].tolist() == row.instruction_ids
        assert batch["position_ids"][0, start : start + num_shared].tolist() == list(range(num_shared))
        start += num_shared
        for text in row.texts:
            place = slice(start, start + len(text.ids))
            assert batch["input_ids"][0, place].tolist() == text.ids
            assert batch["position_ids"][0, place].tolist() == [
                num_shared + index for index in range(len(text.ids))
            ]
            labelled = torch.nonzero(batch["labels"][0, place] != -100).flatten().tolist()
            assert labelled == text.positions.tolist()
            start += len(text.ids)
    assert batch["input_ids"].shape == (1, start)


def test_shared_instructions_have_to_be_packed() -> None:
    with pytest.raises(ValueError, match="have to be packed"):
        collate(make_rows(4, 3, max_texts=4), pad_id=0)


def attention_of(model: PreTrainedModel) -> str:
    name: str = model.config._attn_implementation
    return name


def test_attention_that_cannot_share_an_instruction_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model().get_base_model()
    monkeypatch.setattr(model.config, "_attn_implementation_internal", "flex_attention")
    with packed_attention(model):
        assert attention_of(model) == "flex_attention"
    with (
        pytest.raises(ConfigError, match="set texts_per_row: 1"),
        packed_attention(model, shares_instructions=True),
    ):
        pass


def test_the_attention_is_put_back() -> None:
    model = make_model().get_base_model()
    with packed_attention(model):
        assert attention_of(model) == "ucuie_packed"
    assert attention_of(model) == "sdpa"


def test_padded_batches_are_refused_where_packed_ones_are_expected() -> None:
    model = make_model()
    batch = collate(make_rows(1, 2), pad_id=0)
    with packed_attention(model.get_base_model()), pytest.raises(ValueError, match="packed batches only"):
        losses_and_gradients(model, batch)


def test_attention_that_mixes_packed_rows_is_refused() -> None:
    model = make_model().get_base_model()
    model.set_attn_implementation("eager")
    with pytest.raises(ConfigError, match="set packing: false"), packed_attention(model):
        pass


@pytest.mark.parametrize("shape", [(2, 8), (1, 7)])
def test_segments_of_another_shape_are_refused(shape: tuple[int, int]) -> None:
    model = make_model()
    with pytest.raises(ValueError, match="a packed batch is one row"):
        model(
            input_ids=torch.ones(2, 8, dtype=torch.long) if shape[0] == 2 else torch.ones(1, 8).long(),
            segment_ids=torch.zeros(shape, dtype=torch.long),
            instruction_mask=torch.ones(2, 8).bool() if shape[0] == 2 else torch.ones(1, 8).bool(),
        )
