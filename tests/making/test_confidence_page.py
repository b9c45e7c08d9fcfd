"""The figures of docs/confidence.md: the program fills every marked place of the page."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tiny_model import save_adapted

ROOT = Path(__file__).parents[2]
TEXT = "Ada Lovelace lived in London."


def test_every_place_of_the_confidence_page_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from making import confidence

    data = tmp_path / "data" / "set"
    data.mkdir(parents=True)
    lines = [
        {"id": str(number), "dataset": "set", "task": "NER", "split": "validation",
         "text": f"{TEXT} {number}", "schema": {"frames": [{"name": "person"}]}}
        for number in range(6)
    ]  # fmt: skip
    (data / "validation.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = Path(shutil.copy(ROOT / "docs" / "confidence.md", tmp_path))
    model = save_adapted(tmp_path / "tiny")
    arguments = ["--model", model, "--data", tmp_path / "data", "--knob", data, "--page", page]
    monkeypatch.setattr(sys, "argv", ["confidence.py", *map(str, arguments)])
    monkeypatch.setattr(confidence, "BIASES", (-1.0, 1.0))
    confidence.main()
    content = page.read_text("utf-8")
    assert "Validation texts: set 6." in content
    places = dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- /\1 -->", content, re.DOTALL))
    assert places.keys() == {"texts", "errors", "reliability", "knob"}
    assert re.search(r"^\| record \| NER \| all \| of all: \w+ \| [1-9]", places["errors"], re.MULTILINE)
    assert re.search(r"^\| -1 \| \d", places["knob"], re.MULTILINE)
    assert (tmp_path / "reliability.svg").read_text().startswith("<svg")
