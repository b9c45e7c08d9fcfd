r"""A peer of the pages about models: spaCy's entity recogniser, trained from nothing on the same splits.

    python -m making.spacy_baseline --data runs/data --output runs/spacy \
        --sets bc2gm bc5cdr broad_twitter_corpus genia_ner ncbi-disease

The configuration is spaCy's own for efficiency on a CPU, without pretrained vectors; the best weights on the
validation texts are kept. A mention that ends within one of spaCy's tokens is widened to them for training,
and of nested mentions the outermost is taught; the scores are against all of gold, by its own offsets. What
is in the output already is not trained again.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import spacy
from spacy.cli.init_config import init_config
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.util import filter_spans

from ucuie.data import read_gold
from ucuie.files import write_text
from ucuie.metrics import break_down
from ucuie.schema import Example, Filler, Record

SCORES_FILE = "scores.json"


def docs(language: Language, examples: list[Example]) -> Iterator[Doc]:
    """The texts with the mentions that a recogniser of flat spans over tokens can learn."""
    for example in examples:
        doc = language.make_doc(example.text)
        spans = [
            doc.char_span(record.filler.start, record.filler.end, record.frame, alignment_mode="expand")
            for record in example.records
            if record.filler is not None
        ]
        doc.set_ents(filter_spans(span for span in spans if span is not None))
        yield doc


def write_corpus(data: Path, split: str, folder: Path) -> Path:
    """One split as spaCy reads it."""
    corpus = DocBin(docs=docs(spacy.blank("en"), read_gold(data, split=split)))
    path = folder / f"{split}.spacy"
    corpus.to_disk(path)
    return path


def trained(data: Path, folder: Path, seed: int) -> Language:
    """A recogniser trained on the folder's training texts, the best of its validation texts."""
    folder.mkdir(parents=True, exist_ok=True)
    config = init_config(lang="en", pipeline=["ner"], optimize="efficiency", gpu=False)
    config.to_disk(folder / "config.cfg")
    overrides = {
        "paths.train": str(write_corpus(data, "train", folder)),
        "paths.dev": str(write_corpus(data, "validation", folder)),
        "system.seed": seed,
    }
    train(folder / "config.cfg", folder, overrides=overrides)
    return spacy.load(folder / "model-best")


def score(language: Language, examples: list[Example]) -> dict[str, float]:
    """Precision, recall and F1 in per cent with its 95 % interval, scorer `offset`."""
    predictions = [
        tuple(_record(entity) for entity in doc.ents)
        for doc in language.pipe(example.text for example in examples)
    ]
    breakdown = break_down(examples, predictions)
    counts = breakdown.report.micro("NER")
    interval = next(one for one in breakdown.intervals if one.row == "NER" and one.dataset is not None)
    numbers = {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}
    numbers |= {"low": interval.low, "high": interval.high}
    return {name: round(value, 2) for name, value in numbers.items()}


def _record(entity: Span) -> Record:
    place = Filler(text=entity.text, start=entity.start_char, end=entity.end_char)
    return Record(frame=entity.label_, filler=place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of converted data sets")
    parser.add_argument("--sets", nargs="+", required=True, help="names of folders in it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="test texts of each set, evenly drawn")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    scores: dict[str, Any] = {}
    for name in options.sets:
        data, folder = options.data / name, options.output / name
        if not (folder / "model-best").exists():
            trained(data, folder, options.seed)
        examples = list(read_gold(data, split="test", limit=options.limit))
        scores[name] = score(spacy.load(folder / "model-best"), examples)
        print(name, scores[name], flush=True)
        write_text(options.output / SCORES_FILE, json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
