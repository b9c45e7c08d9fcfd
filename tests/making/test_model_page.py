"""The page about the embedded model: every marked place is filled from the files of an evaluation."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tiny_model import save_adapted
from ucuie.data import read_gold
from ucuie.evaluation.evaluate import evaluate
from ucuie.extract.extractor import Extractor

ROOT = Path(__file__).parents[2]
TEXT = "Ada Lovelace lived in London."


def _example(name: str, number: int, *, has_record: bool) -> dict[str, object]:
    records = [{"frame": "person", "filler": {"text": "Ada Lovelace", "start": 0, "end": 12}, "slots": []}]
    return {
        "id": f"{name}/{number}", "dataset": name, "task": "NER", "split": "test", "text": f"{TEXT} {number}",
        "schema": {"frames": [{"name": "person"}]}, "records": records if has_record else [],
    }  # fmt: skip


def test_every_place_of_the_model_page_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from making import model_page

    extractor = Extractor.from_pretrained(save_adapted(tmp_path / "tiny"), device="cpu", max_new_tokens=20)
    arguments: list[str | Path] = []
    for prefix, name in (("", "bc5cdr"), ("zero-shot-", "crossner")):
        folder = tmp_path / f"{prefix}data" / name
        folder.mkdir(parents=True)
        lines = [_example(name, number, has_record=number % 2 == 0) for number in range(6)]
        (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        evaluate(extractor, read_gold(folder.parent), tmp_path / f"{prefix}report")
        arguments += [f"--{prefix}report", tmp_path / f"{prefix}report", f"--{prefix}data", folder.parent]
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps({"time_50_types_over_5": 1.134, "settings": {"threads": 1}}))
    peer = tmp_path / "scores.json"
    peer.write_text(json.dumps({"bc5cdr": {"f1": 70.04}, "genia_ner": {"f1": 60.0}}))
    page = Path(shutil.copy(ROOT / "docs" / "mini.md", tmp_path))
    arguments += ["--bench", bench, "--peer", peer, "--page", page]
    monkeypatch.setattr(sys, "argv", ["model_page.py", *map(str, arguments)])
    model_page.main()

    places = dict(re.findall(r"<!-- ([\w-]+) -->\n(.*?)\n<!-- /\1 -->", page.read_text("utf-8"), re.DOTALL))
    assert places.keys() == {"supervised", "peer", "zero-shot", "false-alarms", "grounding", "speed"}
    assert re.search(r"^\| bc5cdr \| NER \| 6 \| .* \| 48 \| 70.0 \|$", places["supervised"], re.MULTILINE)
    assert "Over bc5cdr the mean F1 is" in places["peer"]
    assert "spaCy's 70.0: " in places["peer"]
    assert "| crossner | NER | 6 |" in places["zero-shot"]
    assert "| bc5cdr | 3 |" in places["false-alarms"]
    assert ", 0 of them not what the text says" in places["grounding"]
    assert "`time_50_types_over_5`: 1.13" in places["speed"]
    figures = json.loads(page.with_suffix(".json").read_text("utf-8"))
    numbers = figures["bc5cdr"]["offset"]["NER"]
    assert numbers.keys() == {"precision", "recall", "f1", "low", "high"}
    assert f"| {numbers['f1']:.1f} |" in places["supervised"]
    assert "bc5cdr, NER" in page.with_suffix(".svg").read_text("utf-8")
