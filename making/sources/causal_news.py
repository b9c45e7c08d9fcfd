r"""Causal News Corpus V2: sentences of news on protests with causes, effects and the words that link them.

`*_subtask2_grouped.csv` has a row for each sentence; the relations are a Python list of marked sentences:

    text: The Sadtu protest was a call for the resignation of Motshekga .
    causal_text_w_pairs: ['<ARG1>The Sadtu protest</ARG1> was <ARG0><SIG0>a call for</SIG0> the resignation of
        Motshekga</ARG0> .']

ARG0 is the cause, ARG1 the effect, SIG0 the first signal. `*_subtask1.csv` tells by a label of 0 which
sentences have none; causal ones whose relations are not given are left out.
"""

import ast
import csv
import re
from collections.abc import Iterator
from pathlib import Path

from making.sources.numbering import Examples, Found, Left, numbered
from making.sources.source import Source
from ucuie.data.draft import filled_slots, filler_at
from ucuie.data.tokens import respaced
from ucuie.schema import Frame, Record, Slot, Span

NAME = "causal_news"

_FRAME = Frame(
    name="causal relation",
    description="One event brings another about; words that say so may signal it.",
    slots=(
        Slot(name="cause", description="What brings the effect about."),
        Slot(name="effect", description="What happens or is done because of the cause."),
    ),
)
_TAG = re.compile(r"</?(ARG0|ARG1|SIG\d)>")


def read(folder: Path) -> Examples:
    """The sentences of the training and development files."""
    return numbered(NAME, _found(folder))


def _found(folder: Path) -> Iterator[Found | Left]:
    for part in ("train", "dev"):
        (labels_path,) = folder.rglob(f"{part}_subtask1.csv")
        (pairs_path,) = folder.rglob(f"{part}_subtask2_grouped.csv")
        causal = {row["text"].strip() for row in _rows(labels_path) if row["label"] == "1"}
        for row in _rows(pairs_path):
            text = row["text"].strip()
            marked = ast.literal_eval(row["causal_text_w_pairs"] or "[]")
            if text in causal and not marked:
                yield Left("causal sentence without its relations")
                continue
            if text.count('"') == 1:  # its other half stands in another sentence
                text, *marked = (one.replace('" ', "", 1) for one in (text, *marked))
            try:
                records = tuple(_record(text, one) for one in marked)
            except (KeyError, ValueError) as error:
                yield Left(f"relation that does not fit its sentence: {type(error).__name__}")
                continue
            text, records = respaced(text, records, "natural")
            yield Found("EE", text, (_FRAME,), records)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        yield from csv.DictReader(lines)


def _record(text: str, marked: str) -> Record:
    """The relation of a marked copy of the sentence.

    Raises:
        KeyError: the copy marks no cause or no effect.
        ValueError: without its marks the copy is not the sentence.
    """
    spans: dict[str, Span] = {}
    starts: dict[str, int] = {}
    plain = ""
    for index, piece in enumerate(_TAG.split(marked.strip())):
        if index % 2 == 0:
            plain += piece
        elif piece in starts:
            spans.setdefault(piece, (starts.pop(piece), len(plain)))
        else:
            starts[piece] = len(plain)
    if plain != text:
        raise ValueError("the marked copy is not the sentence")
    signal = spans.get("SIG0")
    return Record(
        frame=_FRAME.name,
        filler=filler_at(text, signal) if signal else None,
        slots=filled_slots(text, [("cause", spans["ARG0"]), ("effect", spans["ARG1"])]),
    )


SOURCES = (
    Source(
        name=NAME,
        title="Causal News Corpus",
        licence="CC0-1.0",
        attribution="tanfiona/CausalNewsCorpus (4796c7e)",
        read=read,
        archive="causal_news.tar.xz",
        cap=None,
        absent="schema",
    ),
)
