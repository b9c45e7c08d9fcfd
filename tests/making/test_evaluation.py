"""Evaluation of a release: what `scores.json` says, counted by hand, and the page made from it."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from making import comparison, evaluation
from making.comparison import PEERS, SECTIONS, Figures, filled_page
from making.evaluation import false_finds, new_types, only_types, zero_shot_scores
from tiny_model import save_adapted
from ucuie.metrics import apply_views
from ucuie.schema import Example, Filler, Frame, Record, Schema

TEXT = "Ada met Bob in Rome."


def _record(name: str, words: str) -> Record:
    start = TEXT.index(words)
    return Record(frame=name, filler=Filler(text=words, start=start, end=start + len(words)))


def _example(number: int, names: tuple[str, ...], *records: Record, task: str = "NER") -> Example:
    return Example(
        id=str(number), dataset="a", task=task, split="test", text=TEXT,
        schema=Schema(frames=tuple(Frame(name=name) for name in names)), records=records,
    )  # fmt: skip


EXAMPLES = [
    _example(
        1, ("person", "city"), _record("person", "Ada"), _record("person", "Bob"), _record("city", "Rome")
    ),
    _example(2, ("guest",), _record("guest", "Bob")),
]
PREDICTIONS = [(_record("person", "Ada"), _record("city", "Bob")), (_record("guest", "Bob"),)]


def test_types_are_new_by_their_names_or_by_every_word() -> None:
    new = new_types(["city", "person", "music genre", "Album"], ["Person", "genre of film", "album"])
    assert new == {"new names": ["city", "music genre"], "new words": ["city"]}


def test_scores_on_new_types_and_by_trial() -> None:
    found = zero_shot_scores(EXAMPLES, PREDICTIONS, ["guests", "persons", "person"])
    ner = found["scores"]["NER"]
    # Right: Ada and the guest Bob, of 3 predicted and 4 in gold.
    assert (ner["precision"], ner["recall"], ner["f1"]) == (66.67, 50.0, 57.14)
    assert found["new names"]["types"] == ["city", "guest"]
    # Right: the guest, of 2 predicted and 2 in gold.
    assert found["new names"]["scores"]["NER"]["f1"] == 50.0
    nothing = {"precision": 0, "recall": 0, "f1": 0, "low": 0, "high": 0}
    assert found["new words"] == {"types": ["city"], "of": 3, "scores": {"NER": nothing}}
    # The first trial: 1 right of 2 predicted and 3 in gold.
    assert found["trials"]["NER"] == {"f1": [40.0, 100.0], "mean": 70.0, "deviation": 42.43}


def test_texts_that_are_asked_for_other_types_only_are_left_out() -> None:
    examples, predictions = apply_views(EXAMPLES, PREDICTIONS, [only_types(["city"])])
    assert [example.id for example in examples] == ["1"]
    assert [record.filler.text for record in examples[0].records] == ["Rome"]
    assert predictions == [[_record("city", "Bob")]]


def test_what_is_found_where_there_is_nothing_is_counted_by_task() -> None:
    examples = [
        _example(number, ("gene",), task=task) for number, task in enumerate(("NER", "NER", "RE", "RE"))
    ]
    found = false_finds(examples, [(), (_record("gene", "Ada"),), (), ()])
    assert found == {
        "NER": {"texts": 2, "with a record %": 50.0},
        "all": {"texts": 4, "with a record %": 25.0},
        "RE": {"texts": 2, "with a record %": 0.0},
    }


def test_a_model_is_evaluated_set_by_set_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("seen", "unseen", "nothing"):
        (tmp_path / "data" / name).mkdir(parents=True)
        examples = EXAMPLES if name != "nothing" else [_example(1, ("gene",))]
        (tmp_path / "data" / name / "test.jsonl").write_text(
            "".join(f"{one.to_json()}\n" for one in examples)
        )
    (tmp_path / "types.json").write_text('["person"]')
    error = {"kind": "record", "task": None, "num_elements": 9, "ece_before": 0.1, "ece_after": 0.05}
    (tmp_path / "calibration.json").write_text(json.dumps({"errors": [error, error | {"task": "NER"}]}))
    arguments = [
        "--model",
        save_adapted(tmp_path / "tiny"),
        "--data",
        tmp_path / "data",
        "--supervised",
        "seen",
    ]
    arguments += ["--zero-shot", "unseen", "--mixture", tmp_path / "types.json", "--output", tmp_path / "out"]
    arguments += ["--calibration", tmp_path / "calibration.json"]
    monkeypatch.setattr(sys, "argv", ["evaluation", *map(str, arguments)])
    evaluation.main()
    scores = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))
    assert scores["supervised"]["seen"]["scores"].keys() == {"NER"}
    assert scores["zero-shot"]["unseen"]["new names"]["types"] == ["city", "guest"]
    assert scores["nothing to find"]["all"]["texts"] == 1
    assert scores["calibration"] == {"record": {"elements": 9, "before": 10.0, "after": 5.0}}

    def never(*_: Any) -> None:
        raise AssertionError("what is done is done again")

    monkeypatch.setattr(evaluation, "evaluate", never)
    evaluation.main()
    assert json.loads((tmp_path / "out" / "scores.json").read_text("utf-8")) == scores


def test_the_page_puts_models_side_by_side() -> None:
    numbers = {"precision": 70.0, "recall": 60.0, "f1": 64.62, "low": 60.04, "high": 68.0}
    new = {"types": ["dish"], "of": 8, "scores": {"NER": numbers | {"f1": 30.0}}}
    unseen = {
        "texts": 500,
        "task": "NER",
        "scores": {"NER": numbers},
        "new names": new,
        "new words": {"types": [], "of": 8},
    }
    fewrel = {
        "texts": 500, "task": "RE", "scores": {"RE boundary": numbers},
        "trials": {"RE boundary": {"f1": [10.0, 20.04], "mean": 15.02, "deviation": 7.1}},
    }  # fmt: skip
    figures = Figures(
        scores={
            "supervised": {"bc5cdr": {"texts": 500, "task": "NER", "scores": {"NER": numbers}}},
            "zero-shot": {"crossner_ai": unseen, "fewrel": fewrel},
            "nothing to find": {"NER": {"texts": 100, "with a record %": 7.0}},
            "calibration": {"record": {"elements": 1200, "before": 12.34, "after": 3.0}},
        },
        mini={"bc5cdr": {"offset": {"NER": {"f1": 61.44}}}},
        pretrained={"crossner_ai": {"model": numbers, "spaCy": numbers | {"f1": 50.0}}},
        peers=yaml.safe_load(PEERS.read_text("utf-8")),
        mixture="| set |\n|---|",
    )
    page = filled_page(
        "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in SECTIONS).replace(
            "-->\n<!-- /", "-->\n\n<!-- /"
        ),
        figures,
    )
    assert "| bc5cdr | NER | 500 | 64.6 | 60.0 to 68.0 | 61.4 | 78.0 |" in page
    assert "| crossner_ai | NER | 500 | 64.6 | 60.0 to 68.0 |  | 30.0 (1 of 8 types) | no such type |" in page
    assert "Mean F1 over crossner_ai: 64.6." in page
    assert "| fewrel | RE boundary | 10.0, 20.0 | 15.0 ± 7.1 |" in page
    assert "| crossner_ai | 64.6 | 60.0 to 68.0 | 50.0 | 60.0 to 68.0 |" in page
    assert "| NER | 100 | 7.0 % |" in page
    assert "| record | 1,200 | 12.3 | 3.0 |" in page
    assert "57.2" in page
    assert "arXiv:2402.16602" in page


def test_a_page_without_a_place_is_told() -> None:
    with pytest.raises(ValueError, match="no place for supervised, zero-shot"):
        filled_page("", Figures({}, {}, {}, {"trained": {}, "published": []}))


def test_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("\n\n".join(f"<!-- {name} -->\n\n<!-- /{name} -->" for name in SECTIONS))
    (tmp_path / "scores.json").write_text("{}")
    arguments = ["comparison", "--scores", str(tmp_path / "scores.json"), "--page", str(page)]
    monkeypatch.setattr(sys, "argv", arguments)
    comparison.main()
    assert "| data set | what | texts | F1 |" in page.read_text("utf-8")


def test_spacy_and_the_model_are_scored_on_the_types_that_both_know(tmp_path: Path) -> None:
    pytest.importorskip("spacy", reason="spaCy is an extra")
    from making.spacy_pretrained import COARSE, OF_PIPELINE, side_by_side

    assert {name for types in COARSE.values() for name in types.values()} <= set(OF_PIPELINE.values())
    names = ("person", "researcher", "country", "metric")
    gold = _example(
        1, names, _record("researcher", "Ada"), _record("country", "Rome"), _record("metric", "Bob")
    )
    for folder in (tmp_path / "data" / "crossner_ai", tmp_path / "out" / "crossner_ai"):
        folder.mkdir(parents=True)
    (tmp_path / "data" / "crossner_ai" / "test.jsonl").write_text(gold.to_json() + "\n")
    own = {"id": "1", "records": [json.loads(_record("person", "Ada").model_dump_json())]}
    (tmp_path / "out" / "crossner_ai" / "predictions.jsonl").write_text(json.dumps(own) + "\n")

    def entity(label: str, words: str) -> SimpleNamespace:
        start = TEXT.index(words)
        return SimpleNamespace(label_=label, text=words, start_char=start, end_char=start + len(words))

    found = [entity("GPE", "Rome"), entity("PERSON", "Bob"), entity("CARDINAL", "met")]
    language = SimpleNamespace(pipe=lambda texts: [SimpleNamespace(ents=found) for _ in texts])
    scores = side_by_side(language, tmp_path / "data", tmp_path / "out", None)["crossner_ai"]
    # Of the person Ada and the location Rome the model has Ada, spaCy Rome and a person that is none.
    assert (scores["model"]["precision"], scores["model"]["recall"]) == (100.0, 50.0)
    assert (scores["spaCy"]["precision"], scores["spaCy"]["recall"]) == (50.0, 50.0)
