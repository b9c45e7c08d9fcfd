"""Rows of one length, each with as many examples behind one instruction as it holds: I, X1, Y1, X2, Y2, ...

An instruction with its schema is half of what a model reads of an example, and the texts of a data set
could all be asked the same question. Here several are, at about 60 % of the tokens: they are rows of
`ucuie.train`, which every text reads as if it were alone behind the instruction. All rows have the same
length, which spares the CPU's libraries ever new shapes.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ucuie.data import SchemaAugmentation, generator_for, narrow_schema, vary_schema, with_schema
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.schema import Example, Frame, Schema
from ucuie.schema.capabilities import capability_labels
from ucuie.train.packing import pack
from ucuie.train.rows import AskedText, TrainingRow, asked_text

MODEL_INPUTS = ("input_ids", "position_ids", "labels", "allowed", "layout")
SORTED_TOGETHER = 100
SPARE_TOKENS = 16  # by which a drawn wording may be longer than the default one


class SharedRows(Dataset[TrainingRow]):
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
            narrow = narrow_schema(example.schema, example.records, augmentation.max_frames)
            encoded = encoder.encode_example(with_schema(example, narrow))
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

    def __getitem__(self, place: int) -> TrainingRow:
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
        wording = self._pool.sample(task, generator)
        instruction = self._encoder.encode_instruction(task, schema, wording)[: self._length]
        texts, left = [], self._length - len(instruction)
        for example in (with_schema(example, schema) for example in examples):
            text = asked_text(example, self._encoder.encode_example(example, wording), self._grammars)
            if len(text.ids) > left:
                break  # left to another epoch
            texts.append(text)
            left -= len(text.ids)
        if left:
            texts.append(self._padding(left))
        return TrainingRow(instruction, tuple(texts), capability_labels(task), task)

    def _padding(self, length: int) -> AskedText:
        """A text that nothing is learned of."""
        masks = np.zeros((0, -(-self._grammars.vocab_size // 32)), np.int32)
        return AskedText([0] * length, np.arange(0), masks)


def collate(rows: Sequence[TrainingRow]) -> dict[str, Any]:
    """Rows as one, with the inputs of `task_loss`, and `num_tokens`, those that are no padding."""
    texts = [text for row in rows for text in row.texts]
    padding = sum(len(text.ids) for text in texts if not len(text.positions))
    batch = {name: part for name, part in pack(rows).items() if name in MODEL_INPUTS}
    return batch | {"num_tokens": batch["input_ids"].numel() - padding}
