r"""Texts that are asked for what they do not have: how often does a model find something all the same?

    python -m making.nothing --data runs/data --output runs/data/nothing

Writes `test.jsonl`: 100 texts for entities, 80 for relations, 60 for events, 60 for opinions, all from test
splits. Half of those for entities were annotated for the very types that they are asked for, and have none;
all others are asked for types of another field (`PAIRS`), under the rules of `making.absent`. Types that no
model of ours was trained on are among them. `validation.jsonl`, to choose thresholds on, has half as many, of
validation splits and of sets only that the model was trained on.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from making.absent import may_be_asked
from ucuie.data import generator_for, read_examples, write_examples
from ucuie.schema import Example, Schema, Split, Task

DATASET = "nothing"
SEED = 0
MAX_FRAMES = 6
MIN_CHARACTERS = 30


@dataclass(frozen=True)
class Pair:
    """Texts of a set, asked for types of another.

    Args:
        texts: the set of the texts.
        types: the set of the types; the same set for texts that were annotated and have none.
        number: how many texts.
    """

    texts: str
    types: str
    number: int


PAIRS: dict[Split, dict[Task, tuple[Pair, ...]]] = {
    "test": {
        "NER": (
            Pair("bc2gm", "bc2gm", 15),
            Pair("ncbi-disease", "ncbi-disease", 15),
            Pair("broad_twitter_corpus", "broad_twitter_corpus", 20),
            Pair("mit_restaurant", "genia_ner", 15),
            Pair("crossner_music", "genia_ner", 10),
            Pair("genia_ner", "crossner_music", 10),
            Pair("conll04", "genia_ner", 15),
        ),
        "RE": (
            Pair("genia_ner", "conll04", 20),
            Pair("genia_ner", "fewrel", 20),
            Pair("mit_restaurant", "ade", 15),
            Pair("bc5cdr", "nyt", 15),
            Pair("conll04", "ade", 10),
        ),
        "EE": (
            Pair("genia_ner", "casie", 15),
            Pair("mit_restaurant", "casie", 15),
            Pair("conll04", "phee", 15),
            Pair("bc2gm", "wikievents", 15),
        ),
        "ABSA": (Pair("genia_ner", "14res", 30), Pair("bc2gm", "14lap", 30)),
    },
    "validation": {
        "NER": (
            Pair("bc2gm", "bc2gm", 10),
            Pair("ncbi-disease", "ncbi-disease", 10),
            Pair("broad_twitter_corpus", "broad_twitter_corpus", 10),
            Pair("conll04", "genia_ner", 10),
            Pair("genia_ner", "broad_twitter_corpus", 10),
        ),
        "RE": (
            Pair("genia_ner", "conll04", 15),
            Pair("bc2gm", "semeval2010", 10),
            Pair("conll04", "ade", 15),
        ),
        "EE": (Pair("genia_ner", "casie", 15), Pair("conll04", "phee", 15)),
        "ABSA": (Pair("genia_ner", "acos_laptop", 15), Pair("conll04", "acos_laptop", 15)),
    },
}


def nothing(data: Path, split: Split) -> Iterator[Example]:
    """The texts of the test or the validation split with their schemas, the same each time.

    Raises:
        ValueError: a set has too few texts that surely have nothing of the types.
    """
    used: set[str] = set()
    for task, pairs in PAIRS[split].items():
        for pair in pairs:
            found = [one for one in _asked(data, task, pair, split) if one.text not in used][: pair.number]
            if len(found) < pair.number:
                raise ValueError(
                    f"{pair.texts} has {len(found)} texts without {pair.types}, not {pair.number}"
                )
            used.update(example.text for example in found)
            yield from found


def _asked(data: Path, task: Task, pair: Pair, split: Split) -> Iterator[Example]:
    """All texts of a pair that surely have nothing of their schemas, in random order."""
    texts = [one for one in read_examples(data / pair.texts, split=split) if _is_fit(one)]
    schemas = list(
        {id(one.schema): one.schema for one in read_examples(data / pair.types, split=split)}.values()
    )
    schemas = list(dict.fromkeys(schemas))
    generator = generator_for(SEED, f"{task}/{pair.texts}/{pair.types}")
    generator.shuffle(texts)
    for text in texts:
        frames = list(generator.choice(schemas).frames)
        frames = generator.sample(frames, min(MAX_FRAMES, len(frames)))
        if pair.texts == pair.types:
            is_absent = not text.records
        else:
            own = {record.frame for record in text.records}
            frames = [frame for frame in frames if may_be_asked(frame.name, own, text.text)]
            is_absent = bool(frames)
        if is_absent:
            name = f"{DATASET}/{task}/{pair.texts}/{pair.types}"
            yield replace(
                text,
                id=f"{name}/{text.id}",
                dataset=DATASET,
                task=task,
                schema=Schema(frames=tuple(frames)),
                records=(),
            )


def _is_fit(example: Example) -> bool:
    return len(example.text) >= MIN_CHARACTERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of converted sets")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for split in PAIRS:
        print(write_examples(options.output / f"{split}.jsonl", nothing(options.data, split)))


if __name__ == "__main__":
    main()
