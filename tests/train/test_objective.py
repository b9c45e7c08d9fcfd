"""L_task: both objectives against the formulas written out, token by token."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from ucuie.engine.grammar_state import GrammarFactory
from ucuie.language.encode import PromptEncoder
from ucuie.schema import Example
from ucuie.train.objective import task_loss, unpack_masks
from ucuie.train.rows import TrainingSet, collate

MODEL_INPUTS = ("input_ids", "attention_mask", "labels", "allowed")


def training_set(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast, *, uses_grammar: bool
) -> TrainingSet:
    return TrainingSet(
        examples,
        PromptEncoder(tokenizer),
        pool=None,
        grammars=GrammarFactory(tokenizer) if uses_grammar else None,
        augmentation=None,
        max_length=512,
    )


@pytest.fixture(scope="module")
def model(backbone_folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(backbone_folder).eval()


def test_masks_unpack_to_the_tokens_packed_into_them() -> None:
    allowed = np.zeros((2, 70), dtype=bool)
    allowed[0, [0, 31, 32, 69]] = True
    allowed[1, 40] = True
    padded = np.pad(allowed, ((0, 0), (0, 96 - 70)))
    packed = np.packbits(padded, axis=1, bitorder="little").view(np.int32)
    assert torch.equal(unpack_masks(torch.from_numpy(packed), 70), torch.from_numpy(allowed))


def test_full_objective_is_the_cross_entropy_of_the_target(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    rows = [training_set(examples, tokenizer, uses_grammar=False)[0, (index,)] for index in (0, 1, 2)]
    batch = collate(rows, pad_id=tokenizer.pad_token_id)
    inputs = {name: batch[name] for name in MODEL_INPUTS if name in batch}
    expected = 0.0
    for row in rows:
        (text,) = row.texts
        ids = [*row.instruction_ids, *text.ids]
        log_probabilities = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        target = range(len(ids) - len(text.positions), len(ids))
        expected -= sum(log_probabilities[place - 1, ids[place]].item() for place in target)
    assert task_loss(model, inputs).item() == pytest.approx(expected, rel=1e-5)


def test_grammar_objective_is_the_probability_of_the_choices_among_the_allowed(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    rows = [training_set(examples, tokenizer, uses_grammar=True)[0, (index,)] for index in range(6)]
    batch = collate(rows, pad_id=tokenizer.pad_token_id)
    inputs = {name: batch[name] for name in MODEL_INPUTS}
    expected = 0.0
    for row in rows:
        (text,) = row.texts
        ids = [*row.instruction_ids, *text.ids]
        logits = model(input_ids=torch.tensor([ids])).logits[0]
        allowed = unpack_masks(torch.from_numpy(text.allowed), len(tokenizer))
        for place, mask in zip(text.positions + len(row.instruction_ids), allowed, strict=True):
            choices = logits[place - 1][mask]
            expected += (choices.logsumexp(0) - logits[place - 1, ids[place]]).item()
    assert task_loss(model, inputs).item() == pytest.approx(expected, rel=1e-5)


def test_grammar_objective_leaves_forced_tokens_out(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast
) -> None:
    (text,) = training_set(examples, tokenizer, uses_grammar=True)[0, (1,)].texts
    chosen = tokenizer.convert_ids_to_tokens([text.ids[place] for place in text.positions])
    # {(live in: Null): [(subject: Ada Lovelace), (object: London)]}: no bracket or name is a choice but
    # those after which something else could have come.
    assert len(text.positions) < len(text.ids) / 2
    assert chosen[0] == "{("
    assert not {":", "):", "Ġin", "bject"} & set(chosen)


def test_uniform_model_has_the_loss_of_the_number_of_allowed_tokens(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    uniform = AutoModelForCausalLM.from_config(model.config)
    torch.nn.init.zeros_(uniform.get_output_embeddings().weight)
    row = training_set(examples, tokenizer, uses_grammar=True)[0, (0,)]
    batch = collate([row], pad_id=tokenizer.pad_token_id)
    num_allowed = unpack_masks(batch["allowed"], len(tokenizer)).sum(dim=1)
    loss = task_loss(uniform, {name: batch[name] for name in MODEL_INPUTS})
    assert loss.item() == pytest.approx(sum(math.log(count) for count in num_allowed.tolist()), rel=1e-5)
