"""Tables of hand-made trials."""

import csv
import io
import json

import pytest

from ucuie.lab.experiments.tables import Trials, to_csv, to_json
from ucuie.templates import Table

TABLE = Table(
    ("variant", "F1", "parameters", "paper"),
    (("soft | x", Trials((10.0, 14.0)), 1234, "not given"), ("lora", Trials(()), None, "not given")),
    title="Title",
)


def test_mean_and_sample_deviation_over_trials() -> None:
    trials = Trials((10.0, 14.0))
    assert trials.mean == 12
    assert trials.deviation == pytest.approx(8**0.5)  # ((-2)^2 + 2^2) / (2 - 1)
    assert str(trials) == "12.0 ± 2.8"
    assert (Trials((3.0,)).deviation, str(Trials((3.0,))), str(Trials(()))) == (None, "3.0", "missing")


def test_markdown_escapes_bars_and_shows_what_is_missing() -> None:
    lines = TABLE.to_markdown().splitlines()
    assert lines[0] == "**Title**"
    assert lines[4] == "| soft \\| x | 12.0 ± 2.8 | 1,234 | not given |"
    assert lines[5] == "| lora | missing |  | not given |"


def test_csv_has_a_column_for_mean_deviation_and_number() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == ["variant", "F1", "F1 deviation", "F1 trials", "parameters", "paper"]
    assert rows[1][:2] == ["soft | x", "12.0"]
    assert rows[2] == ["lora", "", "", "0", "", "not given"]


def test_json_keeps_every_trial() -> None:
    assert json.loads(to_json(TABLE))["rows"][0]["F1"]["values"] == [10.0, 14.0]
