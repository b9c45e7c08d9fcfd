"""What annotation tools say in their files: spans in pieces, events in events, offsets, directions."""

import json
from pathlib import Path
from typing import Any

import pytest
from data_cases import example, told

from ucuie.data import convert_format, export, read_examples
from ucuie.data.conversion import SplitReport
from ucuie.data.formats.annotation_tools import Offsets
from ucuie.schema import Example, Record, Task


def brat(folder: Path, text: str, *lines: str) -> Path:
    source = folder / "source"
    source.mkdir(exist_ok=True)
    (source / "a.txt").write_text(text, encoding="utf-8", newline="")
    (source / "a.ann").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    return source


def json_file(folder: Path, *items: Any) -> Path:
    (folder / "a.json").write_text(json.dumps(items))
    return folder / "a.json"


def converted(
    format_name: str,
    source: Path,
    task: Task = "NER",
    *,
    offsets: Offsets = "characters",
) -> tuple[list[Record], SplitReport]:
    output = source.parent / "out"
    report = convert_format(format_name, source, output, task=task, offsets=offsets).splits["train"]
    return [record for one in read_examples(output / "train.jsonl") for record in one.records], report


def fault_of(format_name: str, *items: Any, folder: Path) -> str:
    """The fault of the first item; the last is a good one."""
    _, report = converted(format_name, json_file(folder, *items))
    return report.faults[0].split("   ")[1]


BIND = (
    "T1\tProtein 0 4\tIL-2",
    "T2\tProtein 9 13\tIL-4",
    "T3\tProtein 19 22\tp50",
    "T4\tBinding 14 18\tbind",
)


def test_two_events_of_brat_on_one_trigger_are_two(tmp_path: Path) -> None:
    source = brat(
        tmp_path, "IL-2 and IL-4 bind p50", *BIND,
        "E1\tBinding:T4 Theme:T1 Theme2:T3", "E2\tBinding:T4 Theme:T2 Theme2:T3",
    )  # fmt: skip
    records, report = converted("brat", source, "EE")
    assert list(map(told, records)) == [
        ("Binding", "bind", [("Theme", "IL-2"), ("Theme", "p50")]),
        ("Binding", "bind", [("Theme", "IL-4"), ("Theme", "p50")]),
    ]
    assert report.changes == {}


def test_an_event_of_brat_may_be_an_argument_of_another(tmp_path: Path) -> None:
    source = brat(
        tmp_path, "TNF induces expression of IL-8",
        "E1\tPositive_regulation:T3 Theme:E2 Cause:T1",
        "T1\tProtein 0 3\tTNF", "T2\tProtein 26 30\tIL-8", "T3\tPositive_regulation 4 11\tinduces",
        "T4\tGene_expression 12 22\texpression", "E2\tGene_expression:T4 Theme:T2",
        "R1\tPart Arg1:E1 Arg2:T2\t",
    )  # fmt: skip
    records, report = converted("brat", source, "EE")
    assert list(map(told, records)) == [
        ("Positive regulation", "induces", [("Theme", "expression"), ("Cause", "TNF")]),
        ("Gene expression", "expression", [("Theme", "IL-8")]),
    ]
    assert report.changes == {"R line left out": 1}


@pytest.mark.parametrize("format_name", ["doccano", "label-studio", "prodigy"])
def test_a_span_that_has_arguments_is_an_event_even_where_it_is_one_itself(
    format_name: str, tmp_path: Path
) -> None:
    text = "TNF induces expression of IL-8"
    spans = [("Regulation", 4, 11), ("Expression", 12, 22), ("Protein", 26, 30)]
    links = [("Theme", 0, 1), ("Theme", 1, 2)]
    if format_name == "doccano":
        item: dict[str, Any] = {
            "text": text,
            "entities": [
                {"id": index, "label": label, "start_offset": start, "end_offset": end}
                for index, (label, start, end) in enumerate(spans)
            ],
            "relations": [{"type": role, "from_id": source, "to_id": end} for role, source, end in links],
        }
    elif format_name == "prodigy":
        found = [{"label": label, "start": start, "end": end} for label, start, end in spans]
        item = {
            "text": text,
            "spans": found,
            "relations": [
                {"label": role, "head_span": found[source], "child_span": found[end]}
                for role, source, end in links
            ],
        }
    else:
        item = studio(
            text,
            *(region(str(index), *span) for index, span in enumerate(spans)),
            *(arrow(str(source), str(end), role) for role, source, end in links),
        )
    records, _ = converted(format_name, json_file(tmp_path, item), "EE")
    assert list(map(told, records)) == [
        ("Regulation", "induces", [("Theme", "expression")]),
        ("Expression", "expression", [("Theme", "IL-8")]),
    ]


def test_pieces_of_brat_with_only_white_space_between_them_are_one_span(tmp_path: Path) -> None:
    source = brat(tmp_path, "University of\r\nOslo is old", "T1\tOrg 0 13;15 19\tUniversity of Oslo")
    records, report = converted("brat", source)
    assert [record.filler and record.filler.span for record in records] == [(0, 19)]
    assert report.changes == {}


def test_every_piece_of_an_end_of_a_relation_fills_its_slot(tmp_path: Path) -> None:
    lines = ("T1\tP 0 5;15 20\talpha actin", "T2\tP 24 28\tmyos", "R1\tbinds Arg2:T2 Arg1:T1")
    source = brat(tmp_path, "alpha and beta actin or myosin", *lines)
    (record,), report = converted("brat", source, "RE")
    assert told(record)[2] == [("subject", "alpha"), ("subject", "actin"), ("object", "myos")]
    assert report.changes == {"span of several pieces split into them": 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("T1\tOrg 1 6;12 17\tLorem dolor", "T1 says 'Lorem dolor', the text there is 'orem  dolor'"),
        ("T1\tOrg 0 5\tLorem\nT1\tOrg 6 11\tipsum", "T1 stands twice"),
        ("T1\tOrg 0 5\tLorem\nR1\tx Arg1:T1 Arg2:T1\tT3", "'T3' stands after the arguments"),
        ("X1\tOrg 0 5\tLorem", "'X1' is no T, R or E with a number"),
        ("\tOrg 0 5\tLorem", "'' is no T, R or E with a number"),
        ("E1\tOrg:T9", "an event names 'T9', which is no span"),
    ],
)
def test_lines_of_brat_that_say_something_wrong_are_faults(line: str, reason: str, tmp_path: Path) -> None:
    source = brat(tmp_path, "Lorem ipsum dolor", line)
    (source / "b.txt").write_text("ok")
    (source / "b.ann").write_text("T1\tOrg 0 2\tok\nE1\tOrg:T1\n")
    _, report = converted("brat", source, "EE")
    assert [fault.split("   ")[1] for fault in report.faults] == [reason]


def test_brat_counts_a_byte_order_mark(tmp_path: Path) -> None:
    (record,), _ = converted("brat", brat(tmp_path, "\ufeffAda ran", "T1\tP 1 4\tAda"))
    assert told(record)[1] == "Ada"


def region(name: str, label: str | None, start: Any, end: Any, words: str | None = None) -> dict[str, Any]:
    value = {"start": start, "end": end} | ({"labels": [label]} if label else {})
    return {"type": "labels", "id": name, "value": value | ({} if words is None else {"text": words})}


def arrow(source: str, target: str, *labels: str, direction: str = "right") -> dict[str, Any]:
    ends = {"from_id": source, "to_id": target, "direction": direction}
    return {"type": "relation"} | ends | ({"labels": list(labels)} if labels else {})


def studio(text: str, *results: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"text": text}, "annotations": [{"result": list(results)}]}


@pytest.mark.parametrize(
    ("direction", "ends", "changes"),
    [
        ("right", ["Ada", "Bob"], {}),
        ("left", ["Bob", "Ada"], {}),
        ("bi", ["Ada", "Bob"], {"relation in both directions read in one": 1}),
    ],
)
def test_a_relation_of_label_studio_leads_where_its_arrow_points(
    direction: str, ends: list[str], changes: dict[str, int], tmp_path: Path
) -> None:
    regions = region("a", "P", 0, 3), region("b", "P", 8, 11)
    item = studio("Ada met Bob", *regions, arrow("a", "b", "knows", direction=direction))
    (record,), report = converted("label-studio", json_file(tmp_path, item), "RE")
    assert [filler.text for filler in record.fillers()] == ends
    assert report.changes == changes


def test_what_label_studio_holds_without_a_label_is_left_out_and_counted(tmp_path: Path) -> None:
    item = studio(
        "Ada met Bob", region("a", "P", 0, 3), region("b", None, 8, 11),
        arrow("a", "b"), arrow("a", "b", "knows"), {"type": "choices", "id": "a", "value": {}},
    )  # fmt: skip
    item["annotations"].append({"result": []})
    changes = {
        "annotation left out": 1,
        "choices left out": 1,
        "relation without a label left out": 1,
        "span without a label left out": 1,
        "text without an annotation": 1,
    }
    source = json_file(tmp_path, item, {"data": {"text": "Nobody"}})
    entities, report = converted("label-studio", source)
    assert [told(record)[:2] for record in entities] == [("P", "Ada")]
    assert report.changes == changes
    relations, report = converted("label-studio", source, "RE")
    assert [told(record) for record in relations] == [
        ("knows", None, [("subject", "Ada"), ("object", "Bob")])
    ]
    assert report.changes == changes


EMOJI = "💩Ada met Bob 👩‍🔬 today"


def mark(format_name: str, start: int, end: int, words: str | None) -> dict[str, Any]:
    if format_name == "label-studio":
        return studio(EMOJI, region("a", "P", start, end, words))
    if format_name == "doccano":
        return {"text": EMOJI, "label": [[start, end, "P"]]}
    span = {"start": start, "end": end, "label": "P"} | ({} if words is None else {"text": words})
    return {"text": EMOJI, "spans": [span]}


@pytest.mark.parametrize("format_name", ["label-studio", "prodigy"])
def test_copies_of_words_tell_whether_offsets_count_characters_or_utf_16(
    format_name: str, tmp_path: Path
) -> None:
    source = json_file(tmp_path, mark(format_name, 9, 12, "Bob"), mark(format_name, 10, 13, "Bob"))
    both: tuple[Offsets, ...] = ("characters", "utf-16")
    for offsets in both:
        records, report = converted(format_name, source, offsets=offsets)
        assert [told(record)[1] for record in records] == ["Bob", "Bob"]
        assert report.changes == {f"offsets do not count {offsets}, as the copies of words show": 1}


@pytest.mark.parametrize("format_name", ["doccano", "label-studio", "prodigy"])
def test_without_copies_an_option_tells_and_cut_words_are_counted(format_name: str, tmp_path: Path) -> None:
    source = json_file(tmp_path, mark(format_name, 10, 13, None))
    (record,), report = converted(format_name, source)
    assert told(record)[1] == "ob "
    assert report.changes == {"offsets that cut words, and would not in UTF-16": 1}
    (record,), report = converted(format_name, source, offsets="utf-16")
    assert told(record)[1] == "Bob"
    assert report.changes == {}


def test_copies_of_prodigy_that_stand_elsewhere_are_a_fault(tmp_path: Path) -> None:
    wrong = {"text": "Ada met Bob", "spans": [{"start": 1, "end": 4, "label": "P", "text": "Ada"}]}
    fault = fault_of("prodigy", wrong, mark("prodigy", 1, 4, "Ada"), folder=tmp_path)
    assert fault == "'Ada' does not stand at 1, but 'da '"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ([0, 3], "[0, 3] is neither [start, end, label] nor an object with these"),
        (["0", 3, "P"], "'0' is no offset, which is a whole number"),
        ([0.5, 3, "P"], "0.5 is no offset, which is a whole number"),
        ([True, 3, "P"], "True is no offset, which is a whole number"),
        ([0, float("inf"), "P"], "inf is no offset, which is a whole number"),
        ([0, 30, "P"], "0:30 is no range of the 11 characters of the text"),
        ({"id": 1, "label": "P", "end_offset": 3}, "the field 'start_offset' is missing"),
    ],
)
def test_spans_of_doccano_of_another_shape_are_named(entry: Any, reason: str, tmp_path: Path) -> None:
    good = {"text": "Ada met Bob", "entities": [[0, 3, "P"], [8.0, 11.0, "P"]], "relations": None}
    item = {"text": "Ada met Bob", "entities": [entry]}
    assert fault_of("doccano", item, good, folder=tmp_path) == reason


def test_spans_of_doccano_may_be_lists_anywhere_and_null_is_none(tmp_path: Path) -> None:
    items = [{"text": "Ada ran", "entities": [[0, 3.0, "P"]]}, {"text": "Nobody", "label": None}]
    records, report = converted("doccano", json_file(tmp_path, *items))
    assert [told(record)[:2] for record in records] == [("P", "Ada")]
    assert report.examples == 2
    items = [{"text": "Ada", "spans": [{"start": 0, "end": 3, "label": "P"}]}, {"text": "No", "spans": None}]
    _, report = converted("prodigy", json_file(tmp_path, *items))
    assert report.examples == 2


def test_two_spans_of_doccano_with_one_id_are_a_fault(tmp_path: Path) -> None:
    spans = [{"id": 1, "label": "P", "start_offset": start, "end_offset": start + 3} for start in (0, 8)]
    item = {"text": "Ada met Bob", "entities": spans}
    fault = fault_of("doccano", item, mark("doccano", 1, 4, None), folder=tmp_path)
    assert fault == "two spans have the id '1'"


def test_a_value_of_another_kind_is_told_in_plain_words(tmp_path: Path) -> None:
    fault = fault_of("doccano", {"text": 5, "label": []}, mark("doccano", 1, 4, None), folder=tmp_path)
    assert fault.startswith("unexpected structure: a list, object, string, number or null stands")


PAIR = example("Ann works for Acme", ("work for", None, {"object": "Acme", "subject": "Ann"}), task="RE")


@pytest.mark.parametrize(
    "format_name", ["brat", "doccano", "instructuie", "label-studio", "prodigy", "iepile"]
)
def test_slots_of_a_pair_are_written_by_their_names_not_by_their_order(
    format_name: str, tmp_path: Path
) -> None:
    export([PAIR], format_name, tmp_path / "file")
    (record,), _ = converted(format_name, tmp_path / "file", "RE")
    assert dict(told(record)[2]) == {"subject": "Ann", "object": "Acme"}


def lost(source: Example, format_name: str, folder: Path) -> dict[str, int]:
    return export([source], format_name, folder / format_name).lost


def test_what_would_be_read_as_something_else_is_not_written(tmp_path: Path) -> None:
    named = example("Ann works for Acme", ("work for", None, {"who": "Ann", "object": "Acme"}), task="RE")
    assert lost(named, "doccano", tmp_path) == {"name of a slot of a pair": 1}
    untold = example("Ann gave tea", ("give", None, {"giver": "Ann", "thing": "tea"}))
    assert lost(untold, "doccano", tmp_path) == {"event without a trigger": 1}
    assert "R1\tgive" in brat_lines(untold, tmp_path / "untold")
    half = example("Ann gave tea", ("give", "gave", {"giver": "Ann", "thing": None}))
    assert lost(half, "label-studio", tmp_path) == {"slot without text": 1}
    with_slot = example("Ann gave", ("give", "gave", {"giver": "Ann"}), task="NER")
    assert lost(with_slot, "brat", tmp_path) == {"record that is no entity": 1}


def brat_lines(source: Example, folder: Path) -> str:
    export([source], "brat", folder)
    return (folder / "000001.ann").read_text()


def test_names_that_brat_cannot_hold_are_replaced_and_counted(tmp_path: Path) -> None:
    source = example("Ann met Bob", ("Contact:Meet", "met", {"who 2": "Ann", "Theme2": "Bob", "a\tb": None}))
    assert export([source], "brat", tmp_path / "source").lost == {
        "name written otherwise": 2, "slot without text": 1,
    }  # fmt: skip
    (record,), _ = converted("brat", tmp_path / "source", "EE")
    assert told(record) == ("Contact-Meet", "met", [("who 2", "Ann"), ("Theme", "Bob")])


@pytest.mark.parametrize(
    "words", ["Ada\tByron", "Ada\u2028Tova", "Ada\x0bTova\x0b\x0b", "Ada\r\nByron", " \r"]
)
def test_mentions_with_any_white_space_come_back_from_brat(words: str, tmp_path: Path) -> None:
    source = example(f"x{words} wrote.", ("a person", words, {}), task="NER")
    assert export([source], "brat", tmp_path / "source").lost == {}
    assert (tmp_path / "source" / "annotation.conf").read_text().splitlines()[1] == "a_person"
    (record,), report = converted("brat", tmp_path / "source")
    assert record == source.records[0]
    assert not report.faults
