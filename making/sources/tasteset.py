"""TASTEset: lists of ingredients with amounts, units and what is done to the food.

A table in CSV; the entities of a recipe are JSON in its second column, with offsets:

    ingredients,ingredients_entities
    "5 ounces rum
    ","[{""start"": 0, ""end"": 1, ""type"": ""QUANTITY"", ""entity"": ""5""}, ...]"
"""

import csv
import json
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from making.sources.mending import stretches
from making.sources.numbering import Examples, share
from making.sources.source import Source
from making.sources.unify import types_of, unified
from ucuie.data import Fault
from ucuie.data.draft import Draft, checked_span, entity

TYPES = types_of("""
    FOOD | food | An ingredient or other food.
    QUANTITY | quantity | How much or how many, the number alone.
    UNIT | unit of measure | A measure or container, such as cup, ounce or can.
    PROCESS | preparation | What is done to the food, such as chopped or melted.
    PHYSICAL_QUALITY | physical quality | Size, state or form of the food, such as large, fresh or frozen.
    COLOR | color | The colour of the food.
    TASTE | taste | How the food tastes, such as sweet or unsalted.
    PURPOSE | purpose | What the food is for, such as to serve.
    PART | part of food | The part of an animal or plant, such as breast or yolk.
""")

_NO_FOOD = frozenset({"with", "and", "or", "of", "in", "for", "the", "a"})
_MAX_CHARACTERS = 350


def read(folder: Path) -> Examples:
    """Recipes, the long ones in pieces of some lines."""
    return unified("tasteset", _drafts(folder), TYPES)


def _drafts(folder: Path) -> Iterator[Draft | Fault]:
    with next(folder.rglob("TASTEset.csv")).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, start=1):
        recipe = _recipe(f"recipe {number}", row["ingredients"], json.loads(row["ingredients_entities"]))
        if isinstance(recipe, Fault):
            yield recipe
            continue
        line_ends = accumulate(len(line) for line in recipe.text.splitlines(keepends=True))
        # Of one line to all that fit, so that a model sees single ingredients as well.
        most = 1 + int(12 * share(recipe.text))
        yield from stretches(recipe, max_sentences=most, max_characters=_MAX_CHARACTERS, ends=line_ends)


def _recipe(place: str, text: str, entities: list[dict[str, str | int]]) -> Draft | Fault:
    records, changes = [], []
    for one in entities:
        if one["entity"] in _NO_FOOD:
            changes.append("record of a function word")
            continue
        try:
            span = checked_span(text, int(one["start"]), str(one["entity"]))
        except ValueError:
            changes.append("record whose offsets do not fit")
            continue
        records.append(entity(str(one["type"]), text, span))
    return Draft(place, text, tuple(records), changes=tuple(changes))


SOURCES = (
    Source(
        name="tasteset",
        title="TASTEset",
        licence="MIT",
        attribution="taisti/TASTEset (80bb783)",
        read=read,
        archive="tasteset.tar.xz",
        cap=None,
        absent="schema",
    ),
)
