"""Texts that are asked for what they do not have."""

import json
from pathlib import Path

import pytest

from making import nothing as module
from making.nothing import Pair, nothing
from ucuie.schema import Example


def _write(folder: Path, task: str, frames: list[str], texts: dict[str, str | None]) -> None:
    slots = [] if task == "NER" else [{"name": "subject"}, {"name": "object"}]
    lines = []
    for text, name in texts.items():
        start = text.index("Ada")
        filler = {"text": "Ada", "start": start, "end": start + 3}
        records = [{"frame": name, "filler": filler, "slots": []}] if name else []
        lines.append(
            {"id": text, "dataset": folder.name, "task": task, "split": "test", "text": text,
             "schema": {"frames": [{"name": one, "slots": slots} for one in frames]}, "records": records}
        )  # fmt: skip
    folder.mkdir()
    (folder / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    texts = {f"Ada wrote letter number {number} to her mother.": "person" for number in range(5)}
    texts |= {f"Ada is the name of a language, paragraph {number}.": None for number in range(5)}
    _write(tmp_path / "letters", "NER", ["person"], texts | {"Ada, again.": None})
    _write(tmp_path / "cells", "NER", ["protein", "human"], {"Ada binds proteins of type four.": "protein"})
    _write(tmp_path / "pairs", "RE", ["letter of", "shareholder"], {"Ada holds shares of the company.": None})
    return tmp_path


def test_half_were_annotated_and_the_others_are_of_another_field(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = {
        "NER": (Pair("letters", "letters", 4), Pair("letters", "cells", 3)),
        "RE": (Pair("letters", "pairs", 2),),
    }
    monkeypatch.setattr(module, "PAIRS", {"test": pairs})
    found = list(nothing(data, "test"))
    assert [one.task for one in found] == ["NER"] * 7 + ["RE"] * 2
    assert len({one.text for one in found}) == 9
    assert not any(one.records for one in found)
    assert all("language" in one.text for one in found[:4])
    for one in found[4:7]:
        # "human" is of the family of "person", which is annotated in some of the texts.
        assert "protein" in one.schema.frame_names
        assert ("human" in one.schema.frame_names) == ("language" in one.text)
    assert all(one.schema.frame_names == ("shareholder",) for one in found[7:] if "letter" in one.text)
    assert found == list(nothing(data, "test"))
    assert all(Example.from_json(one.to_json()) == one for one in found)


def test_too_few_texts_are_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAIRS", {"test": {"NER": (Pair("letters", "letters", 6),)}})
    with pytest.raises(ValueError, match="letters has 5 texts without letters, not 6"):
        list(nothing(data, "test"))


def test_there_are_as_many_texts_as_it_says() -> None:
    numbers = {task: sum(pair.number for pair in pairs) for task, pairs in module.PAIRS["test"].items()}
    assert numbers == {"NER": 100, "RE": 80, "EE": 60, "ABSA": 60}
