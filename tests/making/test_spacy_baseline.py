"""The peer of the embedded model: what it is taught, and how it is scored."""

import json
from pathlib import Path

import pytest

from ucuie.data import read_gold

spacy = pytest.importorskip("spacy", reason="spaCy is an extra")


def _gold(folder: Path, text: str, *mentions: str) -> Path:
    records = [
        {
            "frame": "disease",
            "filler": {"text": one, "start": text.index(one), "end": text.index(one) + len(one)},
            "slots": [],
        }
        for one in mentions
    ]
    example = {
        "id": "a/1", "dataset": "a", "task": "NER", "split": "test", "text": text,
        "schema": {"frames": [{"name": "disease"}]}, "records": records,
    }  # fmt: skip
    folder.mkdir()
    (folder / "test.jsonl").write_text(json.dumps(example) + "\n")
    return folder


def test_mentions_are_widened_to_tokens_and_the_outermost_is_taught(tmp_path: Path) -> None:
    from making import spacy_baseline

    data = _gold(
        tmp_path / "a", "The lung cancer grew into leukaemias.", "cancer", "lung cancer", "leukaemia"
    )
    (doc,) = spacy_baseline.docs(spacy.blank("en"), list(read_gold(data, split="test")))
    assert [entity.text for entity in doc.ents] == ["lung cancer", "leukaemias"]


def test_scores_count_all_of_gold_by_its_own_offsets(tmp_path: Path) -> None:
    from making import spacy_baseline

    language = spacy.blank("en")
    ruler = language.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "disease", "pattern": one} for one in ("lung cancer", "gout", "flu")])
    data = _gold(tmp_path / "a", "No lung cancer, gout or leukaemias.", "lung cancer", "cancer", "leukaemia")
    scores = spacy_baseline.score(language, list(read_gold(data, split="test")))
    assert (scores["precision"], scores["recall"]) == (50.0, 33.33)
    assert scores["low"] <= scores["f1"] <= scores["high"]
