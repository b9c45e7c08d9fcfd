"""Made-up documents with their records, of any number and length, the same every time.

Benchmarks need texts and outputs of known size that no model has to find: names are built from syllables,
sentences from templates.
"""

import random
from collections.abc import Iterator

from ucuie.schema import Filler, Record, Schema

TYPES = (
    *("person", "organization", "city", "product", "date", "currency", "vehicle", "animal", "plant", "river"),
    *("mountain", "island", "sports team", "stadium", "film", "book", "song", "painting", "award", "law"),
    *("court", "disease", "drug", "gene", "protein", "chemical", "symptom", "hospital", "university"),
    *("degree", "programming language", "software", "algorithm", "vulnerability", "company division"),
    *("job title", "nationality", "religion", "political party", "military unit", "weapon", "ship"),
    *("aircraft", "planet", "food", "restaurant", "festival", "newspaper", "website", "phone number"),
)
"""Names of entity types, the ones that occur in the documents first."""
NUM_USED_TYPES = 5

_SYLLABLES = (
    *("ba", "cor", "den", "el", "fi", "gar", "hol", "in"),
    *("ka", "lor", "mi", "nor", "pe", "ros", "tan", "vu"),
)
_TEMPLATES = (
    "{person} of {organization} arrived on {date} and spoke to the workers for about an hour.",
    "The {product} was late, and nobody in {city} was much surprised when it turned out not to work.",
    "On {date} the council met again to ask what had happened to the money for the bridge.",
    "There was little to add, and most of those who had come went home before the meeting was over.",
    "{person} told reporters that it would be sold from spring at a price that nobody would regret.",
    "Prices rose again, the weather stayed cold, and the roads into the valley remained closed.",
)
_MONTHS = ("January", "March", "May", "July", "August", "October")


def make_documents(count: int, *, words: int, seed: int = 0) -> Iterator[tuple[str, tuple[Record, ...]]]:
    """Texts of about so many words each with all entities in them, in the order of the text."""
    for index in range(count):
        generator = random.Random(f"{seed}/{index}")
        text, records = "", []
        while len(text.split()) < words:
            text += " " * bool(text)
            template = generator.choice(_TEMPLATES)
            while template:
                plain, brace, template = template.partition("{")
                text += plain
                if brace:
                    frame, _, template = template.partition("}")
                    name = _made_up(frame, generator)
                    filler = Filler(text=name, start=len(text), end=len(text) + len(name))
                    records.append(Record(frame=frame, filler=filler))
                    text += name
        yield text, tuple(records)


def schema_of(num_types: int) -> Schema:
    """The first so many types; those of the documents are the first five."""
    return Schema.of(list(TYPES[:num_types]))


def _made_up(frame: str, generator: random.Random) -> str:
    word = _word(generator)
    if frame == "person":
        return f"{word} {_word(generator)}"
    if frame == "organization":
        return f"{word} {generator.choice(('Group', 'Bank', 'Works', 'Institute'))}"
    if frame == "date":
        return f"{generator.randint(1, 28)} {generator.choice(_MONTHS)} {generator.randint(1950, 2030)}"
    return f"{word} {generator.randint(2, 9)}00" if frame == "product" else word


def _word(generator: random.Random) -> str:
    return "".join(generator.choices(_SYLLABLES, k=generator.randint(2, 3))).capitalize()
