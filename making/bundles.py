"""Bundles: a few texts that are asked the same, with a schema that is drawn for them.

Training packs the texts of a bundle behind one instruction, so they share their schema to the letter. A
bundle asks for one or two types or for a dozen, of which some stand in its texts and some surely do not.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from making.absent import has_other_names, likeness, may_be_asked
from making.wording import Wording, reworded
from ucuie.language.linearize import order_records
from ucuie.schema import Example, Frame, Record, Schema, Task

Absent = Literal["schema", "source", "none"]
SORTED_TOGETHER = 64
LOOKED_AT = 16
"""Texts that are tried as the next of a bundle; absent types that are looked at for each one wanted."""
FOREIGN_OF_ABSENT = 0.5
"""The share of types of another field where none of the types asked for stands."""
FEW_TEXTS = 16
"""Texts of one schema that are too few to be bundled among themselves."""
ALWAYS_SLOTS = 2
"""Relations and opinions always have their two slots; those of events come and go."""
KEEP_ALL_SLOTS = 0.3
ARE_THERE = 0.85
"""The share of bundles with one or two types that ask for some that stand in their texts."""
ALL_PRESENT = 0.85
"""The share of other bundles that ask for all types that stand in their texts, as far as there is room."""
_LEFTOVER = re.compile(r"(?:other|miscellaneous)\b")
"""What is left of a set's types: it means nothing alone, and is asked for with all the others only."""


class BundleOptions(BaseModel):
    """How bundles are made; shares are probabilities.

    Args:
        min_texts: of a bundle, where there are as many that fit.
        max_texts: of a bundle.
        max_characters: of all texts of a bundle, unless its first is longer.
        max_present: types of a schema that stand in a text of the bundle.
        max_frames: types of a schema.
        few_frames: share of bundles that ask for one or two types only.
        whole: share of bundles that ask for all types of their set, where that has at most `max_whole`.
        max_whole: types of a set.
        all_absent: share of bundles in which none of the types asked for stands.
        foreign: share of bundles with types of another field, where there is one that the texts surely lack.
        fewer_slots: share of bundles whose events lack a role that is filled.
        renamed: see `Wording`.
        described: see `Wording`.
        styled: see `Wording`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_texts: int = 3
    max_texts: int = 8
    max_characters: int = 900
    max_present: int = 12
    max_frames: int = 14
    few_frames: float = 0.25
    whole: float = 0.3
    max_whole: int = 26
    all_absent: float = 0.04
    foreign: float = 0.1
    fewer_slots: float = 0.15
    renamed: float = 0.3
    described: float = 0.4
    styled: float = 0.12

    @property
    def wording(self) -> Wording:
        """How names change."""
        return Wording(renamed=self.renamed, described=self.described, styled=self.styled)


@dataclass(frozen=True)
class Pool:
    """Texts of one set that may be asked the same.

    Args:
        task: of all of them.
        examples: their texts and records.
        absent: where types without a record may come from; see `making.sources.Source`.
        frames: of all examples of the pool, by name.
        foreign: types of other fields that the field of these texts has nothing of, by task.
    """

    task: Task
    examples: Sequence[Example]
    absent: Absent
    frames: dict[str, Frame]
    foreign: dict[Task, Sequence[Frame]] = field(default_factory=dict)


def pools(examples: Sequence[Example], absent: Absent, foreign: dict[Task, Sequence[Frame]]) -> list[Pool]:
    """Examples by what they can be asked together: those of one schema, or of one task."""
    groups: dict[tuple[str, Schema | None], list[Example]] = defaultdict(list)
    numbers: dict[int, Schema] = {}
    for example in examples:
        # Examples of a file share their schema, so that it is compared by content once only.
        schema = numbers.setdefault(id(example.schema), example.schema)
        groups[example.task, None if absent == "source" else schema].append(example)
    if absent == "schema":
        groups = _few_together(groups)
    found = []
    for (task, _), members in groups.items():
        schemas = {id(example.schema): example.schema for example in members}.values()
        frames = {
            frame.name: frame
            for schema in schemas
            for frame in schema.frames
            if not _LEFTOVER.match(frame.name)
        }
        found.append(Pool(task, members, absent, frames, foreign))  # type: ignore[arg-type]
    return found


def _few_together(
    groups: Mapping[tuple[str, Schema | None], list[Example]],
) -> dict[tuple[str, Schema | None], list[Example]]:
    """The groups; those of few texts become one of each task, for most of their texts would stand alone."""
    result: dict[tuple[str, Schema | None], list[Example]] = defaultdict(list)
    for (task, schema), members in groups.items():
        result[task, schema if len(members) >= FEW_TEXTS else None] += members
    return result


def bundles(pool: Pool, options: BundleOptions, generator: random.Random) -> Iterator[list[Example]]:
    """One pass over the texts of a pool: each in one bundle, those of similar length together."""
    for texts in _groups(pool, options, generator):
        bundle = _asked_the_same(pool, texts, options, generator)
        if bundle:
            yield bundle


def _groups(pool: Pool, options: BundleOptions, generator: random.Random) -> Iterator[list[Example]]:
    shuffled = generator.sample(pool.examples, len(pool.examples))
    for start in range(0, len(shuffled), SORTED_TOGETHER):
        left = sorted(shuffled[start : start + SORTED_TOGETHER], key=lambda one: len(one.text))
        while left:
            yield _group(pool, left, options, generator)


def _group(
    pool: Pool, left: list[Example], options: BundleOptions, generator: random.Random
) -> list[Example]:
    """The first text and others of those next to it that can be asked the same; taken out of `left`."""
    size = generator.randint(options.min_texts, options.max_texts)
    group = [left.pop(0)]
    length = len(group[0].text)
    looked_at = 0
    while left and len(group) < size and looked_at < min(LOOKED_AT, len(left)):
        candidate = left[looked_at]
        if length + len(candidate.text) > options.max_characters:
            break
        if not _go_together(pool, [*group, candidate], options.max_present):
            looked_at += 1
            continue
        group.append(left.pop(looked_at))
        length += len(candidate.text)
    return group


def _go_together(pool: Pool, texts: Sequence[Example], max_present: int) -> bool:
    """Whether each may be asked for the types of all: of all that stand in a text, or of its whole schema."""
    if pool.absent != "source":
        return all(text.schema is texts[0].schema for text in texts) or _present(texts) <= _shared(texts)
    frames = {frame.name: frame for text in texts for frame in text.schema.frames}
    return len(frames) <= max_present and all(_is_absent(frame, texts) for frame in frames.values())


def _present(texts: Sequence[Example]) -> set[str]:
    return {record.frame for text in texts for record in text.records}


def _shared(texts: Sequence[Example]) -> set[str]:
    """The types that all of some texts were annotated for."""
    return set.intersection(*(set(text.schema.frame_names) for text in texts))


def _asked_the_same(
    pool: Pool, texts: Sequence[Example], options: BundleOptions, generator: random.Random
) -> list[Example]:
    """The texts with a schema drawn for them; empty where none could be."""
    task, frames = _drawn_frames(pool, texts, options, generator)
    if not frames:
        return []
    records = [record for text in texts for record in text.records]
    frames = [_with_some_slots(frame, records, options, generator) for frame in frames]
    generator.shuffle(frames)
    schema = Schema(frames=tuple(frames))
    # Who only has a schema is asked by its shape: events of two roles as a relation.
    task = generator.choice((task, schema.task))
    new, renaming = reworded(schema, options.wording, generator)
    asked_for = {frame.name: set(frame.slot_names) for frame in frames}
    return [
        replace(text, task=task, schema=new, records=order_records(renaming.applied(records), new))
        for text, records in ((text, _narrowed(text.records, asked_for)) for text in texts)
    ]


def _drawn_frames(
    pool: Pool, texts: Sequence[Example], options: BundleOptions, generator: random.Random
) -> tuple[Task, list[Frame]]:
    """What the texts are asked for: types that stand in them, types that do not, or only such."""
    counts = Counter(
        name for text in texts for name in {record.frame for record in text.records} if name in pool.frames
    )
    present = sorted(counts)
    chance = generator.random()
    if chance < options.all_absent:
        return _only_absent(pool, texts, present, options, generator)
    if chance < options.all_absent + options.few_frames:
        number = generator.randint(1, 2)
        names = []
        if present and generator.random() < ARE_THERE:
            # Those that more of the texts have are likelier: of a rare one most rows would be empty.
            drawn = generator.choices(present, [counts[name] for name in present], k=number)
            names = list(dict.fromkeys(drawn))
        names = names or _absent_names(pool, texts, present, number, generator)
    elif pool.absent == "schema" and len(pool.frames) <= options.max_whole and chance > 1 - options.whole:
        shared = _shared(texts)
        # Among all the others, what is left of a set's types has a meaning.
        return pool.task, [frame for frame in texts[0].schema.frames if frame.name in shared]
    else:
        total = generator.randint(3, options.max_frames)
        most = min(total, options.max_present, len(present))
        number = most if generator.random() < ALL_PRESENT else generator.randint(min(1, most), most)
        names = generator.sample(present, number)
        names += _absent_names(pool, texts, present, total - number, generator)
    frames = [pool.frames[name] for name in names]
    if generator.random() < options.foreign:
        foreign = _foreign_frames(pool, pool.task, texts)
        room = max(options.max_frames - len(frames), 0)
        frames += generator.sample(foreign, min(generator.randint(1, 2), len(foreign), room))
    return pool.task, frames


def _only_absent(
    pool: Pool,
    texts: Sequence[Example],
    present: Sequence[str],
    options: BundleOptions,
    generator: random.Random,
) -> tuple[Task, list[Frame]]:
    """Types that no text has: of the set itself, or of another field and maybe another task."""
    number = generator.choice((1, 1, 2, 2, 3, 4, 6, 8, options.max_frames))
    tasks = [task for task in pool.foreign if _foreign_frames(pool, task, texts)]
    names = _absent_names(pool, texts, present, number, generator)
    if tasks and (not names or generator.random() < FOREIGN_OF_ABSENT):
        task = generator.choice(tasks)
        foreign = _foreign_frames(pool, task, texts)
        return task, generator.sample(foreign, min(number, len(foreign)))
    return pool.task, [pool.frames[name] for name in names]


def _absent_names(
    pool: Pool, texts: Sequence[Example], present: Collection[str], number: int, generator: random.Random
) -> list[str]:
    """Types of the set that surely none of the texts has: a third near to those it has, others at random."""
    own = dict.fromkeys(name for text in texts for name in text.schema.frame_names)
    known = own if pool.absent == "source" else _shared(texts)
    candidates = [name for name in own if name in known and name in pool.frames and name not in present]
    if pool.absent == "source" and number:
        others = [name for name in pool.frames if name not in own]
        candidates += generator.sample(others, min(LOOKED_AT * number, len(others)))
        candidates = [name for name in candidates if _is_absent(pool.frames[name], texts)]
    generator.shuffle(candidates)
    if present:
        nearest = sorted(candidates, key=lambda name: -max(likeness(name, one) for one in present))
        near = nearest[: -(-number // 3)]
        candidates = near + [name for name in candidates if name not in near]
    return candidates[:number]


def _is_absent(frame: Frame, texts: Sequence[Example]) -> bool:
    """Whether a type of a source surely stands in none of its texts that were not annotated for it."""
    others = [text for text in texts if frame.name not in text.schema.frame_names]
    are_names_known = frame.slots or frame.name.endswith("?") or not any(map(_has_other_names, others))
    return bool(are_names_known) and all(
        may_be_asked(frame.name, text.schema.frame_names, text.text) for text in others
    )


def _has_other_names(text: Example) -> bool:
    spans = (filler.span for record in text.records for filler in record.fillers())
    return has_other_names(text.text, tuple(spans))


def _foreign_frames(pool: Pool, task: Task, texts: Sequence[Example]) -> list[Frame]:
    """Types of other fields that surely none of the texts has."""
    own = [(text.schema.frame_names, text.text) for text in texts]
    return [
        frame
        for frame in pool.foreign.get(task, ())
        if frame.name not in pool.frames and all(may_be_asked(frame.name, *one) for one in own)
    ]


def _with_some_slots(
    frame: Frame, records: Sequence[Record], options: BundleOptions, generator: random.Random
) -> Frame:
    """Of an event with many roles those that are filled and some others, in random order."""
    if len(frame.slots) <= ALWAYS_SLOTS:
        return frame
    of_frame = [record for record in records if record.frame == frame.name]
    filled = {slot.slot for record in of_frame for slot in record.slots}
    # Without a trigger, what is left of two records might be the same.
    is_triggered = all(record.filler is not None for record in of_frame)
    if is_triggered and len(filled) > 1 and generator.random() < options.fewer_slots:
        filled.discard(generator.choice(sorted(filled)))
        left_out = {slot.slot for record in of_frame for slot in record.slots} - filled
    else:
        left_out = set()
    open_slots = [name for name in frame.slot_names if name not in filled and name not in left_out]
    number = len(open_slots) if generator.random() < KEEP_ALL_SLOTS else generator.randint(0, len(open_slots))
    names = filled | set(generator.sample(open_slots, number))
    slots = [slot for slot in frame.slots if slot.name in names] or list(frame.slots[:1])
    generator.shuffle(slots)
    return frame.model_copy(update={"slots": tuple(slots)})


def _narrowed(records: Sequence[Record], asked_for: dict[str, set[str]]) -> list[Record]:
    """Those of the records, and of their slots, that are asked for."""
    narrowed = []
    for record in records:
        if record.frame not in asked_for:
            continue
        kept = tuple(slot for slot in record.slots if slot.slot in asked_for[record.frame])
        if record.filler is not None or kept or not record.slots:
            narrowed.append(record.model_copy(update={"slots": kept}))
    return narrowed
