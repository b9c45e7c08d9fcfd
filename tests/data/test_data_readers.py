"""Each reader on a few hand-made rows of its format, with the trap that the format has."""

import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from data_cases import only_drafts, told

from ucuie.data.draft import Draft, Fault
from ucuie.data.readers import READERS, read_drafts
from ucuie.data.readers.columns import decode_tags
from ucuie.data.readers.triples import place_strings
from ucuie.errors import ConfigError, DataError
from ucuie.language.linearize import ParsedFrame, ParsedSlot

Read = Callable[..., list[Draft | Fault]]


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B-A I-A O B-A B-A", [("A", (0, 2)), ("A", (3, 4)), ("A", (4, 5))]),  # IOB2
        ("I-A I-A O I-B B-B", [("A", (0, 2)), ("B", (3, 4)), ("B", (4, 5))]),  # IOB1
        ("B-A E-A S-A O S-B", [("A", (0, 2)), ("A", (2, 3)), ("B", (4, 5))]),  # BIOES
        ("B-A L-A U-A B-A M-A", [("A", (0, 2)), ("A", (2, 3)), ("A", (3, 5))]),  # BILOU, BMES
        ("B-A I-B", [("A", (0, 1)), ("B", (1, 2))]),
        ("B-type-suv I-type-suv", [("type-suv", (0, 2))]),
        ("O", []),
    ],
)
def test_tags_of_every_scheme_are_decoded(tags: str, entities: list[tuple[str, tuple[int, int]]]) -> None:
    assert decode_tags(tags.split()) == entities


def test_columns_end_a_sentence_at_a_blank_line_or_the_end_of_the_file(read: Read) -> None:
    drafts = list(only_drafts(read("columns", "@\tB-PER\ncolgo\tB-PER\n\n\n\tO\na b\tB-LOC")))
    assert [draft.text for draft in drafts] == ["@colgo", "a b"]
    assert [told(record)[:2] for record in drafts[0].records] == [("PER", "@"), ("PER", "colgo")]
    assert [told(record)[:2] for record in drafts[1].records] == [("LOC", "a b")]


def test_columns_may_stand_in_another_order_and_start_with_a_document_mark(read: Read) -> None:
    tag_first = read("columns", "O\ta\nB-Rating\tgood\n", token_column=1, tag_columns=[0])
    indexed = read("columns", "0\ta\tO\n1\tgood\tB-Rating\n", token_column=1)
    marked = read("columns", "-DOCSTART- O\na O\ngood B-Rating\n", separator=" ")
    for (draft,) in map(list, map(only_drafts, (tag_first, indexed, marked))):
        assert draft.text == "a good"
        assert [told(record)[:2] for record in draft.records] == [("Rating", "good")]


def test_columns_unite_layers_parallel_files_and_repeated_sentences(read: Read) -> None:
    expected = [("X", "a b"), ("Y", "b")]
    layers = read("columns", "a\tB-X\tO\nb\tI-X\tB-Y\n", tag_columns=[1, 2])
    parallel = read("columns", "a B-X\nb I-X\n", "a O\nb B-Y\n", separator=" ", is_parallel=True)
    repeated = read("columns", "a B-X\nb E-X\n\na O\nb S-Y\n", separator=" ", unites_repetitions=True)
    for (draft,) in map(list, map(only_drafts, (layers, parallel, repeated))):
        assert [told(record)[:2] for record in draft.records] == expected


def test_columns_name_the_line_of_a_fault_and_go_on(read: Read) -> None:
    fault, draft = read("columns", "a\n\nb\tO\n", tag_columns=[1])
    assert isinstance(fault, Fault)
    assert fault.place == "file0.txt line 1"
    assert isinstance(draft, Draft)
    (differs,) = read("columns", "a O\n", "b O\n", separator=" ", is_parallel=True)
    assert isinstance(differs, Fault)


SPERT = {
    "tokens": ["Ann", "works", "for", "Acme", "."],
    "entities": [{"type": "Peop", "start": 0, "end": 1}, {"type": "Org", "start": 3, "end": 4}],
    "relations": [{"type": "Work_For", "head": 0, "tail": 1}],
}


def test_spert_relations_hold_entity_indices(read: Read) -> None:
    (draft,) = only_drafts(read("spert", json.dumps([SPERT])))
    assert draft.text == "Ann works for Acme."
    assert list(map(told, draft.records)) == [("Work_For", None, [("subject", "Ann"), ("object", "Acme")])]
    (entities,) = only_drafts(read("spert", json.dumps([SPERT]), records="entities"))
    assert [told(record)[:2] for record in entities.records] == [("Peop", "Ann"), ("Org", "Acme")]
    (fault,) = read("spert", json.dumps([SPERT | {"relations": [{"type": "x", "head": 0, "tail": 7}]}]))
    assert isinstance(fault, Fault)


def test_aste_lists_every_token_of_a_span(read: Read) -> None:
    good, bad = read("aste", "The duck rice is good .####[([1, 2], [4], 'POS')]\nx####[(\n")
    assert isinstance(good, Draft)
    assert told(good.records[0]) == ("POS", None, [("aspect", "duck rice"), ("opinion", "good")])
    assert isinstance(bad, Fault)
    assert bad.place.endswith("line 2")


def test_acos_leaves_implicit_aspects_and_opinions_out(read: Read) -> None:
    (draft,) = only_drafts(read("acos", "yum !\t-1,-1 FOOD#QUALITY 2 0,1\t-1,-1 FOOD#PRICES 0 -1,-1\n"))
    assert list(map(told, draft.records)) == [("2", None, [("opinion", "yum")]), ("0", None, [])]


def test_phee_splits_discontinuous_arguments_and_nests_sub_arguments(read: Read) -> None:
    event = {
        "event_type": "Adverse_event",
        "Trigger": {"text": [["caused"]], "start": [[8]]},
        "Treatment": {
            "text": [["drug", "Y"]],
            "start": [[0, 23]],
            "Drug": {"text": [["Y"]], "start": [[23]]},
            "Combination": [
                {"Trigger": {"text": [["and"]]}, "Drug": {"text": [["drug"]], "start": [[0]]}},
            ],
        },
        "Negated": {"text": [["not"]], "start": [[0]], "value": True},
    }
    item = {"context": "drug it caused by dose Y", "annotations": [{"events": [event]}]}
    (draft,) = only_drafts(read("phee", json.dumps(item)))
    slots = [
        ("Treatment", "drug"),
        ("Treatment", "Y"),
        ("Treatment.Drug", "Y"),
        ("Treatment.Combination", "drug"),
    ]
    assert told(draft.records[0]) == ("Adverse_event", "caused", slots)
    assert draft.changes == ("attribute Negated left out", "discontinuous argument split into its pieces")


def test_phee_refuses_offsets_that_do_not_hold_the_text(read: Read) -> None:
    event = {"event_type": "Adverse_event", "Trigger": {"text": [["caused"]], "start": [[1]]}}
    (fault,) = read("phee", json.dumps({"context": "it caused", "annotations": [{"events": [event]}]}))
    assert isinstance(fault, Fault)
    assert "'caused' does not stand at 1" in fault.reason


def test_triples_are_placed_nearest_to_each_other(read: Read) -> None:
    text = "Paris is far . Rome is not Paris , said '' Bo '' ."
    item = {"text": text, "triple_list": [["Rome", "near", "Paris"], ["Rome", "near", "Oslo"]]}
    (draft,) = only_drafts(read("triples", json.dumps([item])))
    assert draft.text == 'Paris is far. Rome is not Paris, said "Bo".'
    (record,) = draft.records
    assert told(record) == ("near", None, [("subject", "Rome"), ("object", "Paris")])
    assert [filler.start for filler in record.fillers()] == [14, 26]
    assert draft.changes == ("record not in the text left out",)


def test_spo_objects_have_further_slots(read: Read) -> None:
    spo = {"predicate": "获奖", "subject": "张三", "object": {"@value": "金奖", "inWork": "电影"}}
    (draft,) = only_drafts(read("spo", json.dumps({"text": "张三以电影获金奖", "spo_list": [spo]})))
    assert told(draft.records[0]) == (
        "获奖",
        None,
        [("subject", "张三"), ("object", "金奖"), ("inWork", "电影")],
    )


def test_open_relations_gather_the_tuples_of_a_sentence(read: Read) -> None:
    lines = "Bo saw Al .\tsaw\tBo\tAl\nIt rained .\trained\tIt\nBo saw Al .\tdid see\tBo\tAl\n"
    first, second = only_drafts(read("open relations", lines))
    assert list(map(told, first.records)) == [
        ("relation", None, [("predicate", "saw"), ("subject", "Bo"), ("object", "Al")])
    ]
    assert first.changes == ("record not in the text left out",)
    assert second.text == "It rained."


def test_relation_prompt_offers_the_labels_of_the_file(read: Read) -> None:
    def row(label: str, head: list[int], tail: list[int]) -> str:
        return json.dumps(
            {"triplets": [{"tokens": ["a", "b", "c"], "head": head, "tail": tail, "label": label}]}
        )

    pieces, empty = only_drafts(
        read("relation prompt", f"{row('spouse', [0, 2], [1])}\n{row('father', [], [1])}\n")
    )
    assert pieces.offered == empty.offered == ("father", "spouse")
    assert told(pieces.records[0])[2] == [("subject", "a"), ("subject", "c"), ("object", "b")]
    assert empty.records == ()
    assert empty.changes == ("triplet without head or tail left out",)


def test_fewrel_takes_the_text_from_the_tokens(read: Read) -> None:
    instance = {
        "tokens": ["Netanya", "in", "Israel"],
        "h": ["netanya", "", [[0]]],
        "t": ["israel", "", [[2]]],
    }
    (draft,) = only_drafts(read("fewrel", json.dumps({"P6": [instance]})))
    assert told(draft.records[0]) == ("P6", None, [("subject", "Netanya"), ("object", "Israel")])


def test_dygie_ends_are_inclusive_and_count_in_the_document(read: Read) -> None:
    document = {
        "sentences": [["Hi", "."], ["Big", "Ann", "left", "Acme"]],
        "ner": [[], [[2, 3, "PER"]]],
        "relations": [[], [[2, 3, 5, 5, "role"]]],
        "events": [[], [[[4, "leave"], [2, 3, "who"]]]],
    }
    found = {
        kind: list(only_drafts(read("dygie", json.dumps(document), records=kind)))[1].records
        for kind in ("entities", "relations", "events")
    }
    assert told(found["entities"][0]) == ("PER", "Big Ann", [])
    assert told(found["relations"][0]) == ("role", None, [("subject", "Big Ann"), ("object", "Acme")])
    assert told(found["events"][0]) == ("leave", "left", [("who", "Big Ann")])
    crossre = {"sentence": ["a", "b"], "ner": [], "relations": [[0, 0, 1, 1, "named", "", False, False]]}
    (draft,) = only_drafts(read("dygie", json.dumps(crossre)))
    assert told(draft.records[0])[2] == [("subject", "a"), ("object", "b")]


def test_docred_joins_the_nearest_mentions(read: Read) -> None:
    document = {
        "sents": [["Ann", "sang", "."], ["Bo", "likes", "Ann", "."]],
        "vertexSet": [
            [{"sent_id": 0, "pos": [0, 1]}, {"sent_id": 1, "pos": [2, 3]}],
            [{"sent_id": 1, "pos": [0, 1]}],
        ],
        "labels": [{"h": 0, "t": 1, "r": "P26"}],
    }
    (draft,) = only_drafts(read("docred", json.dumps([document])))
    assert draft.text == "Ann sang. Bo likes Ann."
    assert [filler.start for filler in draft.records[0].fillers()] == [19, 10]


def test_semeval_direction_is_in_the_label_and_marks_leave_no_blank(read: Read) -> None:
    blocks = (
        '1\t"A <e1>door</e1>-<e2>house</e2> link."\r\nComponent-Whole(e2,e1)\r\nComment: x\r\n\r\n'
        '2\t"<e1>a</e1> <e2>b</e2>"\r\nOther\r\nComment:\r\n\r\n'
    )
    first, second = only_drafts(read("semeval", blocks))
    assert first.text == "A door-house link."
    assert told(first.records[0]) == (
        "Component-Whole",
        None,
        [("subject", "house"), ("object", "door")],
    )
    assert told(second.records[0]) == ("Other", None, [("subject", "a"), ("object", "b")])
    (chosen,) = only_drafts(read("semeval", blocks, '{"train": [2]}', ids="train"))
    assert chosen.text == "a b"


def test_oneie_sentences_and_documents(read: Read) -> None:
    sentence = {
        "tokens": ["Troops", "killed", "two"],
        "entity_mentions": [
            {"id": "a", "start": 0, "end": 1, "entity_type": "ORG"},
            {"id": "b", "start": 2, "end": 3, "entity_type": "PER"},
        ],
        "relation_mentions": [
            {"relation_type": "near", "arguments": [{"entity_id": "b"}, {"entity_id": "a"}]},
        ],
        "event_mentions": [
            {
                "event_type": "Die",
                "trigger": {"start": 1, "end": 2},
                "arguments": [{"entity_id": "b", "role": "Victim"}, {"entity_id": "zz", "role": "Agent"}],
            }
        ],
    }
    (draft,) = only_drafts(read("oneie", json.dumps(sentence)))
    assert list(map(told, draft.records)) == [("Die", "killed", [("Victim", "two")])]
    assert draft.changes == ("argument in another sentence left out",)
    (entities,) = only_drafts(read("oneie", json.dumps(sentence), records="entities"))
    assert [told(record)[:2] for record in entities.records] == [("ORG", "Troops"), ("PER", "two")]
    (relations,) = only_drafts(read("oneie", json.dumps(sentence), records="relations"))
    assert told(relations.records[0])[2] == [("subject", "two"), ("object", "Troops")]
    document = {
        "sentences": [[[["Hi", 0, 2]], "Hi"], [[["No-one", 3, 9], ["died", 10, 14]], "No-one died"]],
        "entity_mentions": [{"id": "a", "sent_idx": 1, "start": 1, "end": 2}],
        "event_mentions": [
            {
                "event_type": "Die",
                "trigger": {"sent_idx": 1, "start": 2, "end": 3},
                "arguments": [{"entity_id": "a", "role": "Victim"}],
            }
        ],
    }
    (only,) = only_drafts(read("oneie", json.dumps(document), only_with_records=True))
    assert only.text == "No-one died"
    assert told(only.records[0]) == ("Die", "died", [("Victim", "No-one")])


def test_maven_arguments_carry_their_range_in_the_id(read: Read) -> None:
    mention = {
        "sent_id": 0,
        "offset": [1, 2],
        "arguments": [{"entity_id": "doc_1_0_1", "role": "Agent"}],
    }
    document = {
        "content": [{"tokens": ["Ann", "ran", "."]}],
        "events": [{"type": "Run", "mention": [mention]}],
    }
    (draft,) = only_drafts(read("maven", json.dumps(document)))
    assert told(draft.records[0]) == ("Run", "ran", [("Agent", "Ann")])


def test_rams_takes_whole_arguments_and_their_role(read: Read) -> None:
    window = {
        "sentences": [["Hi", "."], ["The", "man", "lied"]],
        "evt_triggers": [[4, 4, [["contact.lie", 1.0]]]],
        "ent_spans": [[2, 3, [["evt043arg01communicator", 1.0]]]],
        "gold_evt_links": [[[4, 4], [3, 3], "evt043arg01communicator"]],
    }
    (draft,) = only_drafts(read("rams", json.dumps(window)))
    assert draft.text == "Hi. The man lied"
    assert told(draft.records[0]) == ("contact.lie", "lied", [("communicator", "The man")])


def test_duee_has_starts_only(read: Read) -> None:
    argument = {"argument": "甲", "argument_start_index": 0, "role": "主体"}
    event = {"event_type": "裁员", "trigger": "裁", "trigger_start_index": 1, "arguments": [argument]}
    (draft,) = only_drafts(read("duee", json.dumps({"text": "甲裁员", "event_list": [event]})))
    assert told(draft.records[0]) == ("裁员", "裁", [("主体", "甲")])
    wrong = json.dumps({"text": "甲裁员", "event_list": [event | {"trigger_start_index": 0}]})
    (fault,) = read("duee", wrong)
    assert isinstance(fault, Fault)


def test_casie_repairs_offsets_and_cuts_articles_into_sentences(tmp_path: Path) -> None:
    content = "Nothing here. Hackers stole data. It was bad."
    event = {
        "subtype": "Databreach",
        "nugget": {"startOffset": 23, "text": "stole"},  # off by one
        "argument": [
            {"startOffset": 14, "text": "Hackers", "role": {"type": "Attacker"}},
            {"startOffset": 34, "text": "It", "role": {"type": "Victim"}},
        ],
    }
    article = {
        "info": {"date": "2018_11_09"},
        "content": content,
        "cyberevent": {"hopper": [{"events": [event]}]},
    }
    archive = tmp_path / "casie.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        for name in ("7", "999"):
            data = json.dumps(article).encode()
            member = tarfile.TarInfo(f"annotation/{name}.json")
            member.size = len(data)
            tar.addfile(member, BytesIO(data))
    (draft,) = only_drafts(list(read_drafts("casie", [archive], {"split": "test"})))
    assert draft.text == "Hackers stole data."
    assert told(draft.records[0]) == ("Databreach", "stole", [("Attacker", "Hackers")])
    assert sorted(draft.changes) == ["argument in another sentence left out", "offset repaired"]


def test_every_reader_turns_broken_items_into_faults(read: Read) -> None:
    for name in set(READERS) - {"columns", "aste", "acos", "casie", "fewrel", "semeval", "open relations"}:
        readings = read(name, '{"nonsense": 1}\nnot json\n')
        assert [type(reading) for reading in readings] == [Fault, Fault], name
        assert "line 2" in str(readings[1])


def test_an_unknown_reader_or_option_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'columns'"):
        read_drafts("colums", [], {})
    with pytest.raises(ConfigError, match="seperator"):
        read_drafts("columns", [], {"seperator": " "})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("aspirin", "only 1 column in 'aspirin'"),
        ("aspirin\tB-drug\textra", "'extra' is not a tag"),
        ("aspirin\tdrug", "'drug' is not a tag"),
        ("aspirin\tB-", "'B-' is not a tag"),
        ("aspirin\t", "'' is not a tag"),
    ],
)
def test_a_line_without_a_tag_is_a_fault_and_not_a_token_outside(
    read: Callable[..., list[Draft | Fault]], line: str, reason: str
) -> None:
    (fault, kept) = read("columns", f"took\tO\n{line}\n\nfine\tO\n")
    assert isinstance(fault, Fault)
    assert "line 2" in fault.place
    assert reason in fault.reason
    assert kept.text == "fine"


def test_fewrel_that_is_no_object_of_instances_is_named(read: Read) -> None:
    good = {"tokens": ["Bo", "ran"], "h": ["", "", [[0]]], "t": ["", "", [[1]]]}
    readings = read("fewrel", json.dumps({"P1": None, "P2": [good, {}, good | {"tokens": [1, 2]}]}))
    assert [type(reading) for reading in readings] == [Fault, Draft, Fault, Fault]
    assert readings[0] == Fault("file0.txt P1", "no list of instances")
    with pytest.raises(DataError, match="no object of relations"):
        read("fewrel", "null")


def test_semeval_names_the_sentences_of_a_split_that_are_missing(read: Read) -> None:
    block = '1\t"The <e1>child</e1> has a <e2>cradle</e2>."\nOther\nComment:\n\n'
    draft, fault = read("semeval", block, '{"train": [1, 7]}', ids="train")
    assert isinstance(draft, Draft)
    assert fault == Fault("file0.txt", "there is no sentence 7")
    with pytest.raises(DataError, match="no list of sentence numbers 'dev'"):
        read("semeval", block, '{"train": [1]}', ids="dev")


def test_a_broken_article_of_casie_costs_itself_alone(tmp_path: Path) -> None:
    article = {"info": {"date": "2018"}, "content": "None.", "cyberevent": {"hopper": []}}
    archive = tmp_path / "casie.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        for name, data in (("1", b"{"), ("2", b"{}"), ("3", json.dumps(article).encode())):
            member = tarfile.TarInfo(f"{name}.json")
            member.size = len(data)
            tar.addfile(member, BytesIO(data))
    readings = list(read_drafts("casie", [archive], {"split": "test"}))
    assert [str(reading).split("   ")[0] for reading in readings] == ["1.json", "2.json"]


def test_a_text_that_is_no_string_is_a_fault(read: Read) -> None:
    readings = read("spo", '{"text": 5, "spo_list": []}\n{"text": null, "spo_list": []}\n')
    assert [str(reading) for reading in readings] == [
        "file0.txt line 1   5 stands where a string should be",
        "file0.txt line 2   None stands where a string should be",
    ]


def test_an_argument_that_does_not_stand_in_the_text_is_counted() -> None:
    frame = ParsedFrame("give", "gave", (ParsedSlot("giver", "Ann"), ParsedSlot("thing", "tea")))
    draft = place_strings("a", "Ann gave", [frame, replace(frame, filler="took")])
    assert list(map(told, draft.records)) == [("give", "gave", [("giver", "Ann")])]
    assert draft.changes == ("record not in the text left out", "slot not in the text left out")
