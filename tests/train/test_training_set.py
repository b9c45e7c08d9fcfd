"""Training rows: what they hold, that chance comes from the seed alone, and the order of an epoch."""

import random
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from ucuie.data import SchemaAugmentation
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.schema import Example, Filler, Record, Schema
from ucuie.train.order import FILLER, EpochSampler, Questions, evaluation_keys
from ucuie.train.packing import pack
from ucuie.train.rows import TrainingRow, TrainingSet, collate


def varied_set(
    examples: list[Example],
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int = 0,
    max_length: int = 512,
    texts_per_row: int = 1,
) -> TrainingSet:
    pool = InstructionPool.load()
    return TrainingSet(
        examples,
        PromptEncoder(tokenizer, pool=pool),
        pool=pool,
        grammars=GrammarFactory(tokenizer),
        augmentation=SchemaAugmentation(max_negatives=2),
        max_length=max_length,
        texts_per_row=texts_per_row,
        seed=seed,
    )


def ids_of(row: TrainingRow) -> list[int]:
    """The tokens of a row of one text."""
    (text,) = row.texts
    return [*row.instruction_ids, *text.ids]


def test_rows_depend_on_seed_and_epoch_and_nothing_else(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast
) -> None:
    rows, again = varied_set(examples, tokenizer), varied_set(examples, tokenizer)
    keys = [(epoch, (index,)) for epoch in range(3) for index in range(len(rows))]
    expected = {key: ids_of(rows[key]) for key in keys}
    random.Random(1).shuffle(keys)
    for key in keys:
        assert ids_of(again[key]) == expected[key]
    other_seed = varied_set(examples, tokenizer, seed=1)
    assert any(ids_of(other_seed[key]) != expected[key] for key in keys)


def test_epochs_word_and_order_the_same_example_differently(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = varied_set(examples, tokenizer)
    instructions = {tuple(rows[epoch, (0,)].instruction_ids) for epoch in range(8)}
    assert len(instructions) > 4


def test_examples_longer_than_the_context_are_counted_not_cut(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast
) -> None:
    whole = varied_set(examples, tokenizer)
    limit = sorted(whole.questions.lengths.values())[5]
    limited = varied_set(examples, tokenizer, max_length=limit)
    assert len(limited) + limited.num_too_long == len(examples)
    assert limited.num_too_long > 0
    rows = limited.questions.rows()
    assert all(len(ids_of(limited[epoch, row])) <= limit for epoch in range(4) for row in rows)


def test_schemas_too_long_for_the_context_are_narrowed_where_the_augmentation_may(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast
) -> None:
    names = [f"some rather long name of a type {index}" for index in range(80)]
    wide = [
        Example(
            id=example.id,
            task="NER",
            text=example.text,
            schema=Schema.of([*names, *(frame.name for frame in example.schema.frames)]),
            records=example.records,
        )
        for example in examples
        if example.task == "NER"
    ]
    assert wide
    pool = InstructionPool.load()
    encoder = PromptEncoder(tokenizer, pool=pool)
    options = {"pool": pool, "grammars": GrammarFactory(tokenizer), "max_length": 400}
    assert not len(TrainingSet(wide, encoder, augmentation=SchemaAugmentation(), **options))
    rows = TrainingSet(wide, encoder, augmentation=SchemaAugmentation(max_frames=6), **options)
    assert len(rows) == len(wide)
    assert all(len(ids_of(rows[epoch, (index,)])) <= 400 for epoch in range(3) for index in range(len(rows)))
    options["max_length"] = max(rows.questions.lengths.values())
    shared = TrainingSet(
        wide, encoder, augmentation=SchemaAugmentation(max_frames=6), texts_per_row=2, **options
    )
    for key in shared.questions.rows():
        for row in (shared[epoch, key] for epoch in range(8)):
            longest = max(len(text.ids) for text in row.texts)
            assert len(row.instruction_ids) + longest <= options["max_length"]


def test_the_usual_length_of_a_text_is_that_of_nearly_all(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = [
        Example(
            id=str(index), task="NER", text="Ada " * (60 if index == 7 else 3), schema=Schema.of(["person"])
        )
        for index in range(60)
    ]
    encoder = PromptEncoder(tokenizer)
    assert varied_set(examples, tokenizer).usual_text_length == len(encoder.encode_text("Ada " * 3))


def test_span_that_ends_inside_a_word_is_learned_too(tokenizer: PreTrainedTokenizerFast) -> None:
    example = Example(
        id="inside",
        task="NER",
        text="a neuropathology",
        schema=Schema.of(["system"]),
        records=(Record(frame="system", filler=Filler(text="neuro", start=2, end=7)),),
    )
    (text,) = varied_set([example], tokenizer)[0, (0,)].texts
    assert len(text.positions) == len(text.allowed) > 0


def test_collate_pads_right_and_marks_instruction_and_choices(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = [varied_set(examples, tokenizer)[0, (index,)] for index in (0, 1, 2)]
    batch = collate(rows, pad_id=tokenizer.pad_token_id)
    assert len(batch["allowed"]) == sum(len(row.texts[0].positions) for row in rows)
    assert batch["tasks"] == ["NER", "RE", "EE"]
    assert batch["capability_labels"].tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 1]]
    for index, row in enumerate(rows):
        length = len(ids_of(row))
        assert batch["input_ids"][index, :length].tolist() == ids_of(row)
        assert batch["attention_mask"][index].sum() == length
        assert batch["instruction_mask"][index].sum() == len(row.instruction_ids)
        labelled = torch.nonzero(batch["labels"][index] != -100).flatten()
        assert (labelled - len(row.instruction_ids)).tolist() == row.texts[0].positions.tolist()


def single_texts(lengths: Sequence[int]) -> Questions:
    return Questions(((*range(len(lengths)),),), lengths=dict(enumerate(lengths)))


@pytest.mark.parametrize("count", [7, 64, 1000])
def test_an_epoch_has_every_row_once_in_batches_of_similar_length(count: int) -> None:
    lengths = [random.Random(index).randint(10, 500) for index in range(count)]
    sampler = EpochSampler(single_texts(lengths), batch_size=8, seed=3)
    keys = list(sampler)
    assert sorted(row for _, row in keys[:count]) == [(index,) for index in range(count)]
    sampler.set_epoch(1)
    assert {epoch for epoch, _ in sampler} == {1}
    assert [row for _, row in sampler] != [row for _, row in keys] or count < 8
    sampler.set_epoch(0)
    assert list(sampler) == keys
    if count == 1000:
        ordered = [lengths[index] for _, (index,) in keys[:count]]
        batches = [ordered[first:last] for first, last in pairwise([*range(0, count, 8), count])]
        spreads = [max(batch) - min(batch) for batch in batches]
        assert sorted(spreads)[len(spreads) // 2] < 20


@given(st.integers(1, 40), st.integers(1, 7))
def test_epochs_are_of_whole_steps_with_every_row_once(num_rows: int, batch_size: int) -> None:
    questions = single_texts([1] * num_rows)
    samplers = (
        EpochSampler(questions, batch_size=batch_size, seed=0),
        evaluation_keys(questions, batch_size=batch_size),
    )
    for sampler in samplers:
        rows = [row for _, row in sampler]
        assert len(rows) == len(sampler)
        assert len(rows) % batch_size == 0
        assert sorted(rows[:num_rows]) == [(index,) for index in range(num_rows)]
        assert set(rows[num_rows:]) <= {FILLER}
        assert len(rows) - num_rows < batch_size


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 9))
def test_rows_have_every_example_once_beside_others_of_its_group(
    sizes: list[int], texts_per_row: int, seed: int
) -> None:
    groups, start = [], 0
    for size in sizes:
        groups.append(tuple(range(start, start + size)))
        start += size
    lengths = {index: 1 + index % 5 for index in range(start)}
    questions = Questions(tuple(groups), lengths=lengths, texts_per_row=texts_per_row)
    for rows in (questions.rows(), questions.rows(random.Random(seed))):
        assert len(rows) == len(questions)
        assert sorted(index for row in rows for index in row) == list(range(start))
        assert all(any(set(row) <= set(group) for group in groups) for row in rows)
        assert all(1 <= len(row) <= texts_per_row for row in rows)


def test_texts_of_a_row_are_asked_with_one_schema_that_is_right_for_each(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = varied_set(examples, tokenizer, texts_per_row=3)
    assert len(rows) == 6  # 4 of NER, RE and EE each
    for epoch in range(5):
        for key in rows.questions.rows(random.Random(epoch)):
            row = rows[epoch, key]
            assert len(row.texts) == len(key)
            instruction = tokenizer.decode(row.instruction_ids)
            for index, text in zip(key, row.texts, strict=True):
                assert examples[index].text in tokenizer.decode(text.ids)
                assert all(f"{record.frame}" in instruction for record in examples[index].records)


def test_rows_that_do_not_count_are_left_out_unless_a_batch_has_no_other(
    examples: list[Example], tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = varied_set(examples, tokenizer)
    row, filler = rows[2, (3,)], rows[2, FILLER]
    for batch_of in (pack, partial(collate, pad_id=0)):
        mixed, plain, empty = batch_of([row, filler]), batch_of([row]), batch_of([filler, filler])
        assert torch.equal(mixed["input_ids"], plain["input_ids"])
        assert mixed.keys() == plain.keys() == empty.keys() - {"is_counted"}
        assert empty["is_counted"] is False
        assert len(empty["tasks"]) == 1
