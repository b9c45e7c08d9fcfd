"""Formats of words: which words a text has, and what divides the columns of a line."""

import json
from pathlib import Path

import pytest
from data_cases import example, told

from ucuie.data import convert_format, export, read_examples
from ucuie.data.tokens import words_of
from ucuie.schema import Example, Filler, Frame, Record, Schema


@pytest.mark.parametrize(
    "text",
    [
        "राहुल शर्मा दिल्ली में हैं",
        "আমি বাংলায় গান গাই",
        "தமிழ் மொழி",
        "తెలుగు భాష",
        "සිංහල අකුරු ශ්‍රී",
        "ภาษาไทย น้ำ",
        "မြန်မာ ဘာသာ",
        "مُحَمَّد رَسُول",
        "می‌خواهم کتاب‌ها",
        "שָׁלוֹם עוֹלָם",
        "Zoe\u0308 Bronte\u0308",
        "Dampf\u00adschiff Lon\u00addon",
        "👩‍🔬 👨‍👩‍👧‍👦 👍🏽 ❤️ 🇩🇪 🏴󠁧󠁢󠁳󠁣󠁴󠁿 1️⃣",
        "m² H₂O ½",
        "don't U.S.A 3.14 e-mail snake_case a/b",
        "New\u200bYork \ufeffAda",
        "a\u00a0b\u2003c\u3000d\u2028e\x1cf\x85g",
    ],
)
def test_words_are_whole_in_every_script(text: str) -> None:
    source = example(text, task="NER")
    assert [text[slice(*word)] for word in words_of(source)] == text.split()


@pytest.mark.parametrize("format_name", ["conll", "gliner"])
def test_entities_of_blanks_are_counted_as_lost(format_name: str, tmp_path: Path) -> None:
    text = "Ada met  Bob."
    blanks = Record(frame="other", filler=Filler(text="  ", start=7, end=9))
    source = Example(
        id="1", task="NER", text=text, schema=Schema(frames=(Frame(name="other"),)), records=(blanks,)
    )
    assert export([source], format_name, tmp_path / "file").lost == {"entity of blanks": 1}


def columns(folder: Path, content: str) -> tuple[list[Example], tuple[str, ...]]:
    (folder / "a.conll").write_text(content, encoding="utf-8", newline="")
    report = convert_format("conll", folder / "a.conll", folder / "out", spacing="blank").splits["train"]
    return list(read_examples(folder / "out" / "train.jsonl")), report.faults


@pytest.mark.parametrize("blank", ["\u00a0", "\u202f", "\u2009", "\u3000", "\x85", "\x1f", "\u2028"])
@pytest.mark.parametrize("separator", [" ", "\t", "   "])
def test_only_blanks_and_tabs_divide_columns(blank: str, separator: str, tmp_path: Path) -> None:
    (found,), faults = columns(tmp_path, f"10{blank}000{separator}B-NUM\nkm{separator}O\n")
    assert faults == ()
    assert told(found.records[0])[:2] == ("NUM", f"10{blank}000")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("New York B-LOC", "3 columns in 'New York B-LOC', 2 in those before"),
        ("lives  X\tB-LOC\tO", "3 columns in 'lives  X\\tB-LOC\\tO', 2 in those before"),
        ("met\tO\rBob\tO", "'met\\tO\\rBob\\tO' holds a carriage return; lines end with LF or CR LF"),
    ],
)
def test_a_line_of_other_columns_is_a_fault_and_the_sentences_around_it_stay(
    line: str, reason: str, tmp_path: Path
) -> None:
    around = "-DOCSTART- -X- O O\n\nAda B-PER\r\nran O\n\n"
    found, faults = columns(tmp_path, f"{around}so O\n{line}\n\n{around}")
    assert faults == (f"a.conll line 7   {reason}",)
    assert [one.text for one in found] == ["Ada ran", "Ada ran"]


def test_a_line_of_two_columns_among_those_of_three_is_a_fault(tmp_path: Path) -> None:
    found, faults = columns(tmp_path, "Ada NN B-PER\nlives O\n\nBo NN B-PER\n")
    assert [one.text for one in found] == ["Bo"]
    assert faults == ("a.conll line 2   2 columns in 'lives O', 3 in those before",)


def test_tabs_and_line_ends_in_names_become_blanks_and_are_counted(tmp_path: Path) -> None:
    source = example("Ada ran", ("a\tb\nc", "Ada", {}), task="NER")
    assert export([source], "conll", tmp_path / "a.conll").lost == {"name written otherwise": 1}
    (found,), _ = columns(tmp_path, (tmp_path / "a.conll").read_text())
    assert told(found.records[0])[:2] == ("a b c", "Ada")


def test_a_byte_order_mark_that_a_text_begins_with_is_kept(tmp_path: Path) -> None:
    source = example("\ufeffAda ran", ("person", "\ufeffAda", {}), task="NER")
    export([source, source], "conll", tmp_path / "a.conll")
    convert_format("conll", tmp_path / "a.conll", tmp_path / "out", strict=True)
    assert [one.text for one in read_examples(tmp_path / "out")] == [source.text] * 2


HEADER = "id,text,record,frame,slot,filler,start,end\n"


def table(folder: Path, *rows: str) -> tuple[list[Example], tuple[str, ...]]:
    (folder / "a.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8", newline="")
    report = convert_format("csv", folder / "a.csv", folder / "out").splits["train"]
    return list(read_examples(folder / "out" / "train.jsonl")), report.faults


def test_offsets_that_pandas_made_floats_are_read(tmp_path: Path) -> None:
    (found, _), faults = table(tmp_path, "1,Ada met Bob.,1.0,person,,Ada,0.0,3.0", "2,Nobody.,,,,,,")
    assert faults == ()
    assert told(found.records[0])[:2] == ("person", "Ada")


@pytest.mark.parametrize("cell", ["0.5", "x", "-1", "nan", "1e2", " "])
def test_other_offsets_are_named(cell: str, tmp_path: Path) -> None:
    _, faults = table(tmp_path, f"1,Ada met Bob.,1,person,,Ada,{cell},3", "2,Bo,1,person,,Bo,0,2")
    assert faults == (f"a.csv line 2   {cell!r} is no offset, which is a whole number",)


def test_carriage_returns_and_repeated_ids_come_back_from_a_table(tmp_path: Path) -> None:
    first = example("Ada\rran\r", ("per\rson", "Ada\r", {"x\ry": "ran\r"}))
    second = example("Ada\rran\r", ("per\rson", "ran", {}))
    report = export([first, second, second], "csv", tmp_path / "a.csv")
    assert report.lost == {"id equal to the one before": 1}  # the third is no longer equal to the second
    convert_format("csv", tmp_path / "a.csv", tmp_path / "out", task="EE", strict=True)
    assert [one.records for one in read_examples(tmp_path / "out")] == [
        one.records for one in (first, second, second)
    ]


def test_words_of_gliner_are_the_words_of_the_text(tmp_path: Path) -> None:
    source = example("राहुल शर्मा\u2028दिल्ली", ("person", "राहुल शर्मा", {}), task="NER")
    export([source], "gliner", tmp_path / "a.json")
    (item,) = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert item == {"tokenized_text": ["राहुल", "शर्मा", "दिल्ली"], "ner": [[0, 1, "person"]]}
