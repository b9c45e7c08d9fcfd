import json
import sys
from pathlib import Path

import pytest
from data_cases import example, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ucuie.data import FORMATS, convert_format, export, export_splits, read_examples, write_examples
from ucuie.data.formats.spacy_docs import words_with_blanks
from ucuie.errors import ConfigError, DataError, MissingExtraError
from ucuie.schema import Example, Filler, Frame, Record, Schema

ENTITIES = [
    example(
        "Ann met Bo-Lee in Oslo.",
        ("person", "Ann", {}),
        ("person", "Bo-Lee", {}),
        ("home town", "Oslo", {}),
        task="NER",
    ),
    example("Nobody there.", task="NER", id="set/train/2"),
]
RELATIONS = [
    example("Ann works for Acme", ("work for", None, {"subject": "Ann", "object": "Acme"}), task="RE"),
]
EVENTS = [
    example(
        "Ann gave Bo tea",
        ("give", "gave", {"giver": "Ann", "thing": "tea"}),
        ("give", "gave", {"giver": "Bo"}),
        ("drink", "tea", {}),
    ),
]
OPINIONS = [example("Good tea", ("positive", None, {"aspect": "tea", "opinion": "Good"}), task="ABSA")]
FLAT = ("conll", "gliner", "spacy")


def skip_without_spacy(format_name: str) -> None:
    if format_name == "spacy":
        pytest.importorskip("spacy", reason="the extra `spacy` is not installed")


def round_trip(examples: list[Example], format_name: str, folder: Path) -> list[Example]:
    file = folder / f"data{FORMATS[format_name].suffix}"
    report = export(examples, format_name, file)
    assert report.examples == len(examples)
    task = examples[0].task
    assert task in ("NER", "RE", "EE", "ABSA")
    convert_format(format_name, file, folder / "back", task=task, strict=True)
    return list(read_examples(folder / "back"))


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("examples", [ENTITIES, RELATIONS, EVENTS, OPINIONS], ids=["NER", "RE", "EE", "ABSA"])
def test_what_a_format_can_hold_comes_back(format_name: str, examples: list[Example], tmp_path: Path) -> None:
    if format_name in FLAT and examples is not ENTITIES:
        pytest.skip("holds entities only")
    skip_without_spacy(format_name)
    back = round_trip(examples, format_name, tmp_path)
    if format_name == "prodigy" and examples is EVENTS:
        assert len(back[0].records) == 2  # the two events on one word are one span
        return
    for source, found in zip(examples, back, strict=True):
        assert found.text == source.text
        assert {str(told(record)) for record in found.records} == {
            str(told(record)) for record in source.records
        }
        assert {f.span for record in found.records for f in record.fillers()} == {
            f.span for record in source.records for f in record.fillers()
        }


@st.composite
def annotated_texts(draw: st.DrawFn) -> Example:
    text = draw(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)
    )
    records = []
    for label in draw(st.lists(st.sampled_from(["a", "b c"]), max_size=4)):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        records.append(Record(frame=label, filler=Filler(text=text[start:end], start=start, end=end)))
    records.append(Record(frame="a", filler=Filler(text=text[:1], start=0, end=1)))
    return Example(
        id="1",
        task="NER",
        text=text,
        schema=Schema(frames=(Frame(name="a"), Frame(name="b c"))),
        records=tuple(dict.fromkeys(records)),
    )


@pytest.mark.parametrize("format_name", sorted(set(FORMATS) - {"conll", "gliner", "iepile", "brat"}))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=annotated_texts())
def test_any_entities_come_back_exactly(format_name: str, source: Example, tmp_path: Path) -> None:
    skip_without_spacy(format_name)
    (found,) = round_trip([source], format_name, tmp_path)
    assert found.text == source.text
    assert set(found.records) == set(source.records)


def test_what_a_format_cannot_hold_is_counted(tmp_path: Path) -> None:
    nested = example("Bank of Oslo", ("organization", "Bank of Oslo", {}), ("town", "Oslo", {}), task="NER")
    assert export([nested], "conll", tmp_path / "a").lost == {"entity inside or across another": 1}
    assert export(RELATIONS, "conll", tmp_path / "a").lost == {"record that is no entity": 1}
    half = example("Good tea", ("positive", None, {"opinion": "Good"}), task="ABSA")
    for format_name in ("brat", "doccano", "label-studio", "prodigy"):
        output = tmp_path / format_name
        assert export([half], format_name, output).lost == {"record that is no pair of spans": 1}
    assert export([half], "csv", tmp_path / "a").lost == {}
    assert export(ENTITIES, "iepile", tmp_path / "a").lost == {"offsets": 1}


def test_brat_reads_events_numbered_roles_and_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ann and Bo gave tea")
    (tmp_path / "a.ann").write_text(
        "T1\tGive 11 15\tgave\nT2\tPerson 0 3;8 10\tAnn Bo\nT3\tThing 16 19\ttea\n"
        "E1\tGive:T1 Giver2:T3\n#1\tAnnotatorNotes T1\tnote\n"
    )
    report = convert_format("brat", tmp_path, tmp_path / "out", task="EE")
    (found,) = read_examples(tmp_path / "out")
    assert list(map(told, found.records)) == [("Give", "gave", [("Giver", "tea")])]
    assert report.splits["train"].changes == {
        "# line left out": 1,
        "span of several pieces split into them": 1,
    }
    with pytest.raises(DataError, match="holds texts already"):
        export(EVENTS, "brat", tmp_path)


def test_tools_read_their_other_shapes(tmp_path: Path) -> None:
    old_doccano = tmp_path / "doccano.jsonl"
    old_doccano.write_text(json.dumps({"text": "Ann ran", "label": [[0, 3, "person"]]}))
    cancelled = {"data": {"text": "Ann ran"}, "annotations": [{"was_cancelled": True, "result": []}]}
    span = {"type": "labels", "id": "x", "value": {"start": 0, "end": 3, "labels": ["person"]}}
    studio = tmp_path / "studio.json"
    studio.write_text(
        json.dumps([cancelled, {"data": {"text": "Ann ran"}, "annotations": [{"result": [span]}]}])
    )
    prodigy = tmp_path / "prodigy.jsonl"
    accepted = {"text": "Ann ran", "spans": [{"start": 0, "end": 3, "label": "person"}], "answer": "accept"}
    prodigy.write_text(f"{json.dumps(accepted)}\n{json.dumps(accepted | {'answer': 'reject'})}\n")
    for format_name, file in (("doccano", old_doccano), ("label-studio", studio), ("prodigy", prodigy)):
        report = convert_format(format_name, file, tmp_path / format_name)
        assert report.splits["train"].records == {"person": 1}
    faults = report.splits["train"].faults
    assert faults == ("prodigy.jsonl line 2   the answer is 'reject'",)


def test_instructuie_strings_without_offsets_are_placed(tmp_path: Path) -> None:
    item = {"sentence": "Bo met Ann", "entities": [{"name": "Ann", "type": "person", "pos": [0, 3]}]}
    (tmp_path / "a.json").write_text(json.dumps([item]))
    report = convert_format("instructuie", tmp_path / "a.json", tmp_path / "out")
    (found,) = read_examples(tmp_path / "out")
    assert found.records[0].filler is not None
    assert found.records[0].filler.span == (7, 10)
    assert report.splits["train"].changes == {"strings without right offsets were placed": 1}


def test_an_unknown_format_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'doccano'"):
        export([], "docano", tmp_path / "a")


@given(annotated_texts())
def test_tokens_for_spacy_make_up_the_text_and_end_where_fillers_do(source: Example) -> None:
    words = words_with_blanks(source)
    assert "".join(source.text[slice(*word)] + " " * has_blank for word, has_blank in words) == source.text
    starts, ends = zip(*(word for word, _ in words), strict=True)
    for record in source.records:
        assert record.filler is not None
        assert record.filler.start in starts
        assert record.filler.end in ends


def test_spacy_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtraError, match=r"ucuie\[spacy\]"):
        export(ENTITIES, "spacy", tmp_path / "a.spacy")
    (tmp_path / "a.spacy").write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r"ucuie\[spacy\]"):
        convert_format("spacy", tmp_path / "a.spacy", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.spacy"]


def test_a_file_that_is_no_doc_bin_is_named(tmp_path: Path) -> None:
    skip_without_spacy("spacy")
    (tmp_path / "a.spacy").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="no DocBin"):
        convert_format("spacy", tmp_path / "a.spacy", tmp_path / "out")


def faults_of(format_name: str, source: Path, output: Path) -> tuple[str, ...]:
    return convert_format(format_name, source, output).splits["train"].faults


def test_rows_of_a_table_that_contradict_each_other_are_named_by_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "id,text,record,frame,slot,filler,start,end\n"
        'fine,"Ann\nran",1,person,,Ann,0,3\n'
        "end,Ann ran,1,person,,Ann,0,4\n"
        "place,Ann ran,1,person,,Ann,1,4\n"
        "text,Ann ran,1,person,,Ann,0,3\n"
        "text,Bo ran,2,person,,Bo,0,2\n"
        "cells,Ann ran\n"
        "frame,Ann ran,1,person,,Ann,0,3\n"
        "frame,Ann ran,1,animal,tail,ran,4,7\n"
        'quote,"Ann ran\n'
        "lost,Ann ran,,,,,,\n"
    )
    faults = faults_of("csv", tmp_path / "a.csv", tmp_path / "out")
    assert [fault.split("   ")[0].removeprefix("a.csv ") for fault in faults] == [
        "line 4", "line 5", "line 7", "line 8", "line 10", "lines 11 to 12",
    ]  # fmt: skip
    assert "'Ann' ends at 3, not at 4" in faults[0]
    assert [found.text for found in read_examples(tmp_path / "out")] == ["Ann\nran"]


def test_a_table_may_have_semicolons_and_utf_16_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    content = 'id;text;record;frame;slot;filler;start;end\n1;"Ann; ran, far";1;person;;Ann;0;3\n'
    path.write_text(f"\ufeff{content}", encoding="utf-8")
    assert faults_of("csv", path, tmp_path / "out") == ()
    assert [found.text for found in read_examples(tmp_path / "out")] == ["Ann; ran, far"]
    path.write_text(content, encoding="utf-16")
    with pytest.raises(DataError, match=r"a\.csv   it is UTF-16; save it as UTF-8"):
        convert_format("csv", path, tmp_path / "none")


def test_a_table_holds_texts_of_any_length(tmp_path: Path) -> None:
    long = example("Ann " + "ran " * 50_000, ("person", "Ann", {}), task="NER")
    assert round_trip([long], "csv", tmp_path)[0].text == long.text


def test_lines_of_brat_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    annotations = {
        "fine": "T1\tPerson 0 3\tAnn\n",
        "words": "T1\tPerson 0 3\tAnn\nT2\tPerson 4 7\tsat\n",
        "range": "T1\tPerson 0\tAnn\n",
        "relation": "T1\tPerson 0 3\tAnn\n\nR1\tKnows Arg1:T1\n",
        "event": "T1\tRun 4 7\tran\nE1\tRun:T1 Agent\n",
        "tab": "T1 Person 0 3 Ann\n",
        "target": "T1\tPerson 0 3\tAnn\nR1\tKnows Arg1:T1 Arg2:T9\n",
    }
    source = tmp_path / "source"
    source.mkdir()
    for name, annotation in annotations.items():
        (source / f"{name}.txt").write_text("Ann ran")
        (source / f"{name}.ann").write_text(annotation)
    (source / "alone.ann").write_text("T1\tPerson 0 3\tAnn\n")
    (source / "bare.txt").write_text("Ann ran")
    report = convert_format("brat", source, tmp_path / "out").splits["train"]
    assert [fault.split("   ")[0] for fault in report.faults] == [
        "event.ann line 2", "range.ann line 1", "relation.ann line 3", "tab.ann line 1", "target.ann",
        "words.ann line 2", "alone.ann",
    ]  # fmt: skip
    assert report.examples == 2
    assert report.changes == {"text without an .ann file": 1}


def test_folders_of_brat_named_like_splits_are_the_splits(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        export(ENTITIES, "brat", tmp_path / "source" / split)
    (tmp_path / "source" / "README.md").write_text("about")
    report = convert_format("brat", tmp_path / "source", tmp_path / "out")
    assert {split: one.examples for split, one in report.splits.items()} == {"train": 2, "validation": 2}
    assert report.not_read == ("README.md",)


def test_words_that_label_studio_says_stand_elsewhere_are_a_fault(tmp_path: Path) -> None:
    def task(text: str, words: str) -> dict[str, object]:
        value = {"start": 0, "end": 3, "text": words, "labels": ["person"]}
        return {
            "data": {"text": text},
            "annotations": [{"result": [{"type": "labels", "id": "x", "value": value}]}],
        }

    items = [task("Ann", "Ann"), task("A\nn", "A\\nn"), task("Ann", "Bob")]
    (tmp_path / "a.json").write_text(json.dumps(items))
    assert faults_of("label-studio", tmp_path / "a.json", tmp_path / "out") == (
        "a.json item 3   'Bob' does not stand at 0, but 'Ann'",
    )


def test_names_that_no_schema_can_have_are_faults(tmp_path: Path) -> None:
    lines = [{"text": "Ann", "label": [[0, 3, label]]} for label in (" person ", "", "\ud83d", "person", 5)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    faults = faults_of("doccano", tmp_path / "a.jsonl", tmp_path / "out")
    assert [fault.split("   ")[0] for fault in faults] == [f"a.jsonl line {number}" for number in (2, 3, 5)]
    assert [one.records[0].frame for one in read_examples(tmp_path / "out")] == ["person"] * 2


@pytest.mark.parametrize("format_name", ["brat", "csv", "doccano"])
def test_every_split_is_written_in_another_format_and_read_back(format_name: str, tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_examples(tmp_path / f"{split}.jsonl", ENTITIES)
    reports = export_splits(tmp_path, format_name, tmp_path / "out")
    assert {split: report.examples for split, report in reports.items()} == {"train": 2, "test": 2}
    back = convert_format(format_name, tmp_path / "out", tmp_path / "back", strict=True)
    assert {split: report.examples for split, report in back.splits.items()} == {"train": 2, "test": 2}
