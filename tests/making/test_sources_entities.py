"""Each archive in its raw format, some lines of it, with exact records; then the real archives."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from making.sources import (
    biomedical,
    cyner,
    few_nerd,
    grobid_ner,
    litbank,
    nlu_evaluation,
    personal_data,
    restaurant8k,
    snips,
    stackoverflow,
    tasteset,
    web_names,
)
from making.sources.__main__ import read, unpacked
from making.sources.mending import mended, natural, stretches, without
from making.sources.source import Source
from making.sources.unify import types_of, unified
from ucuie.data.draft import Draft, entity
from ucuie.language.linearize import without_offsets
from ucuie.schema import Example

ARCHIVES = Path(os.environ.get("UCUIE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "wide"
MODULES = (
    *(biomedical, cyner, few_nerd, grobid_ner, litbank, nlu_evaluation, personal_data, restaurant8k, snips),
    *(stackoverflow, tasteset, web_names),
)
ALL = {source.name: source for module in MODULES for source in module.SOURCES}

Written = Callable[..., list[Example]]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """The examples of a source of files with these contents."""

    def read_contents(source: str, **contents: str | bytes) -> list[Example]:
        for name, content in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(ALL[source].read(tmp_path))

    return read_contents


def shown(example: Example) -> str:
    return ", ".join(str(without_offsets(record)) for record in example.records)


def columns(text: str, separator: str = "\t") -> str:
    """ "I/O am/O Ann/B-PER" as lines of token and tag."""
    return "\n".join(word.replace("/", separator) for word in text.split(" ")) + "\n\n"


def test_few_nerd_places_answers_from_left_to_right(written: Written) -> None:
    question = "Find entities. Text: 'The Dutch speak Dutch in `` De Balie `` , said Ann Lee 's uncle . '"
    answer = (
        "[Answer]: Dutch: location_GPE; Dutch: other_language; De Balie: building_other; "
        "Ann Lee 's: person_other; "
    )
    nothing = {"role": "user", "content": "Text: 'It rained . '\n\nIf there are no entities, answer \"NA\"."}
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
        nothing,
        {"role": "assistant", "content": "NA"},
        {"role": "user", "content": "Text: 'He came . '"},
        {"role": "assistant", "content": "[Answer]: "},
    ]
    (example,) = written("few_nerd", **{"a.jsonl": json.dumps({"messages": messages})})
    assert example.text == 'The Dutch speak Dutch in "De Balie", said Ann Lee\'s uncle.'
    assert shown(example) == (
        "(geopolitical entity: Dutch): [], (language: Dutch): [], (other building: De Balie): [], "
        "(other person: Ann Lee): []"
    )
    assert [record.filler.start for record in example.records if record.filler] == [4, 16, 26, 42]


def test_few_nerd_leaves_out_a_text_with_an_entity_that_stands_there_more_often(written: Written) -> None:
    messages = [
        {"role": "user", "content": "Text: 'Kiel beat Kiel . '"},
        {"role": "assistant", "content": "Kiel: location_GPE; "},
    ]
    assert written("few_nerd", **{"a.jsonl": json.dumps({"messages": messages})}) == []


def test_litbank_has_nested_entities_with_events(written: Written) -> None:
    (example,) = written(
        "litbank",
        **{
            "entities/brat/1_a_brat.txt": "Her mother 's house had burned .\nIt was late .\n",
            "entities/brat/1_a_brat.ann": "T1\tFAC 0 19\tHer mother 's house\nT2\tPER 0 10\tHer mother\n",
            "events/tsv/1_a_brat.tsv": columns(
                "Her/O mother/O 's/O house/O had/O burned/EVENT ./O\n\nIt/O was/O late/O ./O"
            ),
        },
    )
    assert example.text == "Her mother's house had burned. It was late."
    assert shown(example) == (
        "(person: Her mother): [], (facility: Her mother's house): [], (event that happened: burned): []"
    )


def test_stackoverflow_leaves_out_bookkeeping(written: Written) -> None:
    rows = "Question_ID/O :/O 37985/O\n\nBind/O the/O DataGridView/B-Library_Class ,/O please/O ./O"
    doubled = re.sub(r"(\S+)\t(\S+)", r"\1\t\2\t\1\t\2", columns(rows).replace("//", "/"))
    folder = "resources/annotated_ner_data/StackOverflow"
    (example,) = written("stackoverflow", **{f"{folder}/train.txt": doubled, f"{folder}/dev.txt": ""})
    assert example.text == "Bind the DataGridView, please."
    assert shown(example) == "(library class: DataGridView): []"
    assert "keyboard input" in example.schema


def test_biomedical_tokens_are_joined_at_hyphens(written: Written) -> None:
    gene = "B-Gene_or_gene_product"
    rows = columns(f"The/O TGF/{gene} -/I{gene[1:]} beta/I{gene[1:]} gene/O ./O")
    folder = "data/BioNLP13CG-IOB"
    (example,) = written("cancer_genetics", **{f"{folder}/train.tsv": rows, f"{folder}/devel.tsv": ""})
    assert example.text == "The TGF-beta gene."
    assert shown(example) == "(gene or gene product: TGF-beta): []"


def test_craft_has_no_symbols_as_entities(written: Written) -> None:
    rows = "Pax6\tB-GGP\n+\tB-SO\n/\tO\n-\tO\nmice\tB-Taxon\n\n"
    (example,) = written("craft", **{"data/CRAFT-IOB/train.tsv": rows, "data/CRAFT-IOB/devel.tsv": ""})
    assert shown(example) == "(gene or gene product: Pax6): [], (organism: mice): []"


def test_wnut_is_written_as_people_write(written: Written) -> None:
    rows = columns("I/O do/O n/O '/O t/O love/O Pizza/B-corporation Hut/I-corporation </O 3/O")
    folder = "data/WNUT17/CONLL-format/data"
    contents = {f"{folder}/train/wnut17train.conll": rows, f"{folder}/dev/emerging.dev.conll": ""}
    (example,) = written("wnut17", **contents)
    assert example.text == "I don't love Pizza Hut <3"
    assert shown(example) == "(corporation: Pizza Hut): []"


def test_wikigold_has_tags_without_beginnings(written: Written) -> None:
    rows = columns("-DOCSTART-/O\n\nThe/I-ORG Mad/I-ORG play/O Punk/I-MISC ./O", " ")
    (example,) = written("wikigold", **{"data/wikigold/wikigold.conll.txt": rows})
    assert example.text == "The Mad play Punk."
    assert shown(example) == "(organization: The Mad): [], (miscellaneous: Punk): []"


def test_cyner_puts_addresses_together_that_end_a_sentence(written: Written) -> None:
    first = columns("Cerberus/B-Malware calls/O 188.1/B-Indicator [/I-Indicator ./I-Indicator")
    rows = first + columns("]/I-Indicator 28/I-Indicator daily/O ./O")
    (example,) = written("cyner", **{"dataset/mitre/train.txt": rows, "dataset/mitre/valid.txt": ""})
    assert example.text == "Cerberus calls 188.1[.]28 daily."
    assert shown(example) == "(malware: Cerberus): [], (indicator of compromise: 188.1[.]28): []"


def test_tasteset_keeps_lines_whole(written: Written) -> None:
    entities = [
        {"start": 0, "end": 1, "type": "QUANTITY", "entity": "5"},
        {"start": 2, "end": 8, "type": "UNIT", "entity": "ounces"},
        {"start": 9, "end": 12, "type": "FOOD", "entity": "rum"},
        {"start": 13, "end": 17, "type": "FOOD", "entity": "mint"},
        {"start": 13, "end": 18, "type": "FOOD", "entity": "basil"},
    ]
    quoted = json.dumps(entities).replace('"', '""')
    table = f'ingredients,ingredients_entities\n"5 ounces rum\nmint\n","{quoted}"\n'
    examples = written("tasteset", **{"data/TASTEset.csv": table})
    assert "\n".join(example.text for example in examples) == "5 ounces rum\nmint"
    assert ", ".join(map(shown, examples)) == (
        "(quantity: 5): [], (unit of measure: ounces): [], (food: rum): [], (food: mint): []"
    )


def test_personal_data_offers_what_no_template_writes_out(written: Written) -> None:
    text = "Ann lives at 5049,\nHarju 54"
    spans = [
        {"entity_type": kind, "entity_value": value, "start_position": start}
        for kind, value, start in [
            ("STREET_ADDRESS", "Harju 54", 19), ("STREET_ADDRESS", "5049", 13), ("PERSON", "Ann", 0)
        ]
    ]  # fmt: skip
    items = [{"full_text": text, "spans": spans}, {"full_text": "wrong ??? letters", "spans": []}]
    (example,) = written("personal_data", **{"data/synth_dataset_v2.json": json.dumps(items)})
    assert example.text == "Ann lives at 5049, Harju 54"
    assert shown(example) == "(person: Ann): [], (street address: 5049, Harju 54): []"
    assert "credit card number" in example.schema
    assert "organization" not in example.schema


def test_grobid_has_entities_in_place(written: Written) -> None:
    xml = (
        '<corpus><sentence>About <ENAMEX type="MEASURE">six million</ENAMEX>'
        '<ENAMEX type="PERSON_TYPE">Jews</ENAMEX> of\n'
        '\t<ENAMEX type="LOCATION">Europe</ENAMEX> ( 1941 ).</sentence>'
        '<sentence>An <ENAMEX type="UNKNOWN">odd</ENAMEX> one.</sentence></corpus>'
    )
    (example,) = written("grobid_ner", **{"a.training.xml": xml})
    assert example.text == "About six million Jews of Europe (1941)."
    assert shown(example) == "(measure: six million): [], (group of people: Jews): [], (location: Europe): []"


def test_snips_is_entities_or_one_frame_for_the_intent(written: Written) -> None:
    def item(city: str) -> dict[str, Any]:
        return {"data": [{"text": "Rain in "}, {"text": city, "entity": "city"}, {"text": "?"}]}

    files = {f"{one}/train_{one}_full.json": json.dumps({one: []}) for one in snips.INTENTS}
    cities = ["München", "Rom", "Kiel", "Bonn"]
    content = json.dumps({"GetWeather": list(map(item, cities))}, ensure_ascii=False).encode()
    examples = written("snips", **{**files, "GetWeather/train_GetWeather_full.json": content})
    found = {(example.task, shown(example)) for example in examples}
    assert len(found) == len(examples) == len(cities)
    for city in cities:
        entities = ("NER", f"(city: {city}): []")
        intent = ("EE", f"(get the weather: Null): [(city: {city})]")
        assert len(found & {entities, intent}) == 1
    assert {example.task for example in examples} == {"NER", "EE"}
    frame_names = {example.task: example.schema.frame_names for example in examples}
    assert frame_names["NER"] == ("city",)
    assert len(frame_names["EE"]) == len(snips.INTENTS)


def test_nlu_evaluation_offers_what_is_common_in_a_scenario(written: Written) -> None:
    def item(text: str, label: str, start: int) -> dict[str, Any]:
        span = {"start": start, "end": len(text), "value": text[start:], "entity": label}
        return {"text": text, "intent": "iot_hue_lightoff", "entities": [span]}

    rooms = [item(f"lights off in room {name}", "house_place", 14) for name in "abcdefghij"]
    items = [*rooms, *rooms, item("lights off at nine", "time", 14)]
    fold = json.dumps({"rasa_nlu_data": {"common_examples": items}})
    examples = written("nlu_evaluation", **{"KFold_1/merged.json": fold, "KFold_2/merged.json": fold})
    assert len(examples) == len(rooms)
    for example, letter in zip(examples, "abcdefghij", strict=True):
        room = f"place in the house: room {letter}"
        assert shown(example) in (f"({room}): []", f"(turn the light off: Null): [({room})]")
    assert {example.schema.frame_names for example in examples if example.task == "NER"} == {
        ("place in the house",)
    }


def test_restaurant8k_reads_a_start_that_is_left_out(written: Written) -> None:
    items = [
        {"userInput": {"text": "6 a.m. for 2"}, "labels": [
            {"slot": "time", "valueSpan": {"endIndex": 6}},
            {"slot": "people", "valueSpan": {"startIndex": 11, "endIndex": 12}},
        ]},
    ]  # fmt: skip
    (example,) = written("restaurant8k", **{"restaurant8k/train_0.json": json.dumps(items)})
    assert shown(example) in (
        "(time: 6 a.m.): [], (party size: 2): []",
        "(table booking: Null): [(party size: 2), (time: 6 a.m.)]",
    )


def test_at_most_a_quarter_has_no_records() -> None:
    types = types_of("X | letter | The letter x.")
    drafts = [Draft("", f"x {name}", (entity("X", f"x {name}", (0, 1)),)) for name in ("one", "two", "three")]
    empty = [Draft("", f"nothing {name}", ()) for name in "abcdefgh"]
    examples = list(unified("letters", [*empty, *drafts, *drafts], types))
    assert [bool(example.records) for example in examples] == [False, True, True, True]
    assert [example.id for example in examples] == [f"letters/{number}" for number in (1, 2, 3, 4)]
    assert examples == list(unified("letters", [*empty, *drafts, *drafts], types))


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("the bay, he", (4, 8), "bay"),
        ("a parlour window", (2, 12), "parlour window"),
        ("a region (UTR) here", (2, 13), "region (UTR)"),
        ("beta 2) is", (0, 7), "beta 2"),
        ('the "Brown coupe" is', (4, 16), "Brown coupe"),
        ('humbler "Brown coupe" is', (0, 20), 'humbler "Brown coupe"'),
        ("weighs 65g here", (7, 9), "65"),
    ],
)
def test_fillers_end_where_words_and_brackets_do(text: str, span: tuple[int, int], expected: str) -> None:
    (record,) = mended(Draft("", text, (entity("X", text, span),))).records
    assert record.filler is not None
    assert record.filler.text == expected


def test_running_text_keeps_what_the_fillers_name() -> None:
    text = " The  “ Big\nApple ” ( NY ) , they say ."
    draft = Draft("", text, (entity("X", text, (8, 17)), entity("Y", text, (22, 24))))
    moved = natural(draft)
    assert moved.text == "The “Big Apple” (NY), they say."
    assert [record.filler.text for record in moved.records if record.filler] == ["Big Apple", "NY"]


def test_a_record_that_loses_its_characters_is_counted() -> None:
    draft = Draft("", "a--b", (entity("X", "a--b", (1, 3)), entity("Y", "a--b", (0, 4))))
    assert without(draft, re.compile("-")).changes == ("record without a word",)
    assert without(draft, re.compile("-")).records == (entity("Y", "ab", (0, 2)),)


def test_pieces_of_a_document_cut_no_record() -> None:
    text = "One is. Two is. Three is. Four is."
    draft = Draft("", text, (entity("X", text, (4, 12)),))
    pieces = [piece.text for piece in stretches(draft, max_sentences=1, max_characters=100)]
    assert pieces == ["One is. Two is.", "Three is.", "Four is."]


@pytest.mark.long
@pytest.mark.parametrize("source", [pytest.param(source, id=name) for name, source in ALL.items()])
def test_a_real_archive_gives_examples_worth_learning_from(source: Source, tmp_path: Path) -> None:
    assert source.archive is not None
    if not (ARCHIVES / source.archive).is_file():
        pytest.skip(f"the archive {source.archive} is not in the wide folder of UCUIE_DATA")
    examples, left = read(source, unpacked(source, ARCHIVES, tmp_path))
    filled = [example for example in examples if example.records]
    assert len(examples) > 1000
    assert len(filled) >= 0.75 * len(examples) - 1
    assert len({example.id for example in examples}) == len(examples)
    assert all(example.split == "train" and example.dataset == source.name for example in examples)
    assert all(left.values())
    names = {frame.name for example in examples for frame in example.schema.frames}
    assert all(re.fullmatch(r"[a-z][a-z -]*(?:, [a-z ]+)?", name) for name in names)
    descriptions = {frame.description for example in examples for frame in example.schema.frames}
    assert max(len(text.split()) for text in descriptions if text) <= 15
    used = {record.frame for example in examples for record in example.records}
    assert names == used
