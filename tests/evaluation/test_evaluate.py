"""Evaluation: predictions and report of a model on gold data."""

import json
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from rich.console import Console, RenderableType

from small_disk import files_of_at_most
from tiny_model import CONTEXT, answer_of, tiny_model
from ucuie import Extractor
from ucuie.data import read_gold
from ucuie.errors import ConfigError, DataError
from ucuie.evaluation.evaluate import evaluate
from ucuie.extract.options import AnswerOptions
from ucuie.extract.result import Extraction
from ucuie.metrics import SCORERS
from ucuie.model.operating_point import OperatingPoint
from ucuie.render.tables import evaluation_tables
from ucuie.schema import Example, Record


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(tiny_model(), max_new_tokens=60, batch_size=2)


def line(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"set/test/{number}", "dataset": "set", "task": "NER", "split": "test",
        "text": f"Ada met Charles in London {number}.",
        "schema": {"frames": [{"name": "person"}, {"name": "city"}]},
        "records": [
            {"frame": "person", "filler": {"text": "Ada", "start": 0, "end": 3}},
            {"frame": "city", "filler": {"text": "London", "start": 19, "end": 25}},
        ],
    } | changes  # fmt: skip


def console_text(table: RenderableType) -> str:
    console = Console(width=300, file=StringIO(), highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    return path


class Perfect:
    """Stands in for an extractor and answers with the gold."""

    model_name = identity = "perfect"
    operating_point = OperatingPoint()

    def __init__(self, gold: list[Example]) -> None:
        self.gold = {example.id: example for example in gold}

    def faults(self, queries: Any) -> dict[int, Any]:
        return {}

    def answer(self, queries: Any) -> Iterator[Extraction]:
        for query in queries:
            records: tuple[Record, ...] = self.gold[query.id].records
            yield Extraction(id=query.id, text=query.text, records=records, model="perfect", seconds=0.01)


def test_perfect_predictions_score_100(tmp_path: Path) -> None:
    gold = read_gold(write(tmp_path / "test.jsonl", *(line(number) for number in range(3))))
    report = evaluate(Perfect(gold), gold, tmp_path / "out")  # type: ignore[arg-type]
    assert report.scores[0].micro("NER").f1 == 100
    assert report.breakdown.ceiling.micro("NER").f1 == 100
    assert report.texts_per_second == pytest.approx(100)


def test_both_files_hold_what_was_found(extractor: Extractor, tmp_path: Path) -> None:
    gold = read_gold(write(tmp_path / "test.jsonl", *(line(number) for number in range(5))))
    shown = []

    def progress(extractions: Iterator[Extraction], total: int) -> Iterator[Extraction]:
        for extraction in extractions:
            shown.append((extraction.id, total))
            yield extraction

    report = evaluate(extractor, gold, tmp_path / "out", progress=progress)
    assert shown == [(f"set/test/{number}", 5) for number in range(5)]
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    predictions = [Extraction.model_validate_json(entry) for entry in lines]
    assert [prediction.id for prediction in predictions] == [example.id for example in gold]
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["scores"] == [report.to_dict()["scores"][0]]
    assert written["examples"] == 5
    assert written["placing_ceiling"]["rows"]
    assert [interval["row"] for interval in written["intervals"]] == ["NER", "frame"]
    assert {"threads", "torch", "cores"} <= set(written["environment"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "breakdown.html",
        "breakdown.json",
        "breakdown.txt",
        "predictions.jsonl",
        "report.json",
    ]


def test_the_model_is_used_as_it_stands_unless_asked_otherwise(extractor: Extractor, tmp_path: Path) -> None:
    gold = read_gold(write(tmp_path / "test.jsonl", *(line(number) for number in range(5))))
    neutral = evaluate(extractor, gold, tmp_path / "neutral")
    with patch.object(extractor, "operating_point", OperatingPoint(end_bias=100.0, threshold=1.0)):
        own = evaluate(extractor, gold, tmp_path / "own")
        options = AnswerOptions.of(threshold=0, end_bias=-100.0)
        asked = evaluate(extractor, gold, tmp_path / "asked", options=options)
    assert (neutral.end_bias, neutral.threshold) == (0, {})
    assert (own.end_bias, own.threshold) == (100, {"NER": {"*": 1}})
    assert (asked.end_bias, asked.threshold) == (0, {"NER": {"*": 0}})
    assert own.dropped["below the threshold"]
    assert own.scores[0].micro("frame").predicted == 0
    assert asked.scores == neutral.scores
    written = json.loads((tmp_path / "own" / "report.json").read_text())
    assert (written["end_bias"], written["threshold"]) == (100, {"NER": {"*": 1}})
    assert "end bias 100; thresholds *=1 for NER" in console_text(evaluation_tables(own))


def test_all_scorers_stand_side_by_side(extractor: Extractor, tmp_path: Path) -> None:
    gold = read_gold(write(tmp_path / "test.jsonl", line(1)))
    report = evaluate(extractor, gold, tmp_path / "out", scorer="all")
    assert [score.scorer for score in report.scores] == list(SCORERS)
    shown = console_text(evaluation_tables(report))
    assert "instructuie-fixed" in shown
    assert "95 % interval" in shown
    assert " missed, " in shown


def test_what_went_wrong_is_written_as_data_text_and_page(tmp_path: Path) -> None:
    gold = read_gold(write(tmp_path / "test.jsonl", line(0), line(1)))
    wrong = [replace(gold[0], records=gold[0].records[:1]), gold[1]]
    evaluate(Perfect(wrong), gold, tmp_path / "out")  # type: ignore[arg-type]
    mistakes = json.loads((tmp_path / "out" / "breakdown.json").read_text())["mistakes"]
    assert (mistakes["right"], mistakes["kinds"]["missed"]) == (3, 1)
    assert "Ada met Charles in [London] 0." in (tmp_path / "out" / "breakdown.txt").read_text()
    page = (tmp_path / "out" / "breakdown.html").read_text()
    assert "<title>perfect on set</title>" in page
    assert '<mark class="gold">London</mark>' in page


def test_a_type_too_large_for_the_model_counts_as_missed(extractor: Extractor, tmp_path: Path) -> None:
    frames = [*line(1)["schema"]["frames"], {"name": "very " * CONTEXT + "long name"}]
    large = line(1, schema={"frames": frames})
    report = evaluate(
        extractor, read_gold(write(tmp_path / "test.jsonl", line(0), large, line(2))), tmp_path / "out"
    )
    assert report.num_unreadable == 1
    assert report.scores[0].micro("NER").gold == 6
    unread = json.loads((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()[1])
    assert unread["records"] == []
    assert unread["dropped"][0]["reason"] == "the model cannot read it"


def test_an_interrupted_evaluation_goes_on(extractor: Extractor, tmp_path: Path) -> None:
    gold = read_gold(write(tmp_path / "test.jsonl", *(line(number) for number in range(6))))

    def interrupt(extractions: Iterator[Extraction], total: int) -> Iterator[Extraction]:
        yield next(extractions)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(extractor, gold, tmp_path / "out", progress=interrupt)
    (staged,) = (tmp_path / "out").iterdir()
    assert staged.name.startswith(".predictions.jsonl.")
    evaluate(extractor, gold, tmp_path / "out")
    evaluate(extractor, gold, tmp_path / "whole")
    resumed, whole = (
        [
            answer_of(Extraction.model_validate_json(entry))
            for entry in (tmp_path / name / "predictions.jsonl").read_text().splitlines()
        ]
        for name in ("out", "whole")
    )
    assert resumed == whole


def test_an_unknown_scorer_is_refused_with_the_nearest(extractor: Extractor, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'ofset'; did you mean 'offset'"):
        evaluate(extractor, [], tmp_path, scorer="ofset")


def test_gold_is_a_file_a_folder_or_folders(tmp_path: Path) -> None:
    write(tmp_path / "one" / "test.jsonl", line(1), line(2))
    write(tmp_path / "one" / "train.jsonl", line(3, split="train"))
    write(tmp_path / "two" / "test.jsonl", line(4, dataset="two"))
    assert len(read_gold(tmp_path / "one")) == 2
    assert len(read_gold(tmp_path / "one", split="train")) == 1
    assert len(read_gold(tmp_path / "one" / "train.jsonl")) == 1
    assert [example.dataset for example in read_gold(tmp_path)] == ["set", "set", "two"]


def test_a_limit_draws_the_same_examples_of_each_file(tmp_path: Path) -> None:
    write(tmp_path / "one" / "test.jsonl", *(line(number) for number in range(50)))
    write(tmp_path / "two" / "test.jsonl", *(line(number, dataset="two") for number in range(50)))
    gold = read_gold(tmp_path, limit=7)
    assert gold == read_gold(tmp_path, limit=7)
    assert [example.dataset for example in gold] == ["set"] * 7 + ["two"] * 7
    assert [example.id for example in gold[:7]] != [f"set/test/{number}" for number in range(7)]


def test_all_bad_lines_of_gold_are_told_at_once(tmp_path: Path) -> None:
    record = {"frame": "persn", "filler": {"text": "Ada", "start": 0, "end": 3}}
    write(tmp_path / "test.jsonl", line(1, records=[record]), line(2), line(3, text=""))
    with pytest.raises(DataError) as caught:
        read_gold(tmp_path)
    assert len(caught.value.faults) == 2
    assert "test.jsonl line 1" in str(caught.value)
    assert "did you mean 'person'" in str(caught.value)


def test_no_gold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_gold(tmp_path)
    write(tmp_path / "test.jsonl")
    with pytest.raises(DataError, match=r"no examples of the split test\n.*none of another split"):
        read_gold(tmp_path)
    write(tmp_path / "train.jsonl", line(1, split="train"))
    with pytest.raises(DataError, match=r"no examples of the split test\n.*another split: train$"):
        read_gold(tmp_path)
    with pytest.raises(DataError, match="there is no example in it"):
        read_gold(tmp_path / "test.jsonl")
    with pytest.raises(DataError, match="no such file or folder"):
        read_gold(tmp_path / "none")


def test_a_disk_that_gets_full_leaves_the_files_of_the_last_evaluation(
    extractor: Extractor, tmp_path: Path
) -> None:
    gold = read_gold(write(tmp_path / "test.jsonl", *(line(number) for number in range(3))))
    out = tmp_path / "out"
    evaluate(Perfect(gold), gold, out)  # type: ignore[arg-type]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    evaluate(extractor, gold, tmp_path / "elsewhere")
    num_bytes = (tmp_path / "elsewhere" / "predictions.jsonl").stat().st_size + 100
    assert num_bytes < (tmp_path / "elsewhere" / "breakdown.html").stat().st_size
    # The predictions have room, the page has not.
    with files_of_at_most(num_bytes), pytest.raises(OSError, match="File too large"):
        evaluate(extractor, gold, out)
    assert {name: (out / name).read_bytes() for name in before} == before
    evaluate(extractor, gold, out)
    assert {path.name for path in out.iterdir()} == before.keys()
    assert (out / "predictions.jsonl").read_bytes() != before["predictions.jsonl"]
