"""Rows of examples that share one instruction: I, X1, Y1, X2, Y2, ...

An instruction with its schema is half of what a model reads of an example, and the texts of a data set
could all be asked the same question. Here several are: they stand in one row behind a single instruction,
each sees the instruction and itself only, and its positions go on from the end of the instruction. So
every text reads exactly what it would read in a row of its own, at about 60 % of the tokens. All rows have
the same length, which lets the model be compiled and spares the CPU's libraries ever new shapes.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ucuie.data import SchemaAugmentation, generator_for, narrow_schema, vary_schema, with_schema
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.language.encode import PromptEncoder
from ucuie.language.linearize import linearize
from ucuie.language.pool import InstructionPool
from ucuie.schema import Example, Frame, Schema
from ucuie.train.objective import IGNORED
from ucuie.train.rows import open_choices

ATTENTION = "ucuie_shared_rows"
SHARED = 0
"""The segment of the instruction, which all others see."""
PADDING = -1
SORTED_TOGETHER = 100
SPARE_TOKENS = 16  # by which a drawn wording may be longer than the default one


@dataclass(frozen=True)
class SharedRow:
    """One row of L tokens.

    Args:
        ids: its tokens, (L,).
        positions: of each token in the text's own sequence, (L,).
        segments: 0 for the instruction, 1, 2, ... for the texts, -1 for padding, (L,).
        labels: the token at the places that are learned, `IGNORED` elsewhere, (L,).
        allowed: what the grammar allows at each labelled place, packed, (N, ceil(V / 32)).
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    segments: NDArray[np.int64]
    labels: NDArray[np.int64]
    allowed: NDArray[np.int32]


class SharedRows(Dataset[SharedRow]):
    """The rows of an epoch; all chance comes from (seed, epoch, place), so a resumed run goes on exactly.

    Args:
        examples: of any tasks.
        encoder: makes the token ids.
        pool: the wordings of instructions are drawn from it.
        grammars: compile the grammars of the grammar objective.
        augmentation: how schemas vary; with `max_frames`, the texts of a row have at most so many in all.
        length: L, tokens of a row. Examples that do not fit alone are left out; `num_too_long` counts them.
        seed: of all chance.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        encoder: PromptEncoder,
        *,
        pool: InstructionPool,
        grammars: GrammarFactory,
        augmentation: SchemaAugmentation,
        length: int,
        seed: int = 0,
    ) -> None:
        self._examples = examples
        self._encoder = encoder
        self._pool = pool
        self._grammars = grammars
        self._augmentation = augmentation
        self._length = length
        self._seed = seed
        # Those that can be asked the same: of one task over one schema, which has a number.
        self._groups: dict[tuple[str, Schema], list[int]] = defaultdict(list)
        self._frames: dict[int, frozenset[str]] = {}
        self._lengths: dict[int, int] = {}
        negatives: dict[str, dict[str, Frame]] = defaultdict(dict)
        for index, example in enumerate(examples):
            narrow = narrow_schema(example, augmentation.max_frames)
            encoded = encoder.encode_example(narrow)
            own = len(encoded.text_ids) + len(encoded.target_ids)
            if len(encoded.instruction_ids) + SPARE_TOKENS + own > length:
                continue
            self._groups[example.task, example.schema].append(index)
            self._frames[index] = frozenset(record.frame for record in example.records)
            self._lengths[index] = own
            negatives[example.task].update({frame.name: frame for frame in example.schema.frames})
        self._negatives = {task: list(by_name.values()) for task, by_name in negatives.items()}
        self.num_too_long = len(examples) - len(self._lengths)
        self.plan: list[list[int]] = []
        self._epoch = 0

    def __len__(self) -> int:
        return len(self.plan)

    def set_epoch(self, epoch: int) -> None:
        """Plans another epoch: which examples stand in which row."""
        self._epoch = epoch
        generator = random.Random(f"{self._seed}/{epoch}")
        self.plan = []
        for (task, schema), indices in self._groups.items():
            self.plan += self._rows_of_group(task, schema, indices, generator)
        generator.shuffle(self.plan)

    def _rows_of_group(
        self, task: str, schema: Schema, indices: list[int], generator: random.Random
    ) -> Iterator[list[int]]:
        """Random rows of a group, each filled as far as its next example leaves room."""
        maximum = self._augmentation.max_frames or len(schema.frames)
        usual = len(self._encoder.encode_instruction(task, Schema(frames=schema.frames[:maximum])))
        row: list[int] = []
        frames: frozenset[str] = frozenset()
        left = self._length
        for index in self._with_similar_lengths(generator.sample(indices, len(indices))):
            has_room = self._lengths[index] <= left and len(frames | self._frames[index]) <= maximum
            if row and not has_room:
                yield row
                row = []
            if not row:
                frames, left = frozenset(), self._length - usual
            row.append(index)
            frames |= self._frames[index]
            left -= self._lengths[index]
        if row:
            yield row

    def _with_similar_lengths(self, indices: list[int]) -> Iterator[int]:
        """The same order in the large; attention over a row costs as much as its longest text allows."""
        for start in range(0, len(indices), SORTED_TOGETHER):
            yield from sorted(indices[start : start + SORTED_TOGETHER], key=self._lengths.__getitem__)

    def __getitem__(self, place: int) -> SharedRow:
        examples = [self._examples[index] for index in self.plan[place]]
        generator = generator_for(self._seed, f"row {place}", self._epoch)
        # What holds for all records together holds for those of each text.
        records = tuple(record for example in examples for record in example.records)
        task = examples[0].task
        schema = vary_schema(
            examples[0].schema,
            records,
            generator,
            augmentation=self._augmentation,
            negatives=self._negatives[task],
        )
        instruction = self._encoder.encode_instruction(task, schema, self._pool.sample(task, generator))
        return self._row(instruction, [with_schema(example, schema) for example in examples])

    def _row(self, instruction: list[int], examples: Sequence[Example]) -> SharedRow:
        """The row; texts that do not fit after all are left to another epoch."""
        ids = np.zeros(self._length, np.int64)
        positions = np.zeros(self._length, np.int64)
        segments = np.full(self._length, PADDING, np.int64)
        labels = np.full(self._length, IGNORED, np.int64)
        allowed = []
        end = min(len(instruction), self._length)
        ids[:end], positions[:end], segments[:end] = instruction[:end], range(end), SHARED
        for segment, example in enumerate(examples, 1):
            text = self._encoder.encode_text(example.text, example.elements)
            *target, eos = self._encoder.encode_target(linearize(example.records, example.schema))
            target, open_places, masks = open_choices(example, target, self._grammars)
            sequence = [*text, *target, eos]
            start, end = end, end + len(sequence)
            if end > self._length:
                break
            ids[start:end], segments[start:end] = sequence, segment
            positions[start:end] = range(len(instruction), len(instruction) + len(sequence))
            learned = start + len(text) + open_places
            labels[learned] = ids[learned]
            allowed.append(masks)
        width = -(-self._grammars.vocab_size // 32)
        return SharedRow(
            ids, positions, segments, labels, np.concatenate([np.zeros((0, width), np.int32), *allowed])
        )


def collate(rows: Sequence[SharedRow]) -> dict[str, Tensor]:
    """Rows as the inputs of `task_loss`: (B, L) each, `allowed` (N, ceil(V / 32)), and `segments`."""
    return {
        "input_ids": torch.from_numpy(np.stack([row.ids for row in rows])),
        "position_ids": torch.from_numpy(np.stack([row.positions for row in rows])),
        "segments": torch.from_numpy(np.stack([row.segments for row in rows])),
        "labels": torch.from_numpy(np.stack([row.labels for row in rows])),
        "allowed": torch.from_numpy(np.concatenate([row.allowed for row in rows])),
    }


class Layout:
    """Where the parts of some rows stand, and the attention that follows from it.

    Each text attends with its own queries to the instruction and to itself, so what a row costs is the sum
    of its texts; one mask over whole rows costs the square of their length, three times as much.

    Args:
        segments: of the rows, (B, L).
    """

    def __init__(self, segments: Tensor) -> None:
        self._length = segments.shape[1]
        self._rows = [_Parts.of(row) for row in segments]

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What each token reads, (B, L, H, D), from queries, keys and values (B, H, L, D)."""
        rows = []
        for row, states in zip(self._rows, zip(query, key, value, strict=True), strict=True):
            mixed = torch.cat([row.attend_instruction(*states), row.attend_texts(*states)], dim=1)
            rows.append(F.pad(mixed, (0, 0, 0, self._length - mixed.shape[1])))
        return torch.stack(rows).transpose(1, 2)


@dataclass(frozen=True)
class _Parts:
    """The parts of one row.

    Args:
        instruction: tokens of the instruction, I.
        index: of the tokens of K texts as a rectangle of their places in the row, (K, S).
        is_token: which of them are no padding, (K, S).
        visible: what the tokens of a text see of the instruction and the text, (S, I + S).
    """

    instruction: int
    index: Tensor
    is_token: Tensor
    visible: Tensor

    @classmethod
    def of(cls, segments: Tensor) -> "_Parts":
        _, counts = torch.unique_consecutive(segments[segments != PADDING], return_counts=True)
        instruction, *texts = counts.tolist()
        lengths = torch.tensor(texts, dtype=torch.long, device=segments.device)
        places = torch.arange(max(texts, default=0), device=segments.device)
        starts = instruction + lengths.cumsum(0) - lengths
        is_token = places < lengths.unsqueeze(1)
        visible = torch.ones(len(places), instruction + len(places), dtype=torch.bool)
        return cls(
            instruction,
            torch.where(is_token, starts.unsqueeze(1) + places, 0),
            is_token,
            visible.tril(instruction).to(segments.device),
        )

    def attend_instruction(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(H, I, D) of (H, L, D)."""
        own = [states[:, : self.instruction].unsqueeze(0) for states in (query, key, value)]
        return F.scaled_dot_product_attention(*own, is_causal=True)[0]

    def attend_texts(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(H, M, D) of (H, L, D), for the M tokens of all texts in their order."""
        keys, values = (self._with_instruction(states) for states in (key, value))
        queries = self._by_text(query) * query.shape[-1] ** -0.5
        # In separate products: for so few tokens the CPU's fused kernel takes more than twice as long.
        scores = (queries @ keys.mT).float().masked_fill(~self.visible, -torch.inf)
        mixed = scores.softmax(-1).to(values.dtype) @ values
        return mixed.transpose(0, 1).flatten(1, 2)[:, self.is_token.flatten()]

    def _by_text(self, states: Tensor) -> Tensor:
        """(K, H, S, D) of (H, L, D)."""
        heads, _, width = states.shape
        taken = states.index_select(1, self.index.flatten())
        return taken.view(heads, *self.index.shape, width).transpose(0, 1)

    def _with_instruction(self, states: Tensor) -> Tensor:
        """(K, H, I + S, D) of (H, L, D)."""
        shared = states[:, : self.instruction].expand(len(self.index), -1, -1, -1)
        return torch.cat([shared, self._by_text(states)], dim=2)


def use_shared_attention(model: Any) -> None:
    """From now on a model attends by the `layout` that its forwards are given, if they are given one."""
    model.config._attn_implementation = ATTENTION


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What `transformers` calls in each layer."""
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return layout.attend(query, key, value), None


AttentionInterface.register(ATTENTION, _attention)
