r"""Makes the training file of the released model: bundles of texts that are asked the same, already varied.

    python -m making.mixture --config making/mixture.yaml --sets runs/data/* --sources runs/sources \
        --output runs/mixture --rows 60000 --seed 7

Sets are folders that `ucuie convert` made, sources what `making.sources` made. No text stands in the file
that a validation or test split of any of the folders has, nor any text of the sets called unseen, as a whole
or as one of its sentences. Beside `train.jsonl`, `table.md` and `table.json` say what went in,
and `types.json` has the names of all types that are asked for.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from making.bundles import Absent, BundleOptions, Pool, bundles, pools
from making.sources import SOURCES
from making.stretches import first_stretch
from ucuie.data import dataset_named, generator_for, normalised_text, sample_examples
from ucuie.data.examples import fingerprint, fingerprint_normalised, index_file, parse_again
from ucuie.data.mixture import held_out_texts, shares_of
from ucuie.errors import ConfigError, did_you_mean, show
from ucuie.files import write_text
from ucuie.language.linearize import order_records
from ucuie.language.windows import sentence_ends
from ucuie.schema import Example, Frame, Schema, Split, Task

SHORTEST_LEAK = 40
"""Letters and digits of a sentence that may tell a leak; shorter ones stand in many texts by chance."""
SHARE_OF_JOINED = 0.4
_DECODER = json.JSONDecoder()
_NO_RECORDS = b'"records":[]}'


class SetOptions(BaseModel):
    """How much of a set goes in.

    Args:
        field: what its texts are about, a name of `foreign`; sets without one are asked for no foreign types.
        cap: at most so many texts; None is all, or what the source says.
        repeat: how often each text may stand in the file, each time with another schema.
        split: that is learned from.
        absent: of a catalogue set; that of a source stands with the source.
        max_words: of a text; longer ones are cut to their first sentences.
        empty: the largest share of texts without a record; more rows are empty, since schemas are narrower.
        row: of the catalogue, where that has another name.
        joined: another set of the same texts, with records of another kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str | None = None
    cap: int | None = Field(default=None, ge=1)
    repeat: int = Field(default=1, ge=1)
    split: Split = "train"
    absent: Absent = "schema"
    max_words: int | None = None
    empty: float = Field(default=0.1, ge=0, lt=1)
    row: str | None = None
    joined: str | None = None


class Foreign(BaseModel):
    """Types that texts of some fields surely have nothing of.

    Args:
        types: the types, by the set that they come from; an empty list is all of the set's types.
        fields: of the texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    types: dict[str, list[str]]
    fields: list[str]


class MixtureConfig(BaseModel):
    """What `mixture.yaml` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundles: BundleOptions = BundleOptions()
    unseen: list[str]
    sets: dict[str, SetOptions]
    sources: dict[str, SetOptions]
    foreign: list[Foreign] = []


@dataclass(frozen=True)
class Collection:
    """A set to learn from: where it is, how much of it goes in and what the table says of it."""

    name: str
    path: Path
    options: SetOptions
    title: str
    licence: str
    absent: Absent
    is_silver: bool = False


@dataclass
class Row:
    """What the table says of a set, in numbers.

    Args:
        available: texts that could be learned from.
        dropped: of those, because they are held out.
        used: different texts in the file.
        rows: examples in the file.
        empty: of those, without a record.
        records: in all rows.
        types: names of types in all schemas, before they are renamed.
    """

    available: int = 0
    dropped: int = 0
    used: int = 0
    rows: int = 0
    empty: int = 0
    records: int = 0
    types: int = 0


def collections(config: MixtureConfig, sets: Sequence[Path], sources: Path | None) -> list[Collection]:
    """The sets of the configuration that have a folder; sources that are not there are left out."""
    folders = {folder.name: folder for folder in sets}
    found = []
    for name, options in config.sets.items():
        if name not in folders:
            hint = did_you_mean(name, list(folders))
            raise ConfigError(f"the configuration asks for {show(name)}, no folder has that name{hint}")
        dataset = dataset_named(options.row or name)
        path = folders[name] / f"{options.split}.jsonl"
        found.append(Collection(name, path, options, dataset.title, dataset.licence, options.absent))
    for name, source in SOURCES.items():
        path = Path() if sources is None else sources / name / "train.jsonl"
        if path.is_file():
            options = config.sources.get(name, SetOptions())
            options = options.model_copy(update={"cap": options.cap or source.cap})
            found.append(
                Collection(name, path, options, source.title, source.licence, source.absent, source.is_silver)
            )
    return found


def held_out(config: MixtureConfig, sets: Sequence[Path]) -> set[int]:
    """Fingerprints of all texts that must not be learned from."""
    splits = held_out_texts(sets)
    for name, options in config.sets.items():
        splits.pop(f"{name}/{options.split}", None)
    fingerprints = {one for split in splits.values() for one in split.tolist()}
    for folder in sets:
        if folder.name in config.unseen:
            for path in sorted(folder.glob("*.jsonl")):
                fingerprints.update(index_file(path).fingerprints.tolist())
    return fingerprints


def is_held_out(text: str, fingerprints: set[int]) -> bool:
    """Whether a text, or one of its longer sentences, is held out."""
    if fingerprint(text) in fingerprints:
        return True
    start = 0
    for end in sentence_ends(text):
        sentence = normalised_text(text[start:end])
        if len(sentence) >= SHORTEST_LEAK and fingerprint_normalised(sentence) in fingerprints:
            return True
        start = end
    return False


def allowed_lines(collection: Collection, fingerprints: set[int], row: Row, seed: int) -> list[bytes]:
    """The lines of a set that may be learned from, at most its cap, not too many of them without a record."""

    def allowed() -> Iterator[bytes]:
        with collection.path.open("rb") as lines:
            for line in filter(bytes.strip, lines):
                row.available += 1
                if is_held_out(_text_of(line), fingerprints):
                    row.dropped += 1
                else:
                    yield line.rstrip(b"\r\n")

    options = collection.options
    generator = generator_for(seed, f"{collection.name}/cap")
    lines = sample_examples(allowed(), options.cap, generator)
    empty = [index for index, line in enumerate(lines) if line.endswith(_NO_RECORDS)]
    most = round((len(lines) - len(empty)) * options.empty / (1 - options.empty))
    left_out = set(generator.sample(empty, max(len(empty) - most, 0)))
    return [line for index, line in enumerate(lines) if index not in left_out]


def parsed(collection: Collection, lines: Sequence[bytes], fingerprints: set[int]) -> list[Example]:
    """The examples of some lines, long texts cut."""
    examples = [parse_again(line) for line in lines]
    if collection.options.max_words is None:
        return examples
    stretches = [first_stretch(example, collection.options.max_words) for example in examples]
    return [one for one in stretches if not is_held_out(one.text, fingerprints)]


def joined(examples: Sequence[Example], others: Sequence[Example], generator: random.Random) -> list[Example]:
    """The examples; of those whose text another set has too, a share is asked for what both annotate."""
    by_text = {other.text: other for other in others}
    result = []
    for example in examples:
        other = by_text.get(example.text)
        if other is not None and generator.random() < SHARE_OF_JOINED:
            schema = _schema_of_both(example.schema, other.schema)
            records = order_records((*example.records, *other.records), schema)
            example = replace(example, task=schema.task, schema=schema, records=records)
        result.append(example)
    return result


@cache
def _schema_of_both(first: Schema, second: Schema) -> Schema:
    return Schema(frames=(*first.frames, *second.frames))


def _text_of(line: bytes) -> str:
    """The text of an example, without reading its schema, which takes most of the time."""
    _, key, rest = line.partition(b'"text":')
    return _DECODER.raw_decode(rest.decode().lstrip())[0] if key else json.loads(line)["text"]


def foreign_frames(config: MixtureConfig, found: Sequence[Collection]) -> dict[str, dict[Task, list[Frame]]]:
    """By field of texts: the types that these surely lack, by task."""
    paths = {collection.name: collection.path for collection in found}
    result: dict[str, dict[Task, list[Frame]]] = {}
    for foreign in config.foreign:
        for name, wanted in foreign.types.items():
            if name not in paths:
                continue
            with paths[name].open("rb") as lines:
                first = parse_again(next(lines).rstrip(b"\r\n"))
            for frame in first.schema.frames:
                if not wanted or frame.name in wanted:
                    for one in foreign.fields:
                        frames = result.setdefault(one, {}).setdefault(first.task, [])  # type: ignore[arg-type]
                        if frame.name not in {other.name for other in frames}:
                            frames.append(frame)
    return result


def drawn(pools_: Sequence[Pool], options: BundleOptions, seed: int, name: str) -> Iterator[list[Example]]:
    """The bundles of one pass after the other, each with other companions and another schema."""
    repetition = 0
    while True:
        generator = generator_for(seed, f"{name}/{repetition}")
        passes = [bundle for pool in pools_ for bundle in bundles(pool, options, generator)]
        generator.shuffle(passes)
        for bundle in passes:
            yield [replace(one, id=f"{one.id}#{repetition + 1}") if repetition else one for one in bundle]
        repetition += 1


def mixed(
    config: MixtureConfig, found: Sequence[Collection], fingerprints: set[int], num_rows: int, seed: int
) -> tuple[list[list[str]], dict[str, Row]]:
    """The bundles as lines, in random order, and what each set gave."""
    foreign = foreign_frames(config, found)
    rows = {collection.name: Row() for collection in found}
    sources = {one.name: allowed_lines(one, fingerprints, rows[one.name], seed) for one in found}
    sizes = [len(sources[one.name]) * one.options.repeat for one in found]
    shares = shares_of(sizes, min(num_rows, sum(sizes)), temperature=1)
    lines: list[list[str]] = []
    for collection, share in zip(found, shares, strict=True):
        row = rows[collection.name]
        generator = generator_for(seed, f"{collection.name}/texts")
        chosen = sample_examples(sources[collection.name], share, generator)
        texts = parsed(collection, chosen, fingerprints)
        if collection.options.joined is not None:
            others = [parse_again(line) for line in sources[collection.options.joined]]
            texts = joined(texts, others, generator)
        groups = pools(texts, collection.absent, foreign.get(collection.options.field or "", {}))
        used: set[str] = set()
        for bundle in drawn(groups, config.bundles, seed, collection.name) if texts else ():
            lines.append([example.to_json() for example in bundle])
            used.update(example.id.partition("#")[0] for example in bundle)
            row.rows += len(bundle)
            row.empty += sum(not example.records for example in bundle)
            row.records += sum(len(example.records) for example in bundle)
            if row.rows >= share:
                break
        row.used = len(used)
        row.types = len({name for pool in groups for name in pool.frames})
    generator_for(seed, "order").shuffle(lines)
    return lines, rows


def table(found: Sequence[Collection], rows: dict[str, Row]) -> Iterator[str]:
    """What went in, as Markdown."""
    yield "| set | title | licence | texts | held out | used | rows | without a record | records | types | |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for one in found:
        row = rows[one.name]
        counts = (row.available, row.dropped, row.used, row.rows, row.empty, row.records, row.types)
        cells = (one.name, one.title, one.licence, *(f"{count:,}" for count in counts))
        yield f"| {' | '.join(cells)} | {'silver' if one.is_silver else ''} |"
    total = Counter[str]()
    for row in rows.values():
        total.update(vars(row))
    counts = (total[name] for name in ("available", "dropped", "used", "rows", "empty", "records"))
    yield f"| all | | | {' | '.join(f'{count:,}' for count in counts)} | | |"


def plain_table(found: Sequence[Collection], rows: dict[str, Row]) -> list[dict[str, Any]]:
    """What went in, as plain values."""
    return [
        {"name": one.name, "title": one.title, "licence": one.licence, "is_silver": one.is_silver}
        | vars(rows[one.name])
        for one in found
    ]


def types_in(lines: Sequence[Sequence[str]]) -> list[str]:
    """Every name that a type has in the file."""
    schemas = (json.loads(bundle[0])["schema"] for bundle in lines)
    return sorted({frame["name"] for schema in schemas for frame in schema["frames"]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--sets", type=Path, nargs="+", required=True, help="folders of converted sets")
    parser.add_argument("--sources", type=Path, help="folder with NAME/train.jsonl of making.sources")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True, help="examples in all, about")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = MixtureConfig.model_validate(yaml.safe_load(options.config.read_text("utf-8")))
    sets = [folder for folder in options.sets if folder.is_dir()]
    found = collections(config, sets, options.sources)
    lines, rows = mixed(config, found, held_out(config, sets), options.rows, options.seed)
    write_text(options.output / "train.jsonl", "".join(f"{line}\n" for bundle in lines for line in bundle))
    write_text(options.output / "table.md", "\n".join(table(found, rows)) + "\n")
    for name, content in (("table", plain_table(found, rows)), ("types", types_in(lines))):
        written = json.dumps(content, indent=1, ensure_ascii=False)
        write_text(options.output / f"{name}.json", written + "\n")
    print((options.output / "table.md").read_text("utf-8"))
    print(f"{len(lines):,} bundles")


if __name__ == "__main__":
    main()
