"""What is asked of every row: a model's own threshold where none is given, and a run for each question."""

from dataclasses import replace
from typing import Any

import pytest

from tiny_model import tiny_model
from ucuie import Extractor, Schema
from ucuie.batch.question import Question
from ucuie.batch.rows import OutputRow, Row
from ucuie.extract.options import AnswerOptions
from ucuie.extract.query import answer_each
from ucuie.model.operating_point import OperatingPoint

ROWS = [Row("in.txt", number, b"Ada %d lived in London." % number) for number in range(1, 5)]


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(tiny_model(), max_new_tokens=40)


def question(**options: Any) -> Question:
    return Question(Schema.of(["person", "city"]), "NER", AnswerOptions.of(**options))


def lines(extractor: Extractor, asked: Question) -> list[OutputRow]:
    read = asked.read(ROWS, "tiny")
    found = read.lines(answer_each(extractor, list(read.queries.values())))
    return [OutputRow.model_validate_json(line).model_copy(update={"seconds": 0.0}) for line in found]


def test_a_models_threshold_counts_where_none_is_given(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = lines(extractor, question())
    num_records = sum(len(row.records or ()) for row in everything)
    assert num_records
    monkeypatch.setattr(extractor, "operating_point", OperatingPoint(threshold=1.0))
    left_out = lines(extractor, question())
    assert not any(row.records for row in left_out)
    reasons = [piece.reason for row in left_out for piece in row.dropped or ()]
    assert reasons.count("below the threshold") == num_records
    assert lines(extractor, question(threshold=0)) == everything


def test_no_threshold_and_one_of_0_are_two_questions() -> None:
    asked = [question(**options).asked for options in ({}, {"threshold": 0}, {"threshold": 0.5})]
    assert [one["threshold"] for one in asked] == [None, {"*": 0.0}, {"*": 0.5}]
    assert replace(question(), options=AnswerOptions()).asked == asked[0]
