r"""Procedures in brat's format: WNUT 2020's wet lab protocols and Olivetti's syntheses of materials.

A step or a paragraph stands on a line of `*.txt`; `*.ann` has entities, events with roles, and relations:

    T1 <TAB> Action 53 62 <TAB> Inoculate
    E1 <TAB> Action:T1 Acts-on:T6 Using:T7 Site:T9
    R3 <TAB> Measure Arg1:T17 Arg2:T16

A relation of an event is one of its trigger. Relations between sentences are left out. In the syntheses a
unit and its numbers are entities of their own: here they are one ("48.0 g"), and no number stands alone.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from making.sources.kinds import Annotated, Words, kinds_of, relation, sentences_of
from making.sources.numbering import Examples, Found, Left, numbered
from making.sources.source import Source
from making.sources.unify import types_of
from ucuie.schema import Frame, Slot, Span

WETLAB = Words(
    entities=types_of("""
        Action | action | A word for what is done in the step.
        Reagent | reagent | A substance, solution, sample or cells that the work is done with.
        Location | location | A container, place or surface where something is put.
        Device | device | A machine or tool.
        Method | method | A named way of working, such as PCR.
        Seal | seal | What closes a container, such as a lid.
        Amount | amount | A volume, mass or other amount with its unit.
        Concentration | concentration | How strong a solution is.
        Size | size | A length, size or pore width.
        Time | duration | How long or when something is done.
        Temperature | temperature | How warm or cold something is kept.
        Speed | speed | How fast a machine turns.
        pH | acidity | A pH value.
        Numerical | number | A count without a unit.
        Generic-Measure | other measure | A ratio, voltage or other measure that has no type of its own.
        Measure-Type | measured property | The name of what is measured, such as volume.
        Modifier | modifier | A word that says how, or what kind of.
        Mention | reference | A pronoun for something named before.
    """),
    relations={
        "Measure": relation("measure", "what is measured", "amount, concentration or number"),
        "Setting": relation("setting", "action or device", "time, temperature or speed that it is set to"),
        "Mod-Link": relation("modified by", "what is described", "word that describes it"),
        "Meronym": relation("has part", "the whole", "what is part of it or in it"),
        "Or": relation("alternative", "one choice", "what may be taken instead"),
        "Coreference-Link": relation("same as", "mention", "what it refers to"),
        "Of-Type": relation("kind of measure", "measure", "what it is a measure of"),
    },
    events={
        "Action": Frame(
            name="laboratory action",
            description="A step that someone is told to do.",
            slots=tuple(
                Slot(name=name, description=description)
                for name, description in (
                    ("acts on", "What the action is done to."),
                    ("site", "Where it is done, or what something is put into."),
                    ("using", "What it is done with."),
                    ("product", "What comes out of it."),
                    ("count", "How often."),
                    ("commanded action", "Another action that it calls for."),
                    ("measured property", "What is measured or set."),
                )
            ),
        )
    },
    roles={
        "Acts-on": "acts on",
        "Site": "site",
        "Using": "using",
        "Product": "product",
        "Count": "count",
        "Commands": "commanded action",
        "Measure-Type-Link": "measured property",
    },
)

MATERIALS = Words(
    entities=types_of("""
        Material | material | A substance that is used or made in the synthesis.
        Nonrecipe-Material | other material | A substance that is named, but not part of the synthesis.
        Operation | operation | A step of the synthesis, such as heating or washing.
        Amount-Unit | amount | An amount or purity, as a number with its unit or in words.
        Amount-Misc | amount | An amount or purity, as a number with its unit or in words.
        Condition-Unit | condition | A temperature, duration or other condition of an operation.
        Condition-Misc | condition | A temperature, duration or other condition of an operation.
        Condition-Type | kind of condition | What a condition is about, such as pressure.
        Material-Descriptor | description of a material | A word for the form or role of a material.
        Property-Unit | property | A property of a material.
        Property-Misc | property | A property of a material.
        Property-Type | kind of property | What a property is about, such as thickness.
        Synthesis-Apparatus | synthesis apparatus | A device or vessel that is used to make a material.
        Characterization-Apparatus | measuring apparatus | A device or method that examines a material.
        Apparatus-Descriptor | description of an apparatus | What an apparatus is made of, or its kind.
        Apparatus-Unit | size of an apparatus | A volume or another measure of an apparatus.
        Apparatus-Property-Type | kind of apparatus property | What a measure of an apparatus is about.
        Brand | brand | Who made or sold a material or device.
        Meta | synthesis method | The name of the way of synthesis as a whole.
        Reference | citation | A mark that cites another paper.
    """),
    relations={
        "Next_Operation": relation("next operation", "operation", "operation that follows"),
        "Condition_Of": relation("condition of", "condition", "operation"),
        "Amount_Of": relation("amount of", "amount", "material"),
        "Descriptor_Of": relation("descriptor of", "describing word", "material or apparatus"),
        "Property_Of": relation("property of", "property", "material"),
        "Apparatus_Of": relation("apparatus of", "apparatus", "operation that it is used in"),
        "Brand_Of": relation("brand of", "brand", "material or apparatus"),
        "Coref_Of": relation("same as", "mention", "another mention of the same material"),
        "Type_Of": relation("type of", "what is measured", "its value"),
        "Apparatus_Attr_Of": relation("size of apparatus", "size", "apparatus"),
    },
    events={
        "Operation": Frame(
            name="synthesis operation",
            description="A step in which materials are made or changed.",
            slots=tuple(
                Slot(name=name, description=description)
                for name, description in (
                    ("participant", "A material that takes part, such as a mixture or product."),
                    ("precursor", "A starting material."),
                    ("solvent", "A liquid that dissolves or washes."),
                    ("target", "The material that is to be made."),
                    ("atmosphere", "The gas that surrounds the materials."),
                )
            ),
        )
    },
    roles={
        "Participant_Material": "participant",
        "Recipe_Precursor": "precursor",
        "Solvent_Material": "solvent",
        "Recipe_Target": "target",
        "Atmospheric_Material": "atmosphere",
    },
)

_MIN_WORDS, _MAX_WORDS = 3, 70
_LONGEST_GAP = 12
"""Between a unit and its number: in "5, 10 and 20 g" it is all of that."""
_TITLE_LINES = {"wetlab": 0, "materials": 1}
"""The first line of a synthesis is its DOI."""


def _reader(name: str, words: Words) -> Callable[[Path], Examples]:
    def read(folder: Path) -> Examples:
        return numbered(name, _found(folder, words, _TITLE_LINES[name]))

    return read


def _found(folder: Path, words: Words, num_title_lines: int) -> Iterator[Found | Left]:
    for path in sorted(folder.rglob("*.ann")):
        try:
            document = _document(path)
        except (LookupError, ValueError):
            yield Left("file whose annotation contradicts itself")
            continue
        title_end = sum(map(len, document.text.splitlines(keepends=True)[:num_title_lines]))
        for sentence in sentences_of(document):
            if int(sentence.place.rpartition(" ")[2]) < title_end:
                continue
            if not _MIN_WORDS <= len(sentence.text.split()) <= _MAX_WORDS:
                yield Left("sentence too short or too long")
            else:
                yield from kinds_of(sentence, words)


def _document(path: Path) -> Annotated:
    """A text with its annotation.

    Raises:
        KeyError: a line refers to one that is not there.
        ValueError: a span says other words than the text.
    """
    text = path.with_suffix(".txt").read_bytes().decode()
    spans: dict[str, tuple[str, Span]] = {}
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines() if line]
    for identifier, columns, *words in rows:
        if identifier[0] == "T" and ";" not in columns:
            label, start, end = columns.split()
            span = int(start), int(end)
            if words and text[slice(*span)].split() != words[0].split():
                raise ValueError(f"{identifier} is not what stands there")
            spans[identifier] = label, span
    _take_numbers_in(spans, [columns for identifier, columns, *_ in rows if identifier[0] == "R"])
    triggers = {row[0]: row[1].split()[0].partition(":")[2] for row in rows if row[0][0] == "E"}
    events, relations = [], []
    for identifier, columns, *_ in rows:
        ends = [(role, triggers.get(target, target)) for role, _, target in map(_parted, columns.split())]
        if identifier[0] == "E":
            (label, trigger), *roles = ends
            places = tuple((re.sub(r"\d+$", "", role), spans[target][1]) for role, target in roles)
            events.append((label, spans[trigger][1], places))
        elif identifier[0] == "R":
            (label, _), (_, first), (_, second) = ends
            relations.append((label, spans[first][1], spans[second][1]))
    return Annotated(path.name, text, tuple(spans.values()), tuple(relations), tuple(events))


def _take_numbers_in(spans: dict[str, tuple[str, Span]], relations: Iterable[str]) -> None:
    """Units reach over the numbers that count them, where these stand beside them."""
    for label, number, unit in (columns.split() for columns in relations):
        if label == "Number_Of":
            first, second = (spans[one.partition(":")[2]][1] for one in (number, unit))
            identifier = unit.partition(":")[2]
            if -_LONGEST_GAP <= first[1] - second[0] <= 0 or 0 <= first[0] - second[1] <= 2:
                start, end = min(first[0], second[0]), max(first[1], second[1])
                spans[identifier] = spans[identifier][0], (start, end)


def _parted(piece: str) -> tuple[str, str, str]:
    return piece.partition(":")


SOURCES = (
    Source(
        name="wetlab",
        title="WNUT 2020 wet lab protocols",
        licence="MIT",
        attribution="jeniyat/WNUT_2020_NER (9a02914)",
        read=_reader("wetlab", WETLAB),
        archive="wetlab.tar.xz",
        cap=6_000,
        absent="schema",
    ),
    Source(
        name="materials",
        title="Annotated materials syntheses",
        licence="MIT",
        attribution="olivettigroup/annotated-materials-syntheses (dd6abd1)",
        read=_reader("materials", MATERIALS),
        archive="materials.tar.xz",
        cap=None,
        absent="schema",
    ),
)
