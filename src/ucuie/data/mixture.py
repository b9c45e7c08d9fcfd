"""The training mixture: sampling, leak guard and schema augmentation, as functions of a seed.

Everything random takes a `random.Random`; `generator_for` makes one from (seed, epoch, example id),
so that a resumed run sees the same examples whatever it has drawn before.
"""

import random
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ucuie.data.examples import read_examples
from ucuie.linearize import order_records
from ucuie.schema import Example, Frame, Schema


class SchemaAugmentation(BaseModel):
    """How the schema of a training example varies.

    Args:
        shuffle: the order of the frames, and of the slots of frames that have more than two, is random.
        keep_all: probability that no label is dropped.
        max_frames: at most this many frames stay, those in the text always; None is no limit.
        max_negatives: at most this many frames of the pool of negatives are added; 0 adds none. A frame
            of another data set may well stand in the text without being annotated, so use it with care.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shuffle: bool = True
    keep_all: float = Field(default=0.3, ge=0, le=1)
    max_frames: int | None = Field(default=None, ge=1)
    max_negatives: int = Field(default=0, ge=0)


def generator_for(seed: int, example_id: str, epoch: int = 0) -> random.Random:
    """The generator for one example in one epoch."""
    return random.Random(f"{seed}/{epoch}/{example_id}")


def augment_schema(
    example: Example,
    generator: random.Random,
    *,
    augmentation: SchemaAugmentation | None = None,
    negatives: Sequence[Frame] = (),
) -> Example:
    """The example with another schema that its records are still right for.

    Args:
        example: of any task or capability.
        generator: all chance comes from here.
        augmentation: what may vary.
        negatives: frames that may be added; those that share a word with a frame of the example are not,
            for they may mean the same.
    """
    augmentation = augmentation or SchemaAugmentation()
    frames = _with_slots_dropped(
        _with_frames_dropped(example, generator, augmentation), example, generator, augmentation
    )
    if augmentation.max_negatives and negatives:
        frames += _drawn_negatives(example, generator, augmentation.max_negatives, negatives)
    if augmentation.shuffle:
        generator.shuffle(frames)
        frames = [_with_slots_shuffled(frame, generator) for frame in frames]
    schema = Schema(frames=tuple(frames))
    return replace(example, schema=schema, records=order_records(example.records, schema))


def _with_frames_dropped(
    example: Example, generator: random.Random, augmentation: SchemaAugmentation
) -> list[Frame]:
    """The frames of the records, and a random share of the others; at least one."""
    present = {record.frame for record in example.records}
    frames = list(example.schema.frames)
    absent = [frame.name for frame in frames if frame.name not in present]
    kept = len(absent) if generator.random() < augmentation.keep_all else generator.randint(0, len(absent))
    if augmentation.max_frames is not None:
        kept = min(kept, max(augmentation.max_frames - len(present), 0))
    names = present | set(generator.sample(absent, kept if present else max(kept, 1)))
    return [frame for frame in frames if frame.name in names]


def _with_slots_dropped(
    frames: list[Frame], example: Example, generator: random.Random, augmentation: SchemaAugmentation
) -> list[Frame]:
    """Of frames with many slots, those filled, and a random share of the others."""
    filled: dict[str, set[str]] = {}
    for record in example.records:
        filled.setdefault(record.frame, set()).update(slot.slot for slot in record.slots)
    return [
        _with_some_slots(frame, filled.get(frame.name, set()), generator, augmentation.keep_all)
        if _has_open_slots(frame)
        else frame
        for frame in frames
    ]


def _with_some_slots(frame: Frame, filled: set[str], generator: random.Random, keep_all: float) -> Frame:
    absent = [name for name in frame.slot_names if name not in filled]
    kept = len(absent) if generator.random() < keep_all else generator.randint(0, len(absent))
    names = filled | set(generator.sample(absent, kept))
    return frame.model_copy(update={"slots": tuple(slot for slot in frame.slots if slot.name in names)})


def _with_slots_shuffled(frame: Frame, generator: random.Random) -> Frame:
    if not _has_open_slots(frame):
        return frame
    slots = list(frame.slots)
    generator.shuffle(slots)
    return frame.model_copy(update={"slots": tuple(slots)})


def _has_open_slots(frame: Frame) -> bool:
    """Whether slots come and go: a relation or an opinion always has its two."""
    return len(frame.slots) > 2


def _drawn_negatives(
    example: Example, generator: random.Random, maximum: int, negatives: Sequence[Frame]
) -> list[Frame]:
    taken = set().union(*(_words(frame.name) for frame in example.schema.frames))
    pool = list({frame.name: frame for frame in negatives if not _words(frame.name) & taken}.values())
    return generator.sample(pool, min(generator.randint(0, maximum), len(pool)))


def _words(name: str) -> set[str]:
    return set(name.casefold().split())


def sample_examples(
    examples: Iterable[Example], maximum: int | None, generator: random.Random
) -> list[Example]:
    """At most `maximum` examples, all equally likely, in their order; never holds more than those."""
    reservoir: list[tuple[int, Example]] = []
    for index, example in enumerate(examples):
        if maximum is None or len(reservoir) < maximum:
            reservoir.append((index, example))
            continue
        place = generator.randrange(index + 1)
        if place < maximum:
            reservoir[place] = (index, example)
    return [example for _, example in sorted(reservoir, key=lambda pair: pair[0])]


def normalised_text(text: str) -> str:
    """What two copies of a text share whatever their tokenizer did: its letters and digits, case folded."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())


def held_out_texts(examples: Iterable[Example]) -> frozenset[str]:
    """The normalised texts of the validation and test examples among some examples."""
    return frozenset(normalised_text(example.text) for example in examples if example.split != "train")


@dataclass
class LeakGuard:
    """Drops training examples whose text is held out, and counts them.

    Args:
        held_out: normalised texts.
        seen: examples that came, dropped ones included.
        dropped: examples whose text is held out.
    """

    held_out: frozenset[str]
    seen: int = 0
    dropped: int = 0

    def keep(self, examples: Iterable[Example]) -> Iterator[Example]:
        """The examples whose text is not held out."""
        for example in examples:
            self.seen += 1
            if normalised_text(example.text) in self.held_out:
                self.dropped += 1
            else:
                yield example


class MixtureOptions(BaseModel):
    """What of each data set goes into the mixture.

    Args:
        seed: of the sampling and of the order.
        max_per_dataset: examples; None takes all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    max_per_dataset: int | None = Field(default=10_000, ge=1)


class DatasetShare(BaseModel):
    """What one data set gave to the mixture, in training examples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    available: int
    leaked: int
    used: int


@dataclass(frozen=True)
class Mixture:
    """Training examples of several data sets in random order, and what each gave."""

    examples: tuple[Example, ...]
    shares: Mapping[str, DatasetShare]


def build_mixture(
    folders: Sequence[Path], *, held_out: Sequence[Path] = (), options: MixtureOptions | None = None
) -> Mixture:
    """The training examples of converted data sets without any text that is held out.

    Args:
        folders: converted data sets to train on; their own validation and test texts are held out too.
        held_out: further converted data sets whose validation and test texts must not be trained on.
        options: cap and seed.

    Raises:
        DataError: a folder holds no unified data, or bad lines.
    """
    options = options or MixtureOptions()
    texts = held_out_texts(
        example for folder in (*folders, *held_out) for example in _evaluation_examples(folder)
    )
    examples: list[Example] = []
    shares = {}
    for folder in folders:
        guard = LeakGuard(texts)
        kept = guard.keep(read_examples(folder, split="train"))
        generator = generator_for(options.seed, folder.name)
        chosen = sample_examples(kept, options.max_per_dataset, generator)
        shares[folder.name] = DatasetShare(available=guard.seen, leaked=guard.dropped, used=len(chosen))
        examples += chosen
    generator_for(options.seed, "order").shuffle(examples)
    return Mixture(tuple(examples), shares)


def _evaluation_examples(folder: Path) -> Iterator[Example]:
    for split in ("validation", "test"):
        if (folder / f"{split}.jsonl").exists():
            yield from read_examples(folder / f"{split}.jsonl")
