"""The extractor: grounded records in the order of the texts, and refusals instead of cuts."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
import torch

from tiny_model import (
    CONTEXT,
    answer_of,
    make_adapted,
    make_backbone,
    save_adapted,
    save_plain,
    tiny_model,
    tokenizer,
)
from ucuie import Extractor, Schema
from ucuie.engine import products
from ucuie.engine.products import has_int8
from ucuie.errors import ConfigError, ModelError, SchemaError, TextError
from ucuie.extract.document import merge_groups
from ucuie.extract.extractor import NO_ALTERNATIVES, Query
from ucuie.extract.options import BELOW
from ucuie.extract.prompts import Prompts
from ucuie.extract.result import Extraction
from ucuie.language.encode import PromptEncoder
from ucuie.model.calibration import Calibration, Calibrator, Sigmoid
from ucuie.model.info import ModelInfo
from ucuie.schema import Example, Filler, Record, Task, record_faults

TEXTS = [
    "Ada Lovelace lived in London.",
    "naïve 東京 🙂 (a) \\ Null",
    "x",
    "Charles met Ada Lovelace in Turin; he met her in London too.",
]
SCHEMAS: list[Any] = [
    ["person", "city"],
    {"live in": ["subject", "object"]},
    {"Speech": ["Speaker", "Place", "Time"], "Attack": []},
    {"positive": ["aspect", "opinion"], "negative": ["aspect", "opinion"]},
]


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(tiny_model(), max_new_tokens=80)


def answers(extractions: list[Extraction]) -> list[dict[str, Any]]:
    return [answer_of(extraction) | {"id": None} for extraction in extractions]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: Schema.of(schema).task)
def test_every_record_is_grounded_and_of_the_schema(extractor: Extractor, schema: Any) -> None:
    for extraction in extractor.extract_batch(TEXTS, schema):
        assert record_faults(extraction.records, extraction.text, Schema.of(schema)) == []
        assert extraction.model == "tiny"


def test_a_batch_equals_its_texts_alone_and_the_stream(extractor: Extractor) -> None:
    batch = extractor.extract_batch(TEXTS, SCHEMAS[1])
    alone = [extractor.extract(text, SCHEMAS[1]) for text in TEXTS]
    stream = list(extractor.extract_iter(iter(TEXTS), SCHEMAS[1]))
    assert answers(batch) == answers(alone) == answers(stream)
    assert [extraction.text for extraction in batch] == TEXTS
    assert [extraction.id for extraction in batch] == [extraction.id for extraction in stream] == list("1234")


def test_a_stream_is_answered_before_it_ends() -> None:
    extractor = Extractor(tiny_model(), batch_size=1, max_new_tokens=8)
    taken = []

    def texts() -> Any:
        for number in range(100):
            taken.append(number)
            yield f"text {number}"

    next(extractor.extract_iter(texts(), ["person"]))
    assert len(taken) < 10


def test_an_extraction_has_the_shape_of_the_contract(extractor: Extractor) -> None:
    extraction = extractor.extract(TEXTS[0], SCHEMAS[0], id="a")
    line = extraction.to_dict()
    assert list(line) == ["id", "text", "records", "dropped", "truncated", "model", "seconds"]
    assert line["id"] == "a"
    assert line["seconds"] > 0
    assert Extraction.model_validate_json(extraction.to_json()) == extraction


def test_a_cut_output_is_reported() -> None:
    extraction = Extractor(tiny_model(), max_new_tokens=6).extract(TEXTS[3], SCHEMAS[2])
    assert extraction.truncated


@pytest.mark.skipif(not has_int8(torch.zeros(1)), reason="torch without oneDNN has no int8 products")
def test_int8_answers_the_same_alone_and_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    # A tiny model has no weights that are worth rounding.
    monkeypatch.setattr(products, "FEWEST_INT8", 0)
    rounded = Extractor(tiny_model(), max_new_tokens=80, int8=True)
    batch = rounded.extract_batch(TEXTS, SCHEMAS[1])
    assert answers(batch) == answers([rounded.extract(text, SCHEMAS[1]) for text in TEXTS])
    assert all(not record_faults(one.records, one.text, Schema.of(SCHEMAS[1])) for one in batch)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shares_backbone": True}, "share them; load one model alone"),
        ({"model": make_adapted(make_backbone()).bfloat16()}, "torch.bfloat16 on cpu"),
    ],
)
def test_int8_is_refused_where_it_cannot_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        Extractor(replace(tiny_model(), **change), int8=True)


@pytest.mark.parametrize("text", ["", " \n\t", "\u3000"])
def test_a_blank_text_is_refused(extractor: Extractor, text: str) -> None:
    with pytest.raises(TextError, match="is empty"):
        extractor.extract(text, ["person"])


def unscored(record: Record) -> tuple[str, object, object]:
    filler = record.filler and (record.filler.text, record.filler.start, record.filler.end)
    return (
        record.frame,
        filler,
        [replace(slot, filler=replace(slot.filler, score=None)) for slot in record.slots],
    )


def test_a_schema_larger_than_the_context_is_asked_for_in_groups(extractor: Extractor) -> None:
    schema = Schema.of([f"thing {number}" for number in range(100)])
    groups = Prompts(PromptEncoder(tokenizer()), CONTEXT, None).groups("NER", schema)
    assert len(groups) > 1
    for text, extraction in zip(TEXTS, extractor.extract_batch(TEXTS, schema), strict=True):
        alone = [extractor.extract(text, group).records for group in groups]
        expected = merge_groups(alone, [schema])
        # The last digit of a score may depend on the texts beside it.
        assert [unscored(record) for record in extraction.records] == [unscored(one) for one in expected]
        assert [one.score for one in extraction.records] == pytest.approx(
            [one.score for one in expected], abs=1e-5
        )
        assert extraction.records or not any(alone)
        assert record_faults(extraction.records, text, schema) == []


@pytest.mark.parametrize("task", ["judging", "locating", "associating"])
def test_groups_answer_every_task(extractor: Extractor, task: Task) -> None:
    schema = Schema.of({f"works for {number}": ["person", "employer"] for number in range(40)})
    elements = [Record(frame="person", filler=Filler(text="Ada Lovelace", start=0, end=12))]
    extraction = extractor.extract(
        TEXTS[0], schema, task=task, elements=elements if task == "associating" else None
    )
    asked = Query("1", TEXTS[0], schema, task).asked
    assert {record.frame for record in extraction.records} <= set(asked.frame_names)
    assert all(
        filler.text == TEXTS[0][filler.start : filler.end]
        for record in extraction.records
        for filler in record.fillers()
    )


def test_a_type_larger_than_the_context_is_refused(extractor: Extractor) -> None:
    with pytest.raises(SchemaError, match=rf"a single type .* [\d,]+ tokens .*\n?.*context {CONTEXT}"):
        extractor.extract("text", ["city", "a" * 10_000])


def test_a_lone_surrogate_is_refused(extractor: Extractor) -> None:
    with pytest.raises(TextError, match="lone surrogate"):
        extractor.extract("a\ud800b", ["person"])


def test_an_id_that_no_file_can_hold_is_refused_before_any_work(extractor: Extractor) -> None:
    with pytest.raises(TextError, match="the id of the text holds a lone surrogate"):
        extractor.extract("text", ["person"], id="a\ud800")


def test_all_bad_texts_of_a_batch_are_named_at_once(extractor: Extractor) -> None:
    with pytest.raises(TextError, match="2 of 3 texts cannot be used") as caught:
        extractor.extract_batch(["good", "", "a\ud800b"], ["person"])
    assert "text 2   the text '' is empty" in str(caught.value)
    assert "text 3   the text holds a lone surrogate" in str(caught.value)


@pytest.mark.parametrize("text", [None, math.nan, 7, b"Ada", ["Ada"]])
def test_a_text_of_another_type_is_refused_with_its_place(extractor: Extractor, text: Any) -> None:
    said = re.escape(f"the text is {text!r}, which is no string")
    with pytest.raises(TextError, match=f"^{said}$"):
        extractor.extract(text, ["person"])
    with pytest.raises(TextError, match=f"1 of 2 texts cannot be used\n  text 2   {said}"):
        extractor.extract_batch(["Ada", text], ["person"])
    stream = extractor.extract_iter(["Ada", text], ["person"])
    assert next(stream).text == "Ada"
    with pytest.raises(TextError, match=said):
        next(stream)
    with pytest.raises(TextError, match=r"the id of the text is .*, which is no string"):
        extractor.extract("Ada", ["person"], id=text)


@pytest.mark.parametrize("texts", ["Ada ran.", b"Ada", {"Ada": "ran"}, np.array([["Ada", "ran"]])])
def test_one_string_or_a_table_is_no_list_of_texts(extractor: Extractor, texts: Any) -> None:
    for extract in (extractor.extract_batch, extractor.extract_iter):
        with pytest.raises(TextError, match="stands where a list of texts should be"):
            extract(texts, ["person"])


def test_a_stream_gives_what_stands_before_a_bad_text() -> None:
    extractor = Extractor(tiny_model(), batch_size=4, max_new_tokens=8)
    stream = extractor.extract_iter(["one", "two", "", "four"], ["person"])
    assert [next(stream).text, next(stream).text] == ["one", "two"]
    with pytest.raises(TextError, match="is empty"):
        next(stream)


def test_no_texts_give_no_extractions(extractor: Extractor) -> None:
    assert extractor.extract_batch([], ["person"]) == []


def test_a_bad_schema_is_refused(extractor: Extractor) -> None:
    with pytest.raises(SchemaError, match="'a' twice"):
        extractor.extract("text", {"frame": ["a", "a"]})


def test_a_task_can_be_asked_for(extractor: Extractor) -> None:
    judged = extractor.extract(TEXTS[0], SCHEMAS[2], task="judging")
    assert all(not list(record.fillers()) for record in judged.records)
    with pytest.raises(ConfigError, match=r"no task 'REL'.*'RE'"):
        extractor.extract("text", ["person"], task="REL")  # type: ignore[arg-type]


def test_an_associating_example_uses_only_its_elements(extractor: Extractor) -> None:
    line = {
        "id": "1", "task": "associating", "text": TEXTS[0],
        "schema": {"frames": [{"name": "live in", "slots": [{"name": "subject"}, {"name": "object"}]}]},
        "elements": [{"frame": "subject", "filler": {"text": "Ada", "start": 0, "end": 3}}],
    }  # fmt: skip
    (extraction,) = extractor.answer([Query.of_example(Example(**line))])
    assert {filler.text for record in extraction.records for filler in record.fillers()} <= {"Ada"}


def test_capabilities_can_be_switched_per_extractor_of_one_model() -> None:
    shared = tiny_model()
    whole = Extractor(shared, max_new_tokens=80)
    judging = Extractor(shared, max_new_tokens=80, capabilities=("judging",))
    before = whole.extract_batch(TEXTS, SCHEMAS[0])
    assert answers(judging.extract_batch(TEXTS, SCHEMAS[0])) != answers(before)
    assert answers(whole.extract_batch(TEXTS, SCHEMAS[0])) == answers(before)


def test_an_unknown_capability_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'judge'; did you mean 'judging'"):
        Extractor(tiny_model(), capabilities=("judge",))  # type: ignore[arg-type]


def test_a_model_without_experts_has_no_capabilities_to_switch(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no capability experts"):
        Extractor(tiny_model(use_capability_experts=False), capabilities=("judging",))
    with pytest.raises(ConfigError, match="no capability experts"):
        Extractor.from_pretrained(save_plain(tmp_path), device="cpu", capabilities=("judging",))


@pytest.mark.parametrize(
    "settings", [{"router": "hard"}, {"num_levels": 1}, {"use_capability_experts": False}], ids=str
)
def test_every_kind_of_adapter_extracts(settings: dict[str, object]) -> None:
    extractor = Extractor(tiny_model(**settings), max_new_tokens=20)
    assert len(extractor.extract_batch(TEXTS, SCHEMAS[1])) == len(TEXTS)


def test_a_folder_extracts_as_the_model_that_was_saved(extractor: Extractor, tmp_path: Path) -> None:
    from_disk = Extractor.from_pretrained(save_adapted(tmp_path / "tiny"), device="cpu", max_new_tokens=80)
    for before, after in zip(
        extractor.extract_batch(TEXTS, SCHEMAS[0]), from_disk.extract_batch(TEXTS, SCHEMAS[0]), strict=True
    ):
        assert after.records == before.records


def test_a_plain_model_extracts(tmp_path: Path) -> None:
    extractor = Extractor.from_pretrained(str(save_plain(tmp_path)), device="cpu", max_new_tokens=20)
    assert extractor.extract(TEXTS[0], SCHEMAS[0]).model == str(tmp_path)


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not there"):
        Extractor.from_pretrained(tmp_path / "none")


def test_importing_the_package_loads_no_torch() -> None:
    code = (
        "import sys, ucuie, ucuie.schema, ucuie.extract.result, ucuie.cli\n"
        "assert ucuie.Schema and 'Extractor' in dir(ucuie) and ucuie.__version__\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Options of an answer ---------------------------------------------------------------------------


def calibrated() -> Extractor:
    half = Sigmoid(method="temperature", scale=0.5)
    calibrators = tuple(
        Calibrator(kind=kind, curve=half, num_elements=50, num_right=9)
        for kind in ("record", "filler", "slot")
    )
    calibration = Calibration(calibrators=calibrators)
    return Extractor(replace(tiny_model(), calibration=calibration), max_new_tokens=80)


def scores_of(extractions: list[Extraction]) -> list[float | None]:
    return [record.score for extraction in extractions for record in extraction.records]


def test_scores_are_calibrated_unless_raw_ones_are_asked_for(extractor: Extractor) -> None:
    raw = scores_of(extractor.extract_batch(TEXTS, SCHEMAS[1]))
    assert raw
    assert scores_of(calibrated().extract_batch(TEXTS, SCHEMAS[1], raw_scores=True)) == raw
    for score, before in zip(scores_of(calibrated().extract_batch(TEXTS, SCHEMAS[1])), raw, strict=True):
        assert before is not None
        odds = math.sqrt(max(before, 1e-6) / (1 - before))
        assert score == pytest.approx(odds / (1 + odds), abs=1e-5)


def test_a_threshold_counts_calibrated_scores_and_lists_what_it_drops() -> None:
    one = calibrated()
    everything = one.extract_batch(TEXTS, SCHEMAS[1])
    middle = sorted(score for score in scores_of(everything) if score is not None)[-1]
    kept = one.extract_batch(TEXTS, SCHEMAS[1], threshold={"live in": middle})
    assert 0 < len(scores_of(kept)) < len(scores_of(everything))
    for before, after in zip(everything, kept, strict=True):
        dropped = [piece for piece in after.dropped if piece.reason == "below the threshold"]
        assert len(before.records) == len(after.records) + len(dropped)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": -0.5}, "from 0 to 1"),
        ({"threshold": {"persn": 0.5}}, "did you mean 'person'"),
        ({"threshold": {"person": 7}}, "of 'person' is 7"),
        ({"end_bias": float("nan")}, "finite"),
        ({"end_bias": "much"}, "finite"),
        ({"explain": "layers"}, "'linears'"),
        ({"n_best": 0}, "n_best is 0"),
        ({"n_best": -2}, "n_best is -2"),
        ({"n_best": True}, "n_best is True"),
        ({"n_best": 2.5}, "n_best is 2.5"),
        ({"n_best": 33}, "n_best is 33.*room for 32"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(extractor: Extractor, options: Any, said: str) -> None:
    for extract in (extractor.extract, lambda *a, **o: extractor.extract_batch([a[0]], a[1], **o)):
        with pytest.raises(ConfigError, match=said):
            extract(TEXTS[0], SCHEMAS[0], **options)


@pytest.mark.parametrize(
    ("name", "nearest"), [("treshold", "threshold"), ("n_bests", "n_best"), ("raw", "raw_sc")]
)
def test_a_misspelt_option_is_refused_with_the_nearest(extractor: Extractor, name: str, nearest: str) -> None:
    options: dict[str, Any] = {name: 1}
    for extract in (
        lambda: extractor.extract("a", ["person"], **options),
        lambda: extractor.extract_batch(["a"], ["person"], **options),
        lambda: extractor.extract_iter(["a"], ["person"], **options),
    ):
        with pytest.raises(ConfigError, match=f"no option '{name}'.*'{nearest}"):
            extract()


def test_a_misspelt_option_of_a_model_is_refused_before_it_is_loaded() -> None:
    with pytest.raises(ConfigError, match="no option 'batchsize'; did you mean 'batch_size'"):
        Extractor.from_pretrained("none/such", batchsize=4)


def test_a_bias_on_ending_changes_how_much_is_found(extractor: Extractor) -> None:
    found = [
        len(scores_of(extractor.extract_batch(TEXTS, SCHEMAS[0], end_bias=bias)))
        for bias in (-100.0, 0.0, 100.0)
    ]
    assert found[0] == 0
    assert found == sorted(found)
    assert found[2] > found[0]


# --- Operating point --------------------------------------------------------------------------------


def standing(end_bias: float = 0.0, threshold: float = 0.0) -> Extractor:
    """The extractor of a calibrated model with these values in its `ucuie.json`."""
    info = ModelInfo(
        backbone="backbone",
        backbone_fingerprint="",
        tokenizer_sha256="",
        instruction_pool_hash="",
        num_parameters=1,
        end_bias=end_bias,
        threshold=threshold,
    )
    half = Sigmoid(method="temperature", scale=0.5)
    calibrator = Calibrator(kind="record", curve=half, num_elements=50, num_right=9)
    calibration = Calibration(calibrators=(calibrator,))
    return Extractor(replace(tiny_model(), info=info, calibration=calibration), max_new_tokens=80)


@pytest.mark.parametrize(("own", "asked"), [(2.0, 0.0), (0.0, 2.0), (3.0, -1.0), (-1.0, 3.0)])
def test_the_bias_of_a_query_is_added_to_that_of_the_model(own: float, asked: float) -> None:
    expected = standing().extract_batch(TEXTS, SCHEMAS[0], end_bias=2.0)
    assert answers(standing(own).extract_batch(TEXTS, SCHEMAS[0], end_bias=asked)) == answers(expected)
    located = standing().extract_batch(TEXTS, SCHEMAS[1], task="locating", end_bias=2.0)
    found = standing(own).extract_batch(TEXTS, SCHEMAS[1], task="locating", end_bias=asked)
    assert answers(found) == answers(located)


def test_the_threshold_of_a_model_is_that_of_queries_without_one() -> None:
    everything = standing().extract_batch(TEXTS, SCHEMAS[0])
    scores = sorted(score for score in scores_of(everything) if score is not None)
    middle = scores[len(scores) // 2]
    one = standing(threshold=middle)
    by_threshold = {
        threshold: standing().extract_batch(TEXTS, SCHEMAS[0], threshold=threshold)
        for threshold in (middle, scores[-1])
    }
    assert 0 < len(scores_of(by_threshold[middle])) < len(scores)
    for not_given in (None, {}):
        found = one.extract_batch(TEXTS, SCHEMAS[0], threshold=not_given)
        assert answers(found) == answers(by_threshold[middle])
    assert any(piece.reason == BELOW for extraction in found for piece in extraction.dropped)
    assert answers(one.extract_batch(TEXTS, SCHEMAS[0], threshold=0)) == answers(everything)
    high = one.extract_batch(TEXTS, SCHEMAS[0], threshold=scores[-1])
    assert answers(high) == answers(by_threshold[scores[-1]])
    # Types without a threshold of their own go by that of the model.
    some = one.extract_batch(TEXTS, SCHEMAS[0], threshold={"person": 0})
    expected = standing().extract_batch(TEXTS, SCHEMAS[0], threshold={"person": 0, "*": middle})
    assert answers(some) == answers(expected)


def test_raw_scores_and_parts_of_answers_do_not_go_by_the_threshold_of_the_model() -> None:
    for options in ({"raw_scores": True}, {"task": "locating"}, {"task": "judging"}):
        expected = standing().extract_batch(TEXTS, SCHEMAS[1], **options)  # type: ignore[arg-type]
        found = standing(threshold=1.0).extract_batch(TEXTS, SCHEMAS[1], **options)  # type: ignore[arg-type]
        assert scores_of(found)
        assert answers(found) == answers(expected)


def test_alternatives_go_by_the_threshold_of_the_model() -> None:
    extraction = standing(threshold=1.0).extract(TEXTS[0], SCHEMAS[0], n_best=4)
    assert (extraction.records, extraction.alternatives) == ((), ())


def test_the_operating_point_is_part_of_what_a_run_can_go_on_with() -> None:
    assert len({standing().identity, standing(1.0).identity, standing(0.0, 0.5).identity}) == 3


# --- Alternatives -----------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: Schema.of(schema).task)
def test_alternatives_are_other_grounded_answers_likeliest_first(extractor: Extractor, schema: Any) -> None:
    extractions = extractor.extract_batch(TEXTS, schema, n_best=5, end_bias=-3.0)
    assert sum(len(extraction.alternatives or ()) for extraction in extractions) > len(TEXTS)
    for extraction in extractions:
        assert extraction.alternatives is not None
        scores = [alternative.score for alternative in extraction.alternatives]
        assert len(scores) < 5
        assert scores == sorted(scores, reverse=True)
        assert max(scores, default=0) <= 1 - sum(scores) + 1e-5
        answers_given = [extraction.records, *(one.records for one in extraction.alternatives)]
        assert len({str(spans_of(records)) for records in answers_given}) == len(answers_given)
        for records in answers_given:
            assert record_faults(records, extraction.text, Schema.of(schema)) == []


def spans_of(records: tuple[Record, ...]) -> list[Any]:
    """What records say, without their scores."""
    no_score = {"filler": {"score"}, "score": True, "slots": {"__all__": {"filler": {"score"}}}}
    return [record.model_dump(exclude=no_score) for record in records]


def test_alternatives_come_with_one_text_as_with_many(extractor: Extractor) -> None:
    together = extractor.extract_batch(TEXTS, SCHEMAS[0], n_best=3)
    alone = [extractor.extract(text, SCHEMAS[0], n_best=3) for text in TEXTS]
    for one, other in zip(alone, together, strict=True):
        for found, expected in zip(one.alternatives or (), other.alternatives or (), strict=True):
            assert spans_of(found.records) == spans_of(expected.records)
            assert found.score == pytest.approx(expected.score, abs=1e-4)
    assert answers(alone) == [answer | {"alternatives": ANY} for answer in answers(together)]


def test_an_extraction_without_alternatives_has_no_such_field(extractor: Extractor) -> None:
    assert "alternatives" not in extractor.extract(TEXTS[0], SCHEMAS[0], n_best=1).to_dict()
    extraction = extractor.extract(TEXTS[0], SCHEMAS[0], n_best=4)
    assert list(extraction.to_dict())[-1] == "alternatives"
    assert Extraction.model_validate_json(extraction.to_json()) == extraction


def test_a_threshold_counts_for_alternatives_too(extractor: Extractor) -> None:
    extraction = extractor.extract(TEXTS[0], SCHEMAS[0], n_best=4, threshold=1.0)
    assert extraction.records == ()
    assert extraction.alternatives == ()


def test_alternatives_can_be_explained(extractor: Extractor) -> None:
    extraction = extractor.extract(TEXTS[0], SCHEMAS[0], n_best=4, end_bias=-3.0, explain=True)
    records = [record for one in extraction.alternatives or () for record in one.records]
    assert records
    assert all(record.explanation is not None for record in (*extraction.records, *records))


def test_a_text_read_in_windows_has_no_alternatives_and_says_so() -> None:
    extractor = Extractor(tiny_model(), max_new_tokens=20, window_tokens=20)
    text = TEXTS[3] * 3
    extraction = extractor.extract(text, SCHEMAS[0], n_best=3)
    plain = extractor.extract(text, SCHEMAS[0])
    assert extraction.alternatives is None
    note = extraction.dropped[-1]
    assert (note.reason, note.value) == (NO_ALTERNATIVES, "n_best=3")
    expected = plain.model_copy(update={"dropped": (*plain.dropped, note)})
    assert answers([extraction]) == answers([expected])


def test_a_cut_output_is_no_alternative() -> None:
    extraction = Extractor(tiny_model(), max_new_tokens=6).extract(TEXTS[3], SCHEMAS[2], n_best=4)
    assert extraction.alternatives == ()


def test_each_mention_of_a_name_has_its_own_offsets(extractor: Extractor) -> None:
    text = "London, London and London; Turin, London."
    places = [0, 8, 19, 34]
    num_repeated = 0
    for schema in (["person", "city"], ["city"], ["a", "b", "c"]):
        extraction = Extractor(tiny_model(), max_new_tokens=300).extract(text, schema, end_bias=4.0)
        for name in schema:
            starts = [
                record.filler.start
                for record in extraction.records
                if record.frame == name and record.filler is not None and record.filler.text == "London"
            ]
            assert starts == places[: len(starts)]
            num_repeated += len(starts) > 1
    assert num_repeated


# --- One capability at a time -----------------------------------------------------------------------


def test_locating_asks_for_slots_as_if_they_were_frames(extractor: Extractor) -> None:
    for extraction in extractor.extract_batch(TEXTS, SCHEMAS[1], task="locating"):
        assert {record.frame for record in extraction.records} <= {"subject", "object"}
        assert all(record.filler is not None and not record.slots for record in extraction.records)
    names = Query("1", TEXTS[0], Schema.of(SCHEMAS[2]), "locating").asked.frame_names
    assert names == ("Speech", "Speaker", "Place", "Time", "Attack")


def test_what_is_located_can_be_associated(extractor: Extractor) -> None:
    located = extractor.extract(TEXTS[3], SCHEMAS[1], task="locating")
    linked = extractor.extract(TEXTS[3], SCHEMAS[1], task="associating", elements=located.records)
    given = {filler.text for record in located.records for filler in record.fillers()}
    assert {filler.text for record in linked.records for filler in record.fillers()} <= given


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        (None, 'there are no "elements"'),
        ([("subjct", 0, 3)], "'subjct' is neither.*did you mean 'subject'"),
        ([("subject", 4, 7)], "the text there is 'Lov'"),
        ([("subject", 400, 403)], "the text there is ''"),
    ],
)
def test_elements_that_cannot_be_linked_are_refused(extractor: Extractor, elements: Any, said: str) -> None:
    records = elements and [
        Record(frame=name, filler=Filler(text="Ada", start=start, end=end)) for name, start, end in elements
    ]
    with pytest.raises(TextError, match=said):
        extractor.extract(TEXTS[0], SCHEMAS[1], task="associating", elements=records)


def test_no_elements_give_no_records(extractor: Extractor) -> None:
    assert extractor.extract(TEXTS[0], SCHEMAS[1], task="associating", elements=[]).records == ()
