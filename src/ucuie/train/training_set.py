"""Examples as the model reads them while training: augmented, worded, tokenised, with what to learn marked.

`TrainingSet` maps (epoch, index) to a `TrainingRow`; all chance comes from (seed, epoch, example id), so a
row is the same whatever was drawn before and a resumed run continues exactly. `collate` pads rows into the
inputs of `objective.task_loss`; `EpochSampler` orders them so that a batch holds rows of similar length.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from ucuie.capabilities import capability_labels
from ucuie.data import SchemaAugmentation, augment_schema, generator_for, narrow_schema
from ucuie.decode.grammar import build_grammar
from ucuie.decode.state import GrammarFactory, Target, TargetError, choices
from ucuie.encode import EncodedExample, PromptEncoder
from ucuie.instructions import InstructionPool
from ucuie.schema import Example, Frame
from ucuie.train.objective import IGNORED

Key = tuple[int, int]
"""(epoch, index of the example, or `FILLER`)."""

FILLER = -1
"""Stands where a step that several share has no row for one of them: a row that does not count."""

BATCHES_PER_BUCKET = 50
USUAL = 0.95
"""The share of texts that counts as nearly all."""


@dataclass(frozen=True)
class TrainingRow:
    """One sequence I, X, Y.

    Args:
        ids: its tokens.
        instruction_length: how many of them are the instruction.
        positions: of the tokens that are learned, ascending.
        allowed: what the grammar allows at each of them, packed; None for the full objective.
        capability_labels: 1 for each capability that the task needs, (C,).
        task: the task or capability.
        is_counted: whether it is learned from, and has a part in the losses.
    """

    ids: list[int]
    instruction_length: int
    positions: NDArray[np.intp]
    allowed: NDArray[np.int32] | None
    capability_labels: tuple[float, ...]
    task: str
    is_counted: bool = True


class TrainingSet(Dataset[TrainingRow]):
    """Training rows of some examples.

    Args:
        examples: of any tasks and capabilities.
        encoder: makes the token ids.
        pool: its wordings are drawn from; None always takes the encoder's default wording.
        grammars: compiles the grammars of the grammar objective; None trains the full objective.
        augmentation: how schemas vary; None leaves them as they are.
        max_length: tokens of the longest row. Examples that do not fit with the default wording and their
            whole schema, or as much of it as the augmentation lets stand, are left out; `num_too_long`
            counts them.
        seed: of all chance.
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
        seed: int = 0,
    ) -> None:
        self._max_frames = None if augmentation is None else augmentation.max_frames
        # Examples may be parsed when they are asked for, so they are visited once and not kept.
        self._examples = examples
        self._indices: list[int] = []
        self.lengths: list[int] = []
        text_lengths: list[int] = []
        # Every frame of every task, once for each name: the pool of hard-negative labels.
        frames: dict[str, dict[str, Frame]] = {}
        for index, example in enumerate(examples):
            narrow = narrow_schema(example, self._max_frames)
            encoded = encoder.encode_example(narrow)
            length = _length(encoded)
            if length <= max_length:
                self._indices.append(index)
                self.lengths.append(length)
                text_lengths.append(len(encoded.text_ids))
                frames.setdefault(example.task, {}).update({one.name: one for one in example.schema.frames})
        self.usual_text_length = round(np.quantile(text_lengths, USUAL)) if text_lengths else 0
        """Tokens that nearly all texts stay within."""
        self.num_too_long = len(examples) - len(self._indices)
        self._negatives = {task: list(by_name.values()) for task, by_name in frames.items()}
        self._encoder = encoder
        self._pool = pool
        self._grammars = grammars
        self._augmentation = augmentation
        self._max_length = max_length
        self._seed = seed

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, key: Key | int) -> TrainingRow:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if index == FILLER:
            return replace(self[epoch, 0], is_counted=False)
        example = self._examples[self._indices[index]]
        generator = generator_for(self._seed, example.id, epoch)
        varied = self._vary(example, generator)
        wording = None if self._pool is None else self._pool.sample(varied.task, generator)
        encoded = self._encoder.encode_example(varied, wording)
        if _length(encoded) > self._max_length:
            varied = narrow_schema(example, self._max_frames)
            encoded = self._encoder.encode_example(varied)
        return self._row(varied, encoded)

    def _vary(self, example: Example, generator: random.Random) -> Example:
        if self._augmentation is None:
            return example
        negatives = self._negatives[example.task]
        return augment_schema(example, generator, augmentation=self._augmentation, negatives=negatives)

    def _row(self, example: Example, encoded: EncodedExample) -> TrainingRow:
        *target, end = encoded.target_ids
        if self._grammars is None:
            positions, allowed = np.arange(len(encoded.target_ids)), None
        else:
            target, positions, allowed = open_choices(example, target, self._grammars)
        start = len(encoded.instruction_ids) + len(encoded.text_ids)
        return TrainingRow(
            ids=[*encoded.instruction_ids, *encoded.text_ids, *target, end],
            instruction_length=len(encoded.instruction_ids),
            positions=positions + start,
            allowed=allowed,
            capability_labels=capability_labels(example.task),
            task=example.task,
        )


def open_choices(example: Example, target_ids: list[int], grammars: GrammarFactory) -> Target:
    """The open positions of an example's target; spans that end inside a word take the finer grammar."""
    build = partial(build_grammar, example.schema, example.text, example.task, elements=example.elements)
    try:
        return choices(target_ids, grammars.start(build()))
    except TargetError:
        return choices(target_ids, grammars.start(build(chunking="characters")))


def _length(encoded: EncodedExample) -> int:
    return len(encoded.instruction_ids) + len(encoded.text_ids) + len(encoded.target_ids)


class EpochSampler(Sampler[Key]):
    """Keys of one epoch in random order, rows of similar length side by side.

    The order is a function of (seed, epoch). The last step is filled up to a whole one with rows that do not
    count. `set_epoch` is what the Trainer calls.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Start over with the order of another epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return _in_whole_steps(len(self._lengths), self._batch_size)

    def __iter__(self) -> Iterator[Key]:
        generator = random.Random(f"{self._seed}/{self._epoch}")
        indices = list(range(len(self._lengths)))
        generator.shuffle(indices)
        bucket = self._batch_size * BATCHES_PER_BUCKET
        batches = []
        for start in range(0, len(indices), bucket):
            by_length = sorted(indices[start : start + bucket], key=self._lengths.__getitem__)
            batches += [
                by_length[first : first + self._batch_size]
                for first in range(0, len(by_length), self._batch_size)
            ]
        generator.shuffle(batches)
        # A short batch anywhere but at the end would shift the borders of all that follow.
        batches.sort(key=len, reverse=True)
        for batch in batches:
            for index in batch:
                yield self._epoch, index
        yield from _fillers(self._epoch, len(self._lengths), self._batch_size)


class EvaluationSampler(Sampler[Key]):
    """Keys of all rows in their order, as one epoch of whole steps."""

    def __init__(self, num_rows: int, *, batch_size: int) -> None:
        self._num_rows = num_rows
        self._batch_size = batch_size

    def __len__(self) -> int:
        return _in_whole_steps(self._num_rows, self._batch_size)

    def __iter__(self) -> Iterator[Key]:
        for index in range(self._num_rows):
            yield 0, index
        yield from _fillers(0, self._num_rows, self._batch_size)


def _in_whole_steps(num_rows: int, batch_size: int) -> int:
    return -(-num_rows // batch_size) * batch_size


def _fillers(epoch: int, num_rows: int, batch_size: int) -> Iterator[Key]:
    """What the last step lacks. Accelerate would give processes rows again, and they would count."""
    for _ in range(_in_whole_steps(num_rows, batch_size) - num_rows):
        yield epoch, FILLER


def collate(rows: Sequence[TrainingRow], *, pad_id: int) -> dict[str, Any]:
    """Rows as right-padded inputs of `objective.task_loss` and of the adapter.

    `input_ids`, `attention_mask`, `labels` and `instruction_mask` are (B, T), `capability_labels` is
    (B, C), `allowed` is (N, ceil(V / 32)) and absent for the full objective; `tasks` are B names. Rows that
    do not count are left out; where none counts, B is 1 and `is_counted` is False.
    """
    rows = counted(rows)
    width = max(len(row.ids) for row in rows)
    input_ids = torch.full((len(rows), width), pad_id)
    labels = torch.full((len(rows), width), IGNORED)
    lengths = torch.tensor([[len(row.ids)] for row in rows])
    instruction_lengths = torch.tensor([[row.instruction_length] for row in rows])
    for index, row in enumerate(rows):
        ids = torch.tensor(row.ids)
        input_ids[index, : len(ids)] = ids
        labels[index, row.positions] = ids[row.positions]
    places = torch.arange(width)
    batch: dict[str, Any] = {
        "input_ids": input_ids,
        "attention_mask": (places < lengths).long(),
        "labels": labels,
        "instruction_mask": places < instruction_lengths,
        "capability_labels": torch.tensor([row.capability_labels for row in rows]),
        "tasks": [row.task for row in rows],
    }
    return batch | stacked_masks(rows) | empty_mark(rows)


def stacked_masks(rows: Sequence[TrainingRow]) -> dict[str, torch.Tensor]:
    """`allowed` of a batch, (N, ceil(V / 32)); nothing for the full objective."""
    masks = [row.allowed for row in rows if row.allowed is not None]
    return {"allowed": torch.from_numpy(np.concatenate(masks))} if masks else {}


def counted(rows: Sequence[TrainingRow]) -> Sequence[TrainingRow]:
    """The rows that count, or one that does not where none does, for a batch has to have one."""
    return [row for row in rows if row.is_counted] or rows[:1]


def empty_mark(rows: Sequence[TrainingRow]) -> dict[str, bool]:
    """`is_counted` of a batch without a row that counts; nothing for others."""
    return {} if rows[0].is_counted else {"is_counted": False}
