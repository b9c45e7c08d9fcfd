"""The spaCy component: the extractor's own answers, on documents."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiny_model import answer_of
from ucuie import Extraction, Extractor
from ucuie.errors import ConfigError, SchemaError

spacy = pytest.importorskip("spacy", reason="the extra spacy is not installed")

ROOT = Path(__file__).parents[2]
TYPES = {"person": [], "live in": ["subject", "object"]}
TEXTS = [f"{name} lived in {place}." for name in ("Ada", "Bo", "Cy") for place in ("London", "Rome")]


@pytest.fixture(scope="module")
def model(adapted_folder: Path) -> str:
    return str(adapted_folder)


def pipeline(model: str, **config: Any) -> Any:
    import ucuie.integrations.spacy_component  # noqa: F401  what the entry point does where it is installed

    nlp = spacy.blank("en")
    nlp.add_pipe("ucuie", config={"types": TYPES, "model": model} | config)
    return nlp


def expected(model: str, texts: list[str]) -> list[Extraction]:
    return Extractor.from_pretrained(model).extract_batch(texts, TYPES)


@pytest.mark.slow
def test_documents_have_the_answers_of_the_extractor(model: str) -> None:
    docs = list(pipeline(model).pipe(TEXTS, batch_size=4))
    for doc, extraction in zip(docs, expected(model, TEXTS), strict=True):
        assert [record["frame"] for record in answer_of(doc._.ucuie)["records"]] == [
            record.frame for record in extraction.records
        ]
        spans, scores = doc.spans["ucuie"], doc.spans["ucuie"].attrs["scores"]
        fillers = [filler for record in extraction.records for filler in record.fillers()]
        assert len(spans) == len(fillers) == len(scores)
        for span, filler in zip(spans, fillers, strict=True):
            assert span.start_char <= filler.start < filler.end <= span.end_char
    assert any(doc.spans["ucuie"] for doc in docs)


@pytest.mark.slow
def test_the_threshold_of_the_model_counts_where_none_is_given(model: str, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "mine")
    path = folder / "ucuie.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threshold": 1.0}))
    assert not any(doc.spans["ucuie"] for doc in pipeline(str(folder)).pipe(TEXTS))
    everything = [doc._.ucuie for doc in pipeline(str(folder), threshold=0).pipe(TEXTS)]
    assert [one.records for one in everything] == [one.records for one in expected(model, TEXTS)]


def test_entities_do_not_overlap_and_leave_room_for_others(model: str) -> None:
    def with_ruler(**config: Any) -> Any:
        nlp = pipeline(model, types=["person", "city"], **config)
        ruler = nlp.add_pipe("entity_ruler", before="ucuie")
        ruler.add_patterns([{"label": "THERE", "pattern": name} for name in ("Ada", "Bo", "London", "in")])
        return nlp

    for doc in with_ruler().pipe(TEXTS):
        for span in doc.ents:
            assert doc.text[span.start_char : span.end_char] == span.text
        assert {"Ada", "Bo", "London", "in"} & set(doc.text[:-1].split()) <= {
            span.text for span in doc.ents if span.label_ == "THERE"
        }
    assert not any(
        span.label_ == "THERE" for doc in with_ruler(overwrite_ents=True).pipe(TEXTS) for span in doc.ents
    )


def test_blank_documents_pass_through(model: str) -> None:
    empty, blank, one = pipeline(model).pipe(["", " \n", TEXTS[0]])
    assert (empty._.ucuie, blank._.ucuie) == (None, None)
    assert (len(empty.ents), len(blank.spans["ucuie"])) == (0, 0)
    assert one._.ucuie is not None


def test_fillers_within_a_token_are_widened_and_kept_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    from extractions import EVERYTHING, filler
    from ucuie import Record
    from ucuie.integrations.spacy_component import make_component

    nlp = spacy.blank("en")
    doc = nlp(EVERYTHING.text)
    record = Record(frame="part", filler=filler("ovelac"))
    component = make_component(nlp, "ucuie", ["part"], None, None, None, None, 1, False)
    found = EVERYTHING.model_copy(update={"records": (record, record)})
    stand_in = SimpleNamespace(extract_batch=lambda *_, **__: [found])
    monkeypatch.setattr("ucuie.integrations.spacy_component.UcuieComponent.extractor", stand_in)
    component(doc)
    assert [span.text for span in doc.ents] == ["Lovelace"]
    assert len(doc.spans["ucuie"]) == 2
    assert doc._.ucuie.records[0].filler.text == "ovelac"


@pytest.mark.slow
def test_documents_and_pipelines_survive_bytes_disk_and_pickling(model: str, tmp_path: Path) -> None:
    nlp = pipeline(model)
    doc = nlp(TEXTS[0])
    copy = spacy.tokens.Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert copy._.ucuie == doc._.ucuie
    assert list(copy.spans["ucuie"].attrs["scores"]) == list(doc.spans["ucuie"].attrs["scores"])
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    assert answer_of(again(TEXTS[0])._.ucuie) == answer_of(doc._.ucuie)
    assert again.config["components"]["ucuie"]["types"] == TYPES
    pickled = pickle.dumps(nlp.get_pipe("ucuie"))
    assert len(pickled) < 10_000  # the model is not in it
    component = pickle.loads(pickled)
    assert answer_of(component(spacy.blank("en")(TEXTS[0]))._.ucuie) == answer_of(doc._.ucuie)


def test_components_of_a_pipeline_write_under_their_own_names(model: str) -> None:
    nlp = pipeline(model)
    nlp.add_pipe("ucuie", name="places", config={"types": ["city"], "model": model})
    doc = nlp(TEXTS[0])
    [extraction] = expected(model, TEXTS[:1])
    assert answer_of(doc._.ucuie) | {"id": None} == answer_of(extraction) | {"id": None}
    assert {record.frame for record in doc._.places.records} <= {"city"}
    assert len(doc.spans["ucuie"]) == sum(len(list(record.fillers())) for record in extraction.records)
    assert {span.label_ for span in doc.spans["places"]} <= {"city"}
    copy = spacy.tokens.Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert (copy._.ucuie, copy._.places) == (doc._.ucuie, doc._.places)


def test_an_attribute_of_others_is_not_taken_over() -> None:
    spacy.tokens.Doc.set_extension("taken", default=1)
    try:
        with pytest.raises(ConfigError, match="attribute 'taken' already"):
            spacy.blank("en").add_pipe("ucuie", name="taken", config={"types": ["city"]})
    finally:
        spacy.tokens.Doc.remove_extension("taken")


def test_mistakes_in_the_config_are_refused_when_the_pipe_is_added() -> None:
    with pytest.raises(SchemaError, match="None is not a schema"):
        pipeline("none", types=None)
    with pytest.raises(ConfigError, match="threshold"):
        pipeline("none", threshold=7)


@pytest.mark.slow
def test_the_entry_point_is_found_without_an_import(tmp_path: Path) -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    installed = tmp_path / "some_distribution-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: some-distribution\nVersion: 1\n")
    lines = [f"{name} = {value}" for name, value in points["spacy_factories"].items()]
    (installed / "entry_points.txt").write_text("\n".join(["[spacy_factories]", *lines, ""]))
    program = (
        "import spacy; spacy.blank('en').add_pipe('ucuie', config={'types': ['person']}); print('added')"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    result = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert result.stdout == "added\n", result.stderr
