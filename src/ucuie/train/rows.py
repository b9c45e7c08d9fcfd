"""Training rows: examples, worded and tokenised, with the tokens to learn marked.

`TrainingSet` maps an epoch and the examples of a row to a `TrainingRow`; all chance comes from (seed, epoch,
id of the row's first example), so a row is the same whatever was drawn before and a resumed run continues
exactly. `collate` pads rows into the inputs of `objective.task_loss`; which examples share a row and in what
order rows come is `order`.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ucuie.data import (
    DatasetShare,
    SchemaAugmentation,
    build_mixture,
    capability_subset,
    generator_for,
    narrow_schema,
    read_examples,
    sample_examples,
    vary_schema,
    with_schema,
)
from ucuie.engine.grammar_state import GrammarFactory, Target, TargetError, choices
from ucuie.errors import DataError
from ucuie.language.encode import EncodedExample, PromptEncoder
from ucuie.language.grammar import build_grammar
from ucuie.language.pool import InstructionPool, InstructionTask
from ucuie.schema import CAPABILITIES, Example, Frame, Record, Schema
from ucuie.schema.capabilities import capability_labels
from ucuie.templates import counted
from ucuie.train.config import TrainConfig
from ucuie.train.objective import IGNORED
from ucuie.train.order import FILLER, Key, Questions

VALIDATION_EXAMPLES_PER_DATASET = 200
USUAL = 0.95
"""The share of texts that counts as nearly all."""


@dataclass(frozen=True)
class AskedText:
    """A text and its target behind an instruction: X, Y.

    Args:
        ids: their tokens.
        positions: the places of the tokens that are learned, ascending, counted from the first of X. That
            is none of them: it is predicted where the instruction ends, and that end is shared.
        allowed: what the grammar allows at each of them, packed; None for the full objective.
    """

    ids: list[int]
    positions: NDArray[np.intp]
    allowed: NDArray[np.int32] | None


@dataclass(frozen=True)
class TrainingRow:
    """An instruction and what is learned with it: I, X1, Y1, X2, Y2, ...

    Each text is learned as if it stood alone behind the instruction.

    Args:
        capability_labels: 1 for each capability that the task needs, (C,).
        is_counted: it is learned from, and has a part in the losses.
    """

    instruction_ids: list[int]
    texts: tuple[AskedText, ...]
    capability_labels: tuple[float, ...]
    task: str
    is_counted: bool = True


class TrainingSet(Dataset[TrainingRow]):
    """Training rows of some examples.

    Args:
        pool: its wordings are drawn from; None always takes the encoder's default wording.
        grammars: compiles the grammars of the grammar objective; None trains the full objective.
        augmentation: how schemas vary; None leaves them as they are.
        max_length: tokens of the longest prompt with its target. Examples that do not fit with the default
            wording and their whole schema, or as much of it as the augmentation lets stand, are left out;
            `num_too_long` counts them.
        texts_per_row: at most so many examples of one task and schema are asked with one instruction.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        encoder: PromptEncoder,
        *,
        pool: InstructionPool | None,
        grammars: GrammarFactory | None,
        augmentation: SchemaAugmentation | None,
        max_length: int,
        texts_per_row: int = 1,
        seed: int = 0,
    ) -> None:
        self._max_frames = None if augmentation is None else augmentation.max_frames
        questions: dict[tuple[InstructionTask, Schema], list[int]] = defaultdict(list)
        lengths: dict[int, int] = {}
        text_lengths: list[int] = []
        # Every frame of every task, once for each name: the pool of hard-negative labels.
        frames: dict[str, dict[str, Frame]] = {}
        # Examples may be parsed when they are asked for, so they are visited once and not kept.
        for index, example in enumerate(examples):
            encoded = encoder.encode_example(self._narrowed([example])[0])
            length = _length(encoded)
            if length <= max_length:
                lengths[index] = length
                questions[example.task, example.schema].append(index)
                text_lengths.append(len(encoded.text_ids))
                frames.setdefault(example.task, {}).update({one.name: one for one in example.schema.frames})
        self.questions = Questions(
            tuple(map(tuple, questions.values())), lengths=lengths, texts_per_row=texts_per_row
        )
        """The examples that can share a row."""
        self.usual_text_length = round(np.quantile(text_lengths, USUAL)) if text_lengths else 0
        """Tokens that nearly all texts stay within."""
        self.num_too_long = len(examples) - len(lengths)
        self._negatives = {task: list(by_name.values()) for task, by_name in frames.items()}
        self._examples = examples
        self._encoder = encoder
        self._pool = pool
        self._grammars = grammars
        self._augmentation = augmentation
        self._max_length = max_length
        self._seed = seed

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self.questions)

    def __getitem__(self, key: Key) -> TrainingRow:
        epoch, indices = key
        if indices == FILLER:
            return replace(self[epoch, self.questions.groups[0][:1]], is_counted=False)
        examples = [self._examples[index] for index in indices]
        generator = generator_for(self._seed, examples[0].id, epoch)
        varied = self._vary(examples, generator)
        wording = None if self._pool is None else self._pool.sample(varied[0].task, generator)
        encoded = [self._encoder.encode_example(example, wording) for example in varied]
        if any(_length(one) > self._max_length for one in encoded):
            varied = self._narrowed(examples)
            encoded = [self._encoder.encode_example(example) for example in varied]
            # Together they may need more frames than any of them; what does not fit waits for another epoch.
            if any(_length(one) > self._max_length for one in encoded):
                return self[epoch, indices[:1]]
        task = examples[0].task
        return TrainingRow(
            instruction_ids=encoded[0].instruction_ids,
            texts=tuple(asked_text(*pair, self._grammars) for pair in zip(varied, encoded, strict=True)),
            capability_labels=capability_labels(task),
            task=task,
        )

    def _vary(self, examples: Sequence[Example], generator: random.Random) -> Sequence[Example]:
        if self._augmentation is None:
            return examples
        first = examples[0]
        schema = vary_schema(
            first.schema,
            _all_records(examples),
            generator,
            augmentation=self._augmentation,
            negatives=self._negatives[first.task],
        )
        return [with_schema(example, schema) for example in examples]

    def _narrowed(self, examples: Sequence[Example]) -> Sequence[Example]:
        """The examples with one schema, as narrow as the records of all of them allow."""
        whole = examples[0].schema
        schema = narrow_schema(whole, _all_records(examples), self._max_frames)
        # Most are narrow enough, and to make an example anew is to check it anew.
        return examples if schema is whole else [with_schema(example, schema) for example in examples]


def _all_records(examples: Sequence[Example]) -> tuple[Record, ...]:
    """A schema that is right for the records of all texts is right for those of each."""
    return tuple(record for example in examples for record in example.records)


def asked_text(example: Example, encoded: EncodedExample, grammars: GrammarFactory | None) -> AskedText:
    """The text of an example and its target; without grammars all of that is learned."""
    *target, end = encoded.target_ids
    if grammars is None:
        positions, allowed = np.arange(len(encoded.target_ids)), None
    else:
        target, positions, allowed = _open_choices(example, target, grammars)
    num_read = len(encoded.text_ids)
    return AskedText([*encoded.text_ids, *target, end], positions + num_read, allowed)


def _open_choices(example: Example, target_ids: list[int], grammars: GrammarFactory) -> Target:
    """The open positions of an example's target; spans that end inside a word take the finer grammar."""
    build = partial(build_grammar, example.schema, example.text, example.task, elements=example.elements)
    try:
        return choices(target_ids, grammars.start(build()))
    except TargetError:
        return choices(target_ids, grammars.start(build(chunking="characters")))


def _length(encoded: EncodedExample) -> int:
    return len(encoded.instruction_ids) + len(encoded.text_ids) + len(encoded.target_ids)


def collate(rows: Sequence[TrainingRow], *, pad_id: int) -> dict[str, Any]:
    """Rows of one text each as right-padded inputs of `objective.task_loss` and of the adapter.

    `input_ids`, `attention_mask`, `labels` and `instruction_mask` are (B, T), `capability_labels` is
    (B, C), `allowed` is (N, ceil(V / 32)) and absent for the full objective; `tasks` are B names. Rows that
    do not count are left out; where none counts, B is 1 and `is_counted` is False.

    Raises:
        ValueError: several texts share an instruction, which only packed batches can hold.
    """
    rows = rows_that_count(rows)
    if any(len(row.texts) != 1 for row in rows):
        raise ValueError("texts that share an instruction have to be packed")
    sequences = [[*row.instruction_ids, *row.texts[0].ids] for row in rows]
    width = max(map(len, sequences))
    input_ids = torch.full((len(rows), width), pad_id)
    labels = torch.full((len(rows), width), IGNORED)
    lengths = torch.tensor([[len(sequence)] for sequence in sequences])
    instruction_lengths = torch.tensor([[len(row.instruction_ids)] for row in rows])
    for index, (row, sequence) in enumerate(zip(rows, sequences, strict=True)):
        ids = torch.tensor(sequence)
        input_ids[index, : len(ids)] = ids
        learned = row.texts[0].positions + len(row.instruction_ids)
        labels[index, learned] = ids[learned]
    places = torch.arange(width)
    return {
        "input_ids": input_ids,
        "attention_mask": (places < lengths).long(),
        "labels": labels,
        "instruction_mask": places < instruction_lengths,
        **inputs_of(rows),
    }


def rows_that_count(rows: Sequence[TrainingRow]) -> Sequence[TrainingRow]:
    """The rows that count, or one that does not where none does, for a batch has to have one."""
    return [row for row in rows if row.is_counted] or rows[:1]


def inputs_of(rows: Sequence[TrainingRow]) -> dict[str, Any]:
    """The inputs that batches of any form have: `capability_labels`, `tasks`, `allowed` and `is_counted`."""
    masks = [text.allowed for row in rows for text in row.texts if text.allowed is not None]
    return {
        "capability_labels": torch.tensor([row.capability_labels for row in rows]),
        "tasks": [row.task for row in rows],
        **({"allowed": torch.from_numpy(np.concatenate(masks))} if masks else {}),
        **({} if rows[0].is_counted else {"is_counted": False}),
    }


@dataclass(frozen=True)
class TrainingData:
    """The examples that a run learns from, and those it watches."""

    train: Sequence[Example]
    validation: tuple[Example, ...]
    shares: dict[str, DatasetShare]


def read_training_data(config: TrainConfig) -> TrainingData:
    """The training mixture without leaks, and some validation examples of each data set.

    Raises:
        DataError: data cannot be read, or there is no example to train on.
    """
    options = config.data.mixture.model_copy(update={"seed": config.seed})
    mixture = build_mixture(config.data.train, held_out=config.data.held_out, options=options)
    if not mixture.examples:
        num_leaked = sum(share.leaked for share in mixture.shares.values())
        why = f"; {counted(num_leaked, 'text')} are held out" if num_leaked else ""
        raise DataError(
            "the training data",
            [f"there is no example to train on{why}"],
            "look at data.train in the YAML file",
        )
    validation: list[Example] = []
    for folder in config.data.train:
        if (folder / "validation.jsonl").exists():
            examples = read_examples(folder / "validation.jsonl")
            generator = generator_for(config.seed, f"validation/{folder.name}")
            validation += sample_examples(examples, VALIDATION_EXAMPLES_PER_DATASET, generator)
    return TrainingData(mixture.examples, tuple(validation), dict(mixture.shares))


def warming_examples(examples: Sequence[Example], config: TrainConfig) -> list[Example]:
    """D_J, D_L and D_A together; every row is gated by its own capability."""
    chosen = []
    for capability in CAPABILITIES:
        generator = generator_for(config.seed, f"warming/{capability}")
        subset = capability_subset(examples, capability)
        chosen += sample_examples(subset, config.warming.max_per_capability, generator)
    return chosen
