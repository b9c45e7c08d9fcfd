import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest

from ucuie.data import convert, convert_format, read_examples
from ucuie.data.draft import Draft
from ucuie.errors import ConfigError, DataError
from ucuie.schema import Example


@pytest.fixture
def conll04(tmp_path: Path) -> Path:
    """Three sentences in SpERT JSON, as conll04 has them; the second one has a label of another set."""
    folder = tmp_path / "raw"
    folder.mkdir()
    entities = [{"type": "Peop", "start": 0, "end": 1}, {"type": "Org", "start": 3, "end": 4}]

    def sentence(label: str) -> dict[str, object]:
        relation = {"type": label, "head": 0, "tail": 1}
        return {"tokens": ["Ann", "works", "for", "Acme"], "entities": entities, "relations": [relation] * 2}

    (folder / "train_triples.json").write_text(json.dumps([sentence("Work_For"), sentence("Eat")]))
    (folder / "dev_triples.json").write_text(json.dumps([sentence("Kill")]))
    with lzma.open(folder / "test_triples.json.xz", "wt") as file:
        file.write("[]")
    return folder


def test_records_speak_the_words_of_the_catalogue(conll04: Path, tmp_path: Path) -> None:
    report = convert("conll04", conll04, tmp_path / "out")
    (train,) = read_examples(tmp_path / "out" / "train.jsonl")
    assert train.id == "conll04/train/1"
    assert (train.dataset, train.task, train.split) == ("conll04", "RE", "train")
    assert [record.frame for record in train.records] == ["work for"]
    assert train.schema.frame_names[0] == "kill"
    assert not report.is_as_expected
    split = report.splits["train"]
    assert (split.examples, split.expected) == (1, 922)
    assert split.changes == {"repeated record left out": 1}
    assert len(split.faults) == 1
    assert "item 2   label 'Eat' is not in the catalogue" in split.faults[0]


def test_converting_twice_gives_the_same_bytes(conll04: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        convert("conll04", conll04, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["report.json", "test.jsonl", "train.jsonl", "validation.jsonl"]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_strict_writes_nothing_and_names_the_fault(conll04: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="label 'Eat' is not in the catalogue"):
        convert("conll04", conll04, tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()


def test_a_missing_raw_file_is_named_and_earlier_files_stay(conll04: Path, tmp_path: Path) -> None:
    convert("conll04", conll04, tmp_path / "out")
    before = (tmp_path / "out" / "train.jsonl").read_bytes()
    (conll04 / "test_triples.json.xz").unlink()
    with pytest.raises(DataError, match=r"test_triples\.json is not there"):
        convert("conll04", conll04, tmp_path / "out")
    assert (tmp_path / "out" / "train.jsonl").read_bytes() == before


def test_a_set_without_splits_is_partitioned_by_its_seed(tmp_path: Path) -> None:
    sentences = [{"tokens": [f"w{number}"], "entities": [], "relations": []} for number in range(4272)]
    (tmp_path / "ade_full.json").write_text(json.dumps(sentences))
    report = convert("ade", tmp_path, tmp_path / "out")
    assert report.is_as_expected
    texts = [example.text for example in read_examples(tmp_path / "out")]
    assert sorted(texts) == sorted(sentence["tokens"][0] for sentence in sentences)
    assert texts[0] != "w0" or texts[1] != "w1"


def test_users_files_become_splits_by_their_names(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    for name in ("train-1.conll", "train-2.conll", "dev.conll", "test.conll"):
        (source / name).write_text(f"{name}\tB-file name\n")
    report = convert_format("conll", source, tmp_path / "out")
    assert {split: part.examples for split, part in report.splits.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }
    examples: list[Example] = list(read_examples(tmp_path / "out", split="validation"))
    assert [(example.id, example.text) for example in examples] == [("out/validation/1", "dev.conll")]
    assert examples[0].schema.frame_names == ("file name",)


def test_files_without_any_label_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("word\tO\n")
    with pytest.raises(DataError, match="no text has an annotation"):
        convert_format("conll", tmp_path / "a.conll", tmp_path / "out")
    with pytest.raises(ConfigError, match="did you mean 'conll'"):
        convert_format("conl", tmp_path / "a.conll", tmp_path / "out")
    with pytest.raises(DataError, match="it is not there"):
        convert_format("conll", tmp_path / "b.conll", tmp_path / "out")


def test_the_report_says_how_tokens_were_joined(tmp_path: Path) -> None:
    for name in ("tweets.train.bio", "tweets.dev.bio", "tweets.test.bio"):
        (tmp_path / name).write_text("Bell B-POINT\n& I-POINT\namp I-POINT\n; I-POINT\nMain I-POINT\n, O\n")
    texts = {}
    for spacing in (None, "natural", "blank"):
        report = convert("harveyner", tmp_path, tmp_path / "out", spacing=spacing)
        assert json.loads((tmp_path / "out" / "report.json").read_text())["spacing"] == report.spacing
        example = next(read_examples(tmp_path / "out"))
        assert example.records[0].filler is not None
        texts[spacing, report.spacing] = example.text, example.records[0].filler.text
    assert texts == {
        (None, "natural"): ("Bell & Main,", "Bell & Main"),
        ("natural", "natural"): ("Bell & Main,", "Bell & Main"),
        ("blank", "blank"): ("Bell & amp ; Main ,", "Bell & amp ; Main"),
    }


def test_running_text_keeps_its_blanks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,record,frame,slot,filler,start,end\n1,a  b,1,x,,a,0,1\n")
    report = convert_format("csv", tmp_path / "a.csv", tmp_path / "out", spacing="blank")
    assert report.spacing is None
    assert next(read_examples(tmp_path / "out")).text == "a  b"


def test_every_fault_of_bad_files_is_listed_with_file_line_and_reason(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    (source / "train.jsonl").write_bytes(
        b'{"text": "fine", "label": [[0, 4, "x"]]}\n'
        b'{"text": "caf\xe9", "label": []}\n'
        b'{"text": "cut", "label": \n'
        b'{"text": "short", "label": [[2, 9, "x"]]}\n'
        b'{"text": "reversed", "label": [[3, 1, "x"]]}\n'
        b'{"label": [[0, 4, "x"]]}\n'
        b'{"text": "  ", "label": []}\n'
        b'{"text": "overlap", "label": [[0, 4, "x"], [2, 6, "x"]]}\n'
        b'{"text": "label", "label": [[0, 1, "\xe9"]]}\n'
    )
    report = convert_format("doccano", source, tmp_path / "out").splits["train"]
    assert [example.text for example in read_examples(tmp_path / "out")] == ["fine", "overlap"]
    assert [fault.split("   ")[0] for fault in report.faults] == [
        f"train.jsonl line {number}" for number in (2, 3, 4, 5, 6, 7, 9)
    ]
    assert report.faults[0].endswith("""not UTF-8: byte 0xe9 after '{"text": "caf'""")
    assert report.examples + len(report.faults) == 9
    with pytest.raises(DataError) as error:
        convert_format("doccano", source, tmp_path / "strict", strict=True)
    assert error.value.faults == report.faults
    assert not (tmp_path / "strict").exists()


def test_a_sentence_in_another_encoding_costs_itself_alone(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_bytes(b"Ann\tB-person\n\nZo\xeb\tB-person\nran\tO\n\nBo\tB-person\n")
    report = convert_format("conll", tmp_path / "a.conll", tmp_path / "out").splits["train"]
    assert report.examples == 2
    assert report.faults == ("a.conll line 3   not UTF-8: byte 0xeb after 'Zo'",)


def test_a_wrong_folder_names_every_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        convert("conll04", tmp_path, tmp_path / "out")
    assert len(error.value.faults) == 3
    assert "PFN" in error.value.hint
    assert not (tmp_path / "out").exists()


def test_an_interrupted_conversion_leaves_the_files_as_they_were(
    conll04: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert("conll04", conll04, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def interrupted(*_: object, **__: object) -> Iterator[Draft]:
        yield Draft("a", "Ann ran", ())
        raise KeyboardInterrupt

    monkeypatch.setattr("ucuie.data.conversion.read_drafts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert("conll04", conll04, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_the_folder_above_the_raw_files_is_answered_with_theirs(conll04: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"did you mean .*raw\?"):
        convert("conll04", conll04.parent, tmp_path / "out")


def test_files_that_no_conversion_wrote_are_neither_replaced_nor_removed(
    conll04: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    convert("conll04", conll04, output)
    (tmp_path / "a.conll").write_text("Ann\tB-person\n")
    convert_format("conll", tmp_path / "a.conll", output)
    assert sorted(path.name for path in output.iterdir()) == ["report.json", "train.jsonl"]
    (output / "test.jsonl").write_text("mine")
    with pytest.raises(DataError, match=r"test\.jsonl is there, and was not written by a conversion"):
        convert("conll04", conll04, output)
    assert (output / "test.jsonl").read_text() == "mine"
    with pytest.raises(DataError, match="the folder that is read"):
        convert_format("unified", output, output)


def test_unified_data_is_verified_and_put_into_its_splits(conll04: Path, tmp_path: Path) -> None:
    convert("conll04", conll04, tmp_path / "out")
    lines = [(tmp_path / "out" / f"{split}.jsonl").read_text() for split in ("train", "validation")]
    wrong = lines[0].replace('"Ann"', '"Bob"')
    (tmp_path / "mine.jsonl").write_text("".join([*lines, "{\n", wrong]))
    report = convert_format("unified", tmp_path / "mine.jsonl", tmp_path / "copy")
    assert {split: part.examples for split, part in report.splits.items()} == {"train": 1, "validation": 1}
    assert (tmp_path / "copy" / "train.jsonl").read_text() == lines[0]
    faults = report.splits["train"].faults
    assert [fault.split("   ")[0] for fault in faults] == ["mine.jsonl line 3", "mine.jsonl line 4"]
    assert "says 'Bob', the text there is 'Ann'" in faults[1]
    (tmp_path / "mine.jsonl").write_text("{\n")
    with pytest.raises(DataError, match=r"mine\.jsonl line 1"):
        convert_format("unified", tmp_path / "mine.jsonl", tmp_path / "none")


def test_files_that_are_no_data_are_named_and_not_read(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    (source / "older").mkdir(parents=True)
    for name in ("README.md", ".DS_Store", "report.json"):
        (source / name).write_text("no data")
    with pytest.raises(DataError, match="there is no file of data in it"):
        convert_format("conll", source, tmp_path / "out")
    (source / "test.conll").write_text("Ann\tB-person\n")
    report = convert_format("conll", source, tmp_path / "out", strict=True)
    assert list(report.splits) == ["test"]
    assert report.not_read == (".DS_Store", "README.md", "older", "report.json")


def test_texts_beyond_the_seeded_splits_are_counted(tmp_path: Path) -> None:
    sentences = [{"tokens": [f"w{number}"], "entities": [], "relations": []} for number in range(4274)]
    (tmp_path / "ade_full.json").write_text(json.dumps(sentences))
    report = convert("ade", tmp_path, tmp_path / "out")
    assert sum(split.examples for split in report.splits.values()) == 4272
    assert len(report.splits["train"].faults) == 2


def test_a_source_that_is_no_folder_is_said_once(conll04: Path, tmp_path: Path) -> None:
    for source, message in (
        (conll04 / "absent", "there is no such folder"),
        (conll04 / "dev_triples.json", "a file"),
    ):
        with pytest.raises(DataError, match=message) as error:
            convert("conll04", source, tmp_path / "out")
        assert len(error.value.faults) == 1
    with pytest.raises(DataError) as error:
        convert("casie", conll04, tmp_path / "out")  # its three splits come from one archive
    assert len(error.value.faults) == 1


def test_a_tag_in_another_encoding_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_bytes(b"Ann\tB-person\n\nBo\tB\xe9\n")
    (fault,) = convert_format("conll", tmp_path / "a.conll", tmp_path / "out").splits["train"].faults
    assert fault == "a.conll line 3   not UTF-8: byte 0xe9 after 'B'"
