"""Rows that share an instruction: the same losses as every text in a row of its own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from making.mini.shared_rows import SharedRows, collate
from tiny_model import make_backbone, tokenizer
from ucuie.data import SchemaAugmentation, read_examples
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.schema import Example
from ucuie.train.objective import IGNORED, task_loss
from ucuie.train.packing import packed_attention
from ucuie.train.rows import AskedText, TrainingRow

ROOT = Path(__file__).parents[2]
LENGTH = 1200


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return list(read_examples(ROOT / "examples" / "sample", split="train"))


@pytest.fixture(scope="module")
def make_rows(examples: list[Example]) -> Callable[..., SharedRows]:
    def make(length: int = LENGTH, max_frames: int = 4) -> SharedRows:
        rows = SharedRows(
            examples,
            PromptEncoder(tokenizer()),
            pool=InstructionPool.load(),
            grammars=GrammarFactory(tokenizer()),
            augmentation=SchemaAugmentation(max_frames=max_frames, max_negatives=2),
            length=length,
        )
        rows.set_epoch(0)
        return rows

    return make


@pytest.fixture(scope="module")
def rows(make_rows: Callable[..., SharedRows]) -> SharedRows:
    return make_rows()


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return make_backbone().eval()


def _gradient(model: PreTrainedModel, loss: Tensor) -> Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def _loss_of_rows(model: PreTrainedModel, rows: Sequence[TrainingRow]) -> Tensor:
    inputs = collate(rows)
    inputs.pop("num_tokens")
    with packed_attention(model, shares_instructions=True):
        return task_loss(model, inputs)


def _loss_apart(model: PreTrainedModel, row: TrainingRow) -> Tensor:
    """Every text alone behind the instruction, read by the model as it is."""
    losses = []
    for text in _asked(row):
        ids = torch.tensor([row.instruction_ids + text.ids])
        labels = torch.full_like(ids, IGNORED)
        learned = len(row.instruction_ids) + text.positions
        labels[0, learned] = ids[0, learned]
        inputs = {"input_ids": ids, "labels": labels, "allowed": torch.tensor(text.allowed)}
        losses.append(task_loss(model, inputs))
    return torch.stack(losses).sum()


def _asked(row: TrainingRow) -> list[AskedText]:
    """The texts of a row without its padding."""
    return [text for text in row.texts if len(text.positions)]


def test_loss_and_gradient_are_those_of_texts_in_rows_of_their_own(
    model: PreTrainedModel, rows: SharedRows
) -> None:
    chosen = [rows[place] for place in range(6)]
    assert max(len(_asked(row)) for row in chosen) > 2
    shared = _loss_of_rows(model, chosen)
    apart = torch.stack([_loss_apart(model, row) for row in chosen]).sum()
    torch.testing.assert_close(shared, apart, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        _gradient(model, _loss_of_rows(model, chosen)),
        _gradient(model, torch.stack([_loss_apart(model, row) for row in chosen]).sum()),
        rtol=1e-3,
        atol=1e-3,
    )


def test_an_epoch_has_every_example_once_and_no_two_epochs_are_the_same(
    rows: SharedRows, examples: list[Example]
) -> None:
    plans = []
    for epoch in (0, 1):
        rows.set_epoch(epoch)
        plans.append(rows.plan)
        assert sorted(chain(*rows.plan)) == list(range(len(examples)))
    rows.set_epoch(0)
    assert plans[0] == rows.plan != plans[1]


def test_a_row_asks_all_its_texts_the_same_and_no_more_than_allowed(
    rows: SharedRows, examples: list[Example]
) -> None:
    for place, indices in enumerate(rows.plan):
        row = rows[place]
        assert len({(examples[index].task, examples[index].schema) for index in indices}) == 1
        assert len({record.frame for index in indices for record in examples[index].records}) <= 4
        assert all(len(text.allowed) == len(text.positions) for text in row.texts)
        assert 0 < len(_asked(row)) <= len(indices)


def test_a_row_is_a_function_of_its_place_and_epoch(make_rows: Callable[..., SharedRows]) -> None:
    left, right = make_rows(), make_rows()
    right[3]
    assert left[2].instruction_ids == right[2].instruction_ids
    assert [text.ids for text in left[2].texts] == [text.ids for text in right[2].texts]


def test_padding_is_no_token_and_nothing_is_learned_of_it(rows: SharedRows) -> None:
    row = rows[0]
    batch = collate([row])
    assert batch["input_ids"].shape == (1, LENGTH)
    assert batch["num_tokens"] == len(row.instruction_ids) + sum(len(text.ids) for text in _asked(row))
    assert (batch["labels"][0, batch["num_tokens"] :] == IGNORED).all()


def test_texts_that_do_not_fit_are_counted(make_rows: Callable[..., SharedRows]) -> None:
    rows = make_rows(length=300)
    assert rows.num_too_long > 0
    assert all(collate([rows[place]])["input_ids"].shape == (1, 300) for place in range(len(rows)))


def test_a_row_whose_text_did_not_fit_in_the_end_has_an_instruction_only(
    model: PreTrainedModel, rows: SharedRows
) -> None:
    row = rows[0]
    empty = replace(row, texts=(rows._padding(LENGTH - len(row.instruction_ids)),))
    assert _loss_of_rows(model, [empty]) == 0
    torch.testing.assert_close(_loss_of_rows(model, [empty, row]), _loss_of_rows(model, [row]))
