"""InstructUIE's rules (Wang et al. 2023; `src/evaluation/evaluator.py` of its repository).

Sets of normalised strings, so that repeated mentions count once. Answers and gold are compared as one
string cut at every ";", so that a mention which holds one ("Fannin & amp ; Bell") counts as two. InstructUIE
extracts the arguments of one given event at a time; here those of a text are pooled.
"""

import re
from collections.abc import Iterable, Sequence

from ucuie.metrics.counts import Element, RowCounts, count_set
from ucuie.schema import Example, Record

NONE = "None"
_ALL_TRIGGERS = "all triggers"


def score_instructuie(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """InstructUIE as published: to answer "None" where the gold has none is a match.

    So a model that always says "None" scores 68.9 on HarveyNER, where 72.9 % of the texts are empty. That is
    with blank-joined tokens, where five mentions hold a ";"; in natural text, with "&" for "& amp ;", it is
    69.0.
    """
    return _score(example, predicted, nothing=NONE)


def score_instructuie_fixed(example: Example, predicted: Sequence[Record]) -> RowCounts:
    """InstructUIE with nothing counted where nothing is."""
    return _score(example, predicted, nothing=None)


def _score(example: Example, predicted: Sequence[Record], *, nothing: str | None) -> RowCounts:
    gold = _elements(example, example.records, nothing)
    found = _elements(example, predicted, nothing)
    return {row: count_set(gold[row], found[row]) for row in gold}


def _elements(example: Example, records: Sequence[Record], nothing: str | None) -> dict[str, list[Element]]:
    """The strings of a text; `nothing` stands for no entities or triggers, not for no relations."""
    empty: list[Element] = [] if nothing is None else [(normalize(nothing), normalize(nothing))]
    match example.task:
        case "NER":
            entities = [
                element
                for record in records
                if record.filler
                for element in _pieces(record.frame, _mention(record))
            ]
            return {"NER": entities or empty}
        case "EE":
            events = sorted((record.filler.start, _mention(record)) for record in records if record.filler)
            # One string for all events of a text: it is right or wrong as a whole (accuracy).
            joined = normalize("; ".join(mention for _, mention in events))
            triggers: list[Element] = [(_ALL_TRIGGERS, joined)]
            return {"ED": triggers if events else empty, "EAE pooled": _arguments(records)}
        case task:
            row = "RE boundary" if task == "RE" else task
    relations = [element for record in records for element in _pieces(record.frame, _relation(record))]
    return {row: _typed(relations)}


def _mention(record: Record) -> str:
    return f"{record.frame}: {record.filler.text if record.filler else ''}"


def _relation(record: Record) -> str:
    # By name, so that the order in which slots were written plays no part.
    slots = sorted(record.slots, key=lambda filled: filled.slot)
    return f"{record.frame}: {', '.join(filled.filler.text for filled in slots if filled.filler)}"


def _arguments(records: Sequence[Record]) -> list[Element]:
    return _typed(
        element
        for record in records
        for filled in record.slots
        if filled.filler is not None
        for element in _pieces(filled.slot, f"{filled.slot}: {filled.filler.text}")
    )


def _pieces(label: str, string: str) -> list[Element]:
    """The pieces of one mention, relation or argument when the answer is cut at every ";"."""
    return [(normalize(label), normalize(piece)) for piece in normalize(string).split(";") if piece]


def _typed(elements: Iterable[Element]) -> list[Element]:
    """The pieces of relations and arguments that still name their type."""
    return [(label, string) for label, string in elements if ":" in str(string)]


def normalize(string: str) -> str:
    """A string as InstructUIE compares it: blanks, case, braces, doubled marks and "location" altered."""
    string = " ".join(string.split())
    string = re.sub(r"\s*([,:()._;'-])\s*", r"\1", string).lower()
    string = string.replace("{", "").replace("}", "")
    string = re.sub(r"([,.;])\1+", r"\1", string)
    return string.replace("\u2019", "'").replace("location", "located")
