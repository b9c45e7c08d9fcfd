r"""How far the silver labels agree with people's: precision and recall of each type, exact spans.

    python -m making.agreement FOLDER RAW

with a folder for each of the unpacked archives of `GOLD` in FOLDER, and the catalogue's raw files in RAW.

A type of the pipeline is right where people gave one of the types beside it in `GOLD`; its recall is of all
that they gave, so that types which share theirs share its recall as well. This prints the table in
`making/sources/silver.py`.
"""

import argparse
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from making.sources import SOURCES
from making.sources.silver import SURE, TYPES, Labeller, trimmed
from ucuie.data.draft import Draft
from ucuie.data.readers import read_drafts
from ucuie.data.sources import read_json
from ucuie.data.tokens import join_tokens
from ucuie.schema import Span

PLACE = {"location"}
ORGANIZATION = {"organization"}
GOLD: Mapping[str, tuple[str, Mapping[str, set[str]]]] = {
    "wikigold": (
        "juand",
        {"PERSON": {"person"}, "ORG": ORGANIZATION, "GPE": PLACE, "LOC": PLACE, "FAC": PLACE},
    ),
    "grobid_ner": (
        "grobid_ner",
        {
            "PERSON": {"person"},
            "NORP": {"nationality", "group of people"},
            "ORG": {"organization", "business", "institution", "media"},
            "GPE": PLACE,
            "LOC": PLACE,
            "FAC": {"installation", "location"},
            "EVENT": {"event"},
            "LAW": {"law"},
            "WORK_OF_ART": {"creation", "media"},
            "PRODUCT": {"artifact"},
            "DATE": {"period"},
            "TIME": {"period"},
            **{label: {"measure"} for label in ("PERCENT", "MONEY", "QUANTITY", "ORDINAL", "CARDINAL")},
        },
    ),
    "re3d": (
        "re3d",
        {
            "PERSON": {"person"},
            "NORP": {"nationality"},
            "ORG": ORGANIZATION,
            "GPE": PLACE,
            "LOC": PLACE,
            "DATE": {"time"},
            "TIME": {"time"},
            "MONEY": {"money"},
            "QUANTITY": {"quantity"},
            "CARDINAL": {"quantity"},
        },
    ),
}
"""Folder of each labelled set, and which of its types mean what the pipeline's do."""
CONLL04 = {
    "PERSON": {"Peop"},
    "ORG": {"Org"},
    "GPE": {"Loc"},
    "LOC": {"Loc"},
    "FAC": {"Loc"},
}
DOCRED = {
    "PERSON": {"PER"},
    "ORG": {"ORG"},
    "GPE": {"LOC"},
    "LOC": {"LOC"},
    "FAC": {"LOC"},
    "DATE": {"TIME"},
    "PERCENT": {"NUM"},
    "MONEY": {"NUM"},
    "QUANTITY": {"NUM"},
    "CARDINAL": {"NUM"},
    "EVENT": {"MISC"},
    "LAW": {"MISC"},
    "WORK_OF_ART": {"MISC"},
    "PRODUCT": {"MISC"},
}
MAX_TEXTS = 400

Told = tuple[str, list[tuple[str, Span]], Mapping[str, set[str]]]
"""A text with what people found, and what that means."""


def told(folder: Path, raw: Path) -> Iterator[Told]:
    """Texts of each set, at most `MAX_TEXTS`."""
    for name, (archive, meanings) in GOLD.items():
        examples = [one for one in SOURCES[name].read(folder / archive) if one.task == "NER"]
        for example in _drawn(examples):
            spans = [(one.frame, one.filler.span) for one in example.records if one.filler is not None]
            yield example.text, spans, meanings
    options = {"records": "entities"}
    drafts = read_drafts("spert", [raw / "re/conll04/raw/train_triples.json"], options)
    for draft in _drawn([one for one in drafts if isinstance(one, Draft)]):
        yield draft.text, [(one.frame, one.filler.span) for one in draft.records if one.filler], CONLL04
    documents = read_json(raw / "re/redocred/raw/dev_revised.json.xz")
    sentences = [(document, index) for document in documents for index in range(len(document["sents"]))]
    for document, index in _drawn(sentences):
        joined = join_tokens(document["sents"][index])
        mentions = [one for vertex in document["vertexSet"] for one in vertex if one["sent_id"] == index]
        yield joined.text, [(one["type"], joined.span(*one["pos"])) for one in mentions], DOCRED


def _drawn(items: Sequence[Any]) -> list[Any]:
    return random.Random(0).sample(items, min(MAX_TEXTS, len(items)))


def main() -> None:
    """Counts over all sets and prints a line for each type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("raw", type=Path)
    arguments = parser.parse_args()
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    gold: Counter[str] = Counter()
    texts = list(told(arguments.folder, arguments.raw))
    for (_, theirs, meanings), (text, spans) in zip(texts, Labeller()(one[0] for one in texts), strict=True):
        for label, names in meanings.items():
            wanted = {trimmed(text, span) for name, span in theirs if name in names}
            said = {span for other, span in spans if other == label}
            right[label] += len(wanted & said)
            found[label] += len(said)
            gold[label] += len(wanted)
    print(f"{'type':12} {'found':>5} {'right':>5} {'precision':>9} {'gold':>5} {'recall':>6}")
    for label in TYPES:
        precision = 100 * right[label] / max(found[label], 1)
        recall = 100 * right[label] / max(gold[label], 1)
        mark = label + (" *" if label in SURE else "")
        print(f"{mark:12} {found[label]:5} {right[label]:5} {precision:9.0f} {gold[label]:5} {recall:6.0f}")


if __name__ == "__main__":
    main()
