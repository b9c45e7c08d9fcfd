"""The command: data on stdout, talk on stderr, and a helpful refusal for every bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from small_disk import files_of_at_most
from tiny_model import CONTEXT, save_plain
from ucuie import Extraction, __version__
from ucuie.cli import app, demo
from ucuie.errors import ModelError
from ucuie.extract.extractor import Extractor
from ucuie.files import StagedLines
from ucuie.model import source as model_source
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import Schema

TEXT = "Ada Lovelace lived in London."
PERSON = '["person", "city"]'


@pytest.fixture(scope="module")
def model(adapted_folder: Path) -> str:
    return str(adapted_folder)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERMINAL_WIDTH", "200")  # or messages would be cut anywhere


def ucuie(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), input=stdin)


def refuse(*arguments: object) -> str:
    """What the command says when it refuses."""
    result = ucuie(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def write(name: str, *lines: str) -> Path:
    Path(name).write_text("".join(f"{line}\n" for line in lines))
    return Path(name)


def test_the_version_is_printed() -> None:
    assert ucuie("--version").stdout == f"ucuie {__version__}\n"


def test_a_text_gives_one_line_of_json(model: str) -> None:
    result = ucuie("extract", "--schema", PERSON, "--text", TEXT, "--model", model)
    assert result.exit_code == 0
    assert result.stderr == ""
    extraction = Extraction.model_validate_json(result.stdout)
    assert (extraction.id, extraction.text) == ("1", TEXT)


def test_a_table_is_for_people(model: str) -> None:
    result = ucuie("extract", "-s", PERSON, "-t", TEXT, "-m", model, "-f", "table")
    assert result.stdout.startswith(f'"{TEXT}"\n  ')


def test_html_is_a_page(model: str) -> None:
    result = ucuie("extract", "-s", PERSON, "-t", TEXT, "-m", model, "-f", "html")
    assert result.stdout.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("output_format", ["graphml", "turtle"])
def test_graphs_are_printed(model: str, output_format: str) -> None:
    pytest.importorskip(
        "networkx" if output_format == "graphml" else "rdflib", reason="needs the extra graph"
    )
    result = ucuie("extract", "-s", PERSON, "-t", TEXT, "-m", model, "-f", output_format)
    assert result.exit_code == 0
    assert ("<graphml" if output_format == "graphml" else "nif:isString") in result.stdout


def test_parquet_goes_into_a_file(model: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra tables is not installed")
    assert "give --output" in refuse("extract", "-s", PERSON, "-t", TEXT, "-m", model, "-f", "parquet")
    result = ucuie("extract", "-s", PERSON, "-t", TEXT, "-m", model, "-f", "parquet", "-o", "found.parquet")
    assert result.exit_code == 0
    assert "record_score" in parquet.read_table("found.parquet").column_names


@pytest.mark.parametrize("output_format", ["jsonl", "table", "html"])
def test_a_file_of_texts_becomes_a_file(model: str, output_format: str) -> None:
    write("notes.jsonl", json.dumps({"id": "a", "text": TEXT}), json.dumps({"text": "London"}))
    result = ucuie(
        *("extract", "-s", PERSON, "-i", "notes.jsonl", "-m", model, "-o", "new/found", "-f", output_format)
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "2 texts" in result.stderr
    assert [path.name for path in Path("new").iterdir()] == ["found"]
    content = Path("new/found").read_text("utf-8")
    assert "London" in content
    if output_format == "jsonl":
        assert [json.loads(line)["id"] for line in content.splitlines()] == ["a", "2"]


def test_standard_input_streams(model: str) -> None:
    result = ucuie("extract", "-s", PERSON, "-i", "-", "-m", model, stdin=f"{TEXT}\nLondon\n")
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == [TEXT, "London"]


def test_a_whole_file_is_one_text(model: str) -> None:
    path = write("long.txt", *([TEXT] * 60))
    result = ucuie("extract", "-s", PERSON, "-i", path, "--document", "--window-tokens", 40, "-m", model)
    assert result.exit_code == 0, result.output
    extraction = Extraction.model_validate_json(result.stdout)
    assert (extraction.id, extraction.text) == ("long.txt", path.read_text())
    assert not extraction.truncated
    assert all(
        extraction.text[filler.start : filler.end] == filler.text
        for record in extraction.records
        for filler in record.fillers()
    )


def test_standard_input_can_be_one_text(model: str) -> None:
    result = ucuie("extract", "-s", PERSON, "-i", "-", "--document", "-m", model, stdin=f"{TEXT}\nLondon\n")
    assert json.loads(result.stdout)["text"] == f"{TEXT}\nLondon\n"


def test_a_folder_is_a_text_for_each_file(model: str) -> None:
    Path("notes").mkdir()
    write("notes/b.txt", TEXT, TEXT)
    write("notes/a.txt", "London")
    result = ucuie("extract", "-s", PERSON, "-i", "notes", "-m", model, "-o", "out.jsonl")
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["id"] for line in Path("out.jsonl").read_text().splitlines()] == [
        "a.txt",
        "b.txt",
    ]
    write("notes/c.txt", "")
    said = refuse("extract", "-s", PERSON, "-i", "notes", "-m", model, "-o", "out2.jsonl")
    assert "1 fault in the 3 files of notes" in said
    assert "c.txt       the text " in said


def test_a_document_is_a_file(model: str) -> None:
    assert "--document" in refuse("extract", "-s", PERSON, "-t", TEXT, "--document", "-m", model)
    path = write("notes.jsonl", json.dumps({"text": TEXT}))
    assert "document already" in refuse("extract", "-s", PERSON, "-i", path, "--document", "-m", model)


def test_quiet_says_nothing(model: str) -> None:
    write("notes.txt", TEXT)
    assert ucuie("extract", "-s", PERSON, "-i", "notes.txt", "-o", "out", "-q", "-m", model).stderr == ""


def test_the_command_extracts_with_a_plain_model(tmp_path: Path) -> None:
    folder = save_plain(tmp_path / "plain")
    assert ucuie("extract", "-s", PERSON, "-t", "Ada", "-m", folder).exit_code == 0


# --- What bad input gets ---------------------------------------------------------------------------


def test_an_empty_text_is_refused(model: str) -> None:
    assert "text error: the text ' ' is empty" in refuse("extract", "-s", PERSON, "-t", " ", "-m", model)


def test_the_command_refuses_a_type_larger_than_the_context(model: str) -> None:
    write("notes.txt", TEXT, "London")
    large = json.dumps(["city", "very " * CONTEXT + "long name"])
    for source in (("-t", TEXT), ("-i", "notes.txt", "-o", "out.jsonl")):
        said = refuse("extract", "-s", large, *source, "-m", model)
        assert said.startswith("schema error: a single type of the schema has ")
        assert f"the model's context {CONTEXT}" in said
    assert [path.name for path in Path().iterdir()] == ["notes.txt"]


def test_all_bad_lines_are_told_at_once_and_nothing_is_written(model: str) -> None:
    surrogate = json.dumps({"text": "a\ud800b"})
    write("notes.jsonl", json.dumps({"text": TEXT}), '{"txt": "x"}', "nope", '{"text": ""}', surrogate)
    said = refuse("extract", "-s", PERSON, "-i", "notes.jsonl", "-m", model, "-o", "out.jsonl")
    assert "data error: 4 faults in the 5 lines of notes.jsonl" in said
    assert all(f"line {number} " in said for number in (2, 3, 4, 5))
    assert "--skip-bad leaves such lines out and lists them in notes.rejected.jsonl" in said
    assert [path.name for path in Path().iterdir()] == ["notes.jsonl"]


def test_bad_lines_can_be_skipped_and_are_listed(model: str) -> None:
    surrogate = json.dumps({"text": TEXT, "id": "\ud800"})
    write("notes.jsonl", '{"txt": "x"}', json.dumps({"text": TEXT}), "nope", surrogate)
    result = ucuie(
        *("extract", "-s", PERSON, "-i", "notes.jsonl", "-m", model, "-o", "sub/out.jsonl", "--skip-bad")
    )
    assert result.exit_code == 0
    assert "left out 3 bad lines, listed in sub/notes.rejected.jsonl" in result.stderr
    assert len(Path("sub/out.jsonl").read_text().splitlines()) == 1
    rejected = Path("sub/notes.rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in rejected] == [1, 3, 4]


def test_a_table_goes_in_and_its_bad_rows_are_told_or_skipped(model: str) -> None:
    arrow = pytest.importorskip("pyarrow", reason="the extra tables is not installed")
    from pyarrow import parquet

    cells = {"key": ["a", "b", "c"], "body": [TEXT, None, " "]}
    parquet.write_table(arrow.table(cells), "notes.parquet")
    asked = ("extract", "-s", PERSON, "-i", "notes.parquet", "-m", model)
    assert "no column 'text' (choices: 'key', 'body')" in refuse(*asked, "--skip-bad")
    asked = (*asked, "--text-column", "body", "--id-column", "key")
    said = refuse(*asked)
    assert "data error: 2 faults in the 3 rows of notes.parquet" in said
    assert "row 2       'body' is empty" in said
    result = ucuie(*asked, "--skip-bad")
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["a"]
    rejected = Path("notes.rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in rejected] == [2, 3]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ('["a", "a"]', "lists frame 'a' twice"),
        ('{"f": ["s", "s"]}', "lists slot 's' twice"),
        ('[""]', "a name is empty"),
        ('{"f": [}', "line 1, column 8"),
        ("none.yaml", "there is no file 'none.yaml'"),
        ("[]", "the schema has no frames"),
        (" ", "' ' is not a schema"),
    ],
)
def test_a_bad_schema_is_refused_before_the_model_is_loaded(schema: str, said: str) -> None:
    message = refuse("extract", "-s", schema, "-t", TEXT, "-m", "no-such-model")
    assert message.startswith("schema error: ")
    assert said in message


def test_malformed_yaml_is_refused_with_its_line() -> None:
    write("my.yaml", "Speech:", "  - Speaker", " - Place")
    assert "(my.yaml, line 3)" in refuse("extract", "-s", "my.yaml", "-t", TEXT)
    write("twice.yaml", "Speech:", "  - Speaker", "  - Speaker")
    assert "(twice.yaml, line 3)" in refuse("extract", "-s", "twice.yaml", "-t", TEXT)


def test_a_model_folder_with_a_missing_or_corrupt_file_is_refused(model: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "broken"))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    (folder / "backbone" / "config.json").unlink()
    said = refuse("extract", "-s", PERSON, "-t", TEXT, "-m", folder)
    assert said.startswith("model error: ")
    assert "adapter_model.safetensors is damaged" in said
    assert "backbone/config.json is missing" in said


def test_the_command_refuses_an_adapter_for_another_backbone(model: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "adapter"))
    info = json.loads((folder / "ucuie.json").read_text())
    info["backbone"] = str(save_plain(tmp_path / "other", seed=9))
    (folder / "ucuie.json").write_text(json.dumps(info))
    assert "another backbone" in refuse("extract", "-s", PERSON, "-t", TEXT, "-m", folder)


def test_the_command_names_a_missing_model() -> None:
    said = refuse("extract", "-s", PERSON, "-t", TEXT, "-m", "no-such-model")
    assert "model error: the model 'no-such-model' is not there" in said


def test_a_missing_input_is_refused() -> None:
    said = refuse("extract", "-s", PERSON, "-i", "none.jsonl")
    assert "No such file" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("extract", "-s", PERSON, "-t", TEXT, "-f", "tabel"), "did you mean 'table'"),
        (("extract", "-s", PERSON, "-t", TEXT, "--task", "NERR"), "did you mean 'NER'"),
        (("extract", "-s", PERSON), "give one of the two"),
        (("extract", "-s", PERSON, "-t", TEXT, "-i", "x"), "give one of the two"),
        (("extract", "-t", TEXT), "Missing option"),
        (("extract", "--shcema", PERSON), "--schema"),
        (("extrct",), "Did you mean 'extract'"),
        (("convert", "conl04", "--source", "x", "--output", "y"), "did you mean 'conll04'"),
        (("convert", "conll04"), "--list shows the names"),
        (("convert", "conll04", "--source", "none", "--output", "y"), "data error"),
        (("evaluate", "--data", "none", "--output", "y", "--scorer", "ofset"), "did you mean 'offset'"),
        (("evaluate", "--data", "none", "--output", "y"), "there is no such file or folder"),
        (("train", "none.yaml"), "there is no file 'none.yaml'"),
        (("extract", "-s", PERSON, "-t", TEXT, "--threshold", "-0.1"), "number from 0 to 1"),
        (("extract", "-s", PERSON, "-t", TEXT, "--threshold", "persn=0.1"), "did you mean 'person'"),
        (("extract", "-s", PERSON, "-t", TEXT, "--threshold", "person"), "has no number"),
        (("extract", "-s", PERSON, "-t", TEXT, "--end-bias", "nan"), "finite number"),
        (("extract", "-s", PERSON, "-t", TEXT, "--n-best", "0"), "n_best is 0"),
        (("extract", "-s", PERSON, "-t", TEXT, "--task", "locate"), "did you mean 'locating'"),
        (("extract", "-s", PERSON, "-t", TEXT, "--task", "associating"), "--input with elements"),
        (("extract", "-s", PERSON, "-t", TEXT, "--output", "."), "'.' is a directory"),
        (("extract", "-s", PERSON, "-i", "a.jsonl", "-o", "./a.jsonl"), "would replace the input"),
        (("extract", "-s", PERSON, "-t", TEXT, "--device", "cpuu"), "the device 'cpuu' cannot be used"),
        (("extract", "-s", PERSON, "-t", TEXT, "--device", "meta"), "the device 'meta' cannot be used"),
        (("evaluate", "--data", "none", "--output", __file__), "is a file"),
        (("convert", "csv", "--source", "none", "--output", __file__), "is a file"),
        (("experiment", "table4", "--runs", __file__), "is a file"),
        (("score", "--data", ".", "--predictions", "none"), "there is no JSONL file"),
        (("train", "."), "cannot be read: Is a directory"),
        (("calibrate", "--data", "none"), "there is no such file or folder"),
    ],
)
def test_a_mistake_on_the_command_line_is_explained(arguments: tuple[str, ...], said: str) -> None:
    assert said in " ".join(refuse(*arguments).replace("│", " ").split())


def test_a_full_disk_is_told_and_the_same_command_goes_on(model: str) -> None:
    source = write("in.txt", *["Ada met Bob."] * 20)
    arguments = ("extract", "-s", PERSON, "-i", source, "-o", "out.jsonl", "-m", model)
    with files_of_at_most(500):
        assert "make room" in refuse(*arguments)
    assert not Path("out.jsonl").exists()
    (staged,) = Path().glob(".out.jsonl.*.part")
    assert ucuie(*arguments).exit_code == 0
    assert not staged.exists()
    assert len(Path("out.jsonl").read_text().splitlines()) == 20


def test_a_second_command_with_the_same_output_is_refused(model: str) -> None:
    source = write("in.txt", *["Ada met Bob."] * 3)
    with StagedLines(Path("out.jsonl"), key="of the first"):
        said = refuse("extract", "-s", PERSON, "-i", source, "-o", "out.jsonl", "-m", model)
    assert "another run is writing to 'out.jsonl'" in said
    assert not Path("out.jsonl").exists()


@pytest.mark.parametrize("output_format", ["jsonl", "table"])
def test_what_a_text_says_to_a_terminal_does_not_reach_it(model: str, output_format: str) -> None:
    text = "Ada \x1b]0;PWNED\x07 \x1b[31mLondon\x9b1m \u202eback"
    source = write("in.txt", text)
    said = ucuie("extract", "-s", PERSON, "-i", source, "-m", model, "-f", output_format).stdout
    assert not set("\x1b\x07\x9b\u202e") & set(said)
    assert r"\u001b]0;PWNED" in said
    assert output_format == "table" or json.loads(said)["text"] == text


def test_unknown_configuration_keys_are_refused_with_the_nearest() -> None:
    write("run.yaml", "data: {train: [x]}", "loss: {gama: 0.1}", "batchsize: 3")
    said = refuse("train", "run.yaml", "--set", "warming.epoch=1")
    assert "loss.gama: unknown key; did you mean 'gamma'" in said
    assert "batchsize: unknown key; did you mean 'batch_size'" in said
    assert "warming.epoch: unknown key; did you mean 'epochs'" in said


def test_bad_gold_is_refused_with_all_its_lines(model: str) -> None:
    frame = {"frame": "persn", "filler": {"text": "Ada", "start": 0, "end": 3}}
    good = {"id": "1", "task": "NER", "text": TEXT, "schema": {"frames": [{"name": "person"}]}}
    write("gold.jsonl", json.dumps(good | {"records": [frame]}), json.dumps(good), "nope")
    said = refuse("evaluate", "--data", "gold.jsonl", "--output", "out", "-m", model)
    assert "data error: 2 faults in gold.jsonl" in said
    assert "gold.jsonl line 1" in said
    assert "did you mean 'person'" in said
    assert not Path("out").exists()


# --- The other commands ----------------------------------------------------------------------------


def test_evaluate_writes_both_files_and_prints_the_scores(model: str) -> None:
    gold = {
        "id": "1",
        "dataset": "set",
        "task": "NER",
        "text": TEXT,
        "schema": {"frames": [{"name": "person"}]},
    }
    write("gold.jsonl", json.dumps(gold))
    result = ucuie("evaluate", "--data", "gold.jsonl", "--output", "out", "-m", model)
    assert result.exit_code == 0, result.output
    assert "scorer: offset" in result.stdout
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "breakdown.html",
        "breakdown.json",
        "breakdown.txt",
        "predictions.jsonl",
        "report.json",
    ]
    result = ucuie("evaluate", "--data", "gold.jsonl", "-o", "out", "-m", model, "--scorer", "all", "--json")
    assert len(json.loads(result.stdout)["scores"]) > 1


def gold_lines(count: int) -> list[str]:
    frames = {"frames": [{"name": "person"}]}
    return [
        json.dumps(
            {"id": str(number), "dataset": "set", "task": "NER", "text": f"{TEXT} {number}", "schema": frames}
        )
        for number in range(count)
    ]


def test_a_plot_that_cannot_be_written_leaves_no_calibrated_copy(model: str) -> None:
    write("gold.jsonl", *gold_lines(2))
    arguments = ("calibrate", "--data", "gold.jsonl", "-m", model, "--output", "copy", "--plot")
    assert "gold.jsonl" in refuse(*arguments, "gold.jsonl/plot.svg")
    assert not Path("copy").exists()
    assert ucuie(*arguments, "plot.svg").exit_code == 0


@pytest.mark.slow
def test_calibrate_writes_into_the_model_and_says_what_it_changed(model: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "mine"))
    write("gold.jsonl", *gold_lines(16))
    result = ucuie(
        *(
            "calibrate",
            "--data",
            "gold.jsonl",
            "-m",
            folder,
            "--plot",
            "new/plot.svg",
            "--json",
            "--limit",
            12,
        )
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["texts"] == 12
    assert report["ece_after_is_cross_validated"]
    assert {row["kind"] for row in report["errors"]} == {"record", "filler"}
    assert Path("new/plot.svg").read_text().startswith("<svg")
    # No record is right here, so all scores have to fall.
    arguments = ("extract", "-s", '["person"]', "-t", f"{TEXT} 7", "-m", folder)
    after, raw = (
        json.loads(ucuie(*arguments, *more).stdout) for more in (("--threshold", "0"), ("--raw-scores",))
    )
    assert raw["records"]
    assert all(
        one["score"] < other["score"]
        for one, other in zip(after["records"], raw["records"], strict=True)
        if other["score"] > 0.05
    )
    assert "element" in ucuie("calibrate", "--data", "gold.jsonl", "-m", folder).stdout


def found_gold(model: str, count: int) -> list[str]:
    """Gold that is what the model finds of people, so that the cities it finds are wrong."""
    extractor = Extractor.from_pretrained(model, device="cpu")
    texts = [f"{name} met Ada in London {number}." for number, name in enumerate(["Bob", "Eve"] * count)]
    lines = []
    for number, one in enumerate(extractor.extract_batch(texts, json.loads(PERSON), end_bias=1.0)):
        gold = [record.model_dump(mode="json") for record in one.records if record.frame == "person"]
        for record in gold:
            del record["score"], record["filler"]["score"]
        line = {"id": str(number), "dataset": "set", "task": "NER", "text": one.text, "records": gold}
        frames = {"frames": [{"name": name} for name in json.loads(PERSON)]}
        lines.append(json.dumps(line | {"schema": frames}))
    return lines


@pytest.mark.slow
def test_calibrate_reads_the_texts_once_for_each_bias_and_says_what_it_chose(
    model: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "mine"))
    write("gold.jsonl", *found_gold(model, 10))
    arguments = ("calibrate", "--data", "gold.jsonl", "-m", folder)
    result = ucuie(*arguments, "--end-biases", "1", "--json")
    assert result.exit_code == 0, result.output
    assert "2 passes over 20 texts, one for each end bias: 0, 1" in result.stderr
    assert "40 texts" in result.stderr
    report = json.loads(result.stdout)
    info = json.loads((folder / "ucuie.json").read_text())
    assert report["operating_point"] == {"end_bias": info["end_bias"], "threshold": info["threshold"]}
    assert report["operating_point"] != {"end_bias": 0, "threshold": 0}
    assert report["choice"]["end_biases"] == [0, 1]
    (of_set,) = report["choice"]["datasets"]
    assert (of_set["dataset"], of_set["num_texts"]) == ("set", 20)
    assert of_set["after"] > of_set["before"]
    # Fitting scores alone reads the texts once, as the model stands.
    kept = ucuie(*arguments, "--keep-point", "--json")
    assert "passes" not in kept.stderr
    assert "20 texts" in kept.stderr
    assert json.loads(kept.stdout)["choice"] is None
    assert json.loads(kept.stdout)["operating_point"] == report["operating_point"]
    # Once more from there: the values of the model are no part of what it is compared with.
    again = json.loads(ucuie(*arguments, "--end-biases", "1", "--json").stdout)
    assert again["choice"] == report["choice"]
    table = ucuie(*arguments, "--end-biases", "0,1").stdout
    assert "F1 %, after: cross-validated" in table
    point = OperatingPoint(info["end_bias"], info["threshold"])
    assert f"chosen: {point}; of the end biases 0, 1" in table


@pytest.mark.parametrize("biases", ["", "one", "0,", "nan", "1;2"])
def test_biases_that_are_no_numbers_are_refused(biases: str) -> None:
    write("gold.jsonl", *gold_lines(2))
    assert "list of numbers" in refuse("calibrate", "--data", "gold.jsonl", "--end-biases", biases)


def test_a_model_with_a_threshold_leaves_out_what_is_below_unless_another_is_given(
    model: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "mine"))
    path = folder / "ucuie.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threshold": 1.0}))
    arguments = ("extract", "-s", PERSON, "-t", TEXT, "-m")
    everything = json.loads(ucuie(*arguments, model).stdout)
    assert everything["records"]
    left_out = json.loads(ucuie(*arguments, folder).stdout)
    assert left_out["records"] == []
    assert [piece["reason"] for piece in left_out["dropped"]].count("below the threshold") == len(
        everything["records"]
    )
    for given in ("0", "person=0", "city=0"):
        found = json.loads(ucuie(*arguments, folder, "--threshold", given).stdout)["records"]
        name = given.rpartition("=")[0]
        assert found == [record for record in everything["records"] if name in ("", record["frame"])]
    assert "stands at    end bias 0; threshold 1\n" in ucuie("model", "info", folder).stdout


def test_the_embedded_model_is_calibrated_as_a_copy(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_source, "packaged_model", lambda _: Path(model))
    write("gold.jsonl", *gold_lines(2))
    assert "--output" in refuse("calibrate", "--data", "gold.jsonl")
    assert ucuie("calibrate", "--data", "gold.jsonl", "--output", "copy").exit_code == 0
    assert Path("copy/calibration.json").exists()
    assert not Path(model, "calibration.json").exists()


def test_what_is_below_a_threshold_is_listed(model: str) -> None:
    line = json.loads(ucuie("extract", "-s", PERSON, "-t", TEXT, "-m", model, "--threshold", 1).stdout)
    assert line["records"] == []
    assert {piece["reason"] for piece in line["dropped"]} == {"below the threshold"}


def test_explain_adds_a_field(model: str) -> None:
    arguments = ("extract", "-s", PERSON, "-t", TEXT, "-m", model)
    explained = json.loads(ucuie(*arguments, "--explain").stdout)["records"]
    assert explained
    for record in explained:
        assert set(record.pop("explanation")) == {"gates", "experts", "num_tokens"}
    assert explained == json.loads(ucuie(*arguments).stdout)["records"]
    assert 'class="why"' in ucuie(*arguments, "--explain", "-f", "html").stdout
    assert "<details" not in ucuie(*arguments, "-f", "html").stdout


def test_alternatives_are_asked_for(model: str) -> None:
    arguments = ("extract", "-s", PERSON, "-t", TEXT, "-m", model, "--end-bias", "-3")
    alternatives = json.loads(ucuie(*arguments, "--n-best", "3").stdout)["alternatives"]
    assert 1 <= len(alternatives) <= 2
    assert set(alternatives[0]) == {"records", "dropped", "score"}
    assert "alternatives" not in json.loads(ucuie(*arguments).stdout)
    table = ucuie(*arguments, "--n-best", "3", "-f", "table").stdout
    assert f"other answers: {len(alternatives)}\n" in table
    assert "other answers" not in ucuie(*arguments, "-f", "table").stdout
    said = refuse(*arguments, "--n-best", "3", "--batch-size", "2")
    assert "config error: n_best is 3" in said
    assert "room for 2" in said


def test_a_plain_model_cannot_explain(tmp_path: Path) -> None:
    folder = save_plain(tmp_path / "plain")
    assert "no capability experts" in refuse("extract", "-s", PERSON, "-t", "Ada", "-m", folder, "--explain")


def test_located_elements_go_into_associating(model: str) -> None:
    schema = '{"live in": ["subject", "object"]}'
    element = {"frame": "subject", "filler": {"text": "Ada", "start": 0, "end": 3}}
    write("in.jsonl", json.dumps({"id": "a", "text": TEXT, "elements": [element]}))
    arguments = ("extract", "-s", schema, "-i", "in.jsonl", "-m", model)
    located = json.loads(ucuie(*arguments, "--task", "locating").stdout)
    assert {record["frame"] for record in located["records"]} <= {"subject", "object"}
    judged = json.loads(ucuie(*arguments, "--task", "judging").stdout)
    assert all(record["filler"] is None for record in judged["records"])
    linked = json.loads(ucuie(*arguments, "--task", "associating").stdout)
    assert "Ada Lovelace" not in {
        filled["filler"]["text"] for record in linked["records"] for filled in record["slots"]
    }
    write("back.jsonl", json.dumps({"text": TEXT, "elements": located["records"]}))
    assert ucuie(*arguments[:4], "back.jsonl", *arguments[5:], "--task", "associating").exit_code == 0


def test_bad_elements_are_bad_lines(model: str) -> None:
    frame = {"frame": "persn", "filler": {"text": "Ada", "start": 0, "end": 3}}
    lines = [
        {},
        {"elements": 5},
        {"elements": [frame]},
        {"elements": [frame | {"frame": "person", "filler": {}}]},
        {"elements": [frame | {"frame": "person", "slots": [{"slot": "name"}]}]},
        {"elements": [{"frame": "person"}]},
    ]
    write("in.jsonl", *(json.dumps({"text": TEXT} | line) for line in lines))
    said = refuse("extract", "-s", PERSON, "-i", "in.jsonl", "-m", model, "--task", "associating")
    assert "6 faults" in said
    assert "element 'person' has slots; give each as an element of its own" in said
    assert "elements[0]: element 'person' has no filler; give the span that it is" in said
    assert 'line 1      there are no "elements"' in said
    assert "did you mean 'person'" in said
    assert ucuie("extract", "-s", PERSON, "-i", "in.jsonl", "-m", model, "-o", "out").exit_code == 0


def test_capabilities_are_named_on_the_command_line(model: str) -> None:
    arguments = ("extract", "-s", PERSON, "-t", TEXT, "-m", model, "--explain")
    line = json.loads(ucuie(*arguments, "--capabilities", "judging, locating").stdout)
    assert all(record["explanation"]["gates"]["associating"] == 0 for record in line["records"])
    assert "did you mean 'judging'" in refuse(*arguments, "--capabilities", "judgin")


def test_convert_lists_data_sets_and_formats() -> None:
    assert "conll04" in ucuie("convert", "--list").stdout
    listed = json.loads(ucuie("convert", "--list", "--json").stdout)
    assert {"name", "task", "counts", "licence"} <= set(listed["datasets"][0])
    assert "brat" in listed["formats"]


def test_convert_reads_a_format() -> None:
    Path("raw").mkdir()
    write("raw/train.conll", "Ada B-person", "left O", "", "London B-city")
    result = ucuie("convert", "conll", "--source", "raw", "--output", "mine", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["splits"]["train"]["examples"] == 2
    assert "examples" in result.stderr
    assert len(Path("mine/train.jsonl").read_text().splitlines()) == 2


def test_train_runs_with_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    from ucuie.train import run

    calls: list[tuple[Any, bool]] = []
    monkeypatch.setattr(
        run, "run_training", lambda config, *, resume: calls.append((config, resume)) or config.output
    )
    write("run.yaml", "data: {train: [x]}", "output: my-model")
    result = ucuie("train", "run.yaml", "--set", "seed=7", "--resume")
    assert result.exit_code == 0, result.output
    ((config, is_resumed),) = calls
    assert (config.seed, is_resumed) == (7, True)
    assert "next: ucuie evaluate --model my-model" in result.stderr


def test_bench_measures_and_prints_json() -> None:
    result = ucuie(
        *("bench", "adapter", "--hidden", 64, "--layers", 1, "--batch", 1, "--length", 16, "--repeats", 1),
        "--json",
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["trainable_parameters_llama2_7b"] == 84_616_608


def test_the_demo_shows_four_texts_and_writes_a_page(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_source, "packaged_model", lambda _: Path(model))
    assert demo.main() == 0
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    assert all(f'"{text.text}"' in words for text in demo.TEXTS)
    assert (
        shown.splitlines()[-1]
        == """next: ucuie extract --schema '["person", "location"]' --text "..." """.strip()
    )
    assert Path("demo.html").read_text("utf-8").count("<article>") == 4


def test_the_demo_says_openly_when_it_shows_another_model(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def packaged(name: str) -> Path:
        if name == "ucuie-small":
            raise ModelError("no network")
        return Path(model)

    monkeypatch.setenv("UCUIE_MODEL", "ucuie-small")
    monkeypatch.setattr(model_source, "packaged_model", packaged)
    assert demo.main() == 0
    shown = capsys.readouterr().out
    assert "cannot be fetched (no network); showing the embedded ucuie-mini instead" in shown
    assert "model ucuie-mini (" in shown


def test_the_demo_without_a_model_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_source, "__file__", str(Path("nowhere/model/source.py")))
    assert demo.main() == 2
    assert "no embedded model" in capsys.readouterr().err


# --- Real processes --------------------------------------------------------------------------------


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("notes.txt", *(f"{TEXT} {number}" for number in range(5)))
    command = ("extract", "-s", PERSON, "-i", "notes.txt", "-m", model, "-o", "out.jsonl")
    answer = Extractor.answer

    def interrupted(self: Extractor, queries: Any) -> Iterator[Extraction]:
        extractions = answer(self, queries)
        yield next(extractions)
        yield next(extractions)
        raise KeyboardInterrupt

    monkeypatch.setattr(Extractor, "answer", interrupted)
    result = ucuie(*command)
    assert result.exit_code == 130
    assert "interrupted after 2 texts" in result.stderr
    assert "the same command goes on from there" in result.stderr
    assert not Path("out.jsonl").exists()

    asked = []

    def counted(self: Extractor, queries: Any) -> Iterator[Extraction]:
        asked.extend(queries)
        return answer(self, queries)

    monkeypatch.setattr(Extractor, "answer", counted)
    assert ucuie(*command).exit_code == 0
    assert len(asked) == 3
    assert [json.loads(line)["id"] for line in Path("out.jsonl").read_text().splitlines()] == list("12345")
    assert sorted(path.name for path in Path().iterdir()) == ["notes.txt", "out.jsonl"]


def test_ctrl_c_that_a_command_does_not_listen_for_ends_it_with_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Schema, "of", interrupted)
    result = ucuie("extract", "-s", PERSON, "-t", TEXT)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = ucuie("extract", "-s", PERSON, "-t", TEXT)
    assert (result.exit_code, result.stderr) == (130, "")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ucuie", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_real_process_keeps_data_and_talk_apart(model: str) -> None:
    write("notes.txt", TEXT, "London")
    result = run("extract", "-s", PERSON, "-i", "notes.txt", "-m", model)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == ""
    result = run("extract", "-s", '["a", "a"]', "-t", TEXT)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("schema error: ")
    assert "\x1b" not in result.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_whole_lines_on_stdout(model: str) -> None:
    write("notes.txt", *(f"{TEXT} {number}" for number in range(3000)))
    process = subprocess.Popen(
        [sys.executable, "-m", "ucuie", *("extract", "-s", PERSON, "-i", "notes.txt", "-m", model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Shells start what runs in the background deaf to Ctrl-C, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    # Not by `communicate`, which reads the pipe itself and loses what came with the first line.
    rest = process.stdout.read()
    _, said = process.communicate(timeout=120)
    lines = [json.loads(line) for line in (first + rest).splitlines()]
    assert process.returncode == 130, said
    assert [line["id"] for line in lines] == [str(number) for number in range(1, len(lines) + 1)]
    assert len(lines) < 3000
    assert "interrupted after" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_real_process_survives_ctrl_c(model: str) -> None:
    write("notes.txt", *(f"{TEXT} {number}" for number in range(3000)))
    command = [
        "extract",
        "-s",
        PERSON,
        "-i",
        "notes.txt",
        "-m",
        model,
        "-o",
        "out.jsonl",
        "--batch-size",
        "1",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "ucuie", *command],
        stderr=subprocess.PIPE,
        text=True,
        # Shells start what runs in the background deaf to Ctrl-C, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(Path().glob(".out.jsonl.*.part")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert not Path("out.jsonl").exists()
