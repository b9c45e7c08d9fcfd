"""The API: the extractor's own answers in the shape of the contract, and problems that help."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_cases import Running, held_model, running, standing_model

from tiny_model import answer_of, tiny_model
from ucuie import Extractor
from ucuie.errors import ModelError
from ucuie.extract.result import Extraction
from ucuie.schema import Record, Schema
from ucuie.schema.sources import ready_schemas
from ucuie.server.schemas import NamedSchemas

SCHEMA = {"live in": ["subject", "object"]}
TEXTS = ["Ada Lovelace lived in London.", "naïve 東京 🙂", "x"]


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(tiny_model(), max_new_tokens=24)


def answers(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [answer_of(Extraction.model_validate(line)) for line in response.json()["extractions"]]


def expected(extractor: Extractor, texts: list[str], schema: Any) -> list[dict[str, Any]]:
    return [answer_of(extraction) for extraction in extractor.extract_batch(texts, schema)]


def test_one_text_and_many_are_answered_as_by_the_extractor(
    client: httpx.Client, extractor: Extractor
) -> None:
    one = client.post("/v1/extract", json={"text": TEXTS[0], "schema": SCHEMA})
    many = client.post("/v1/extract", json={"texts": TEXTS, "schema": SCHEMA})
    assert answers(one) == expected(extractor, TEXTS[:1], SCHEMA)
    assert answers(many) == expected(extractor, TEXTS, SCHEMA)


def test_ids_and_tasks_are_those_of_the_request(client: httpx.Client) -> None:
    texts = [{"id": "b", "text": TEXTS[0]}, TEXTS[1], {"id": "b", "text": TEXTS[2]}]
    response = client.post("/v1/extract", json={"texts": texts, "schema": ["city"], "task": "EE"})
    assert [line["id"] for line in response.json()["extractions"]] == ["b", "2", "b"]
    assert [line["text"] for line in response.json()["extractions"]] == TEXTS


SUBJECT = {"frame": "subject", "filler": {"text": "Ada", "start": 0, "end": 3}}
OBJECT = {"frame": "object", "filler": {"text": "London", "start": 22, "end": 28}}


@pytest.mark.parametrize(
    "options",
    [
        {"task": "judging"},
        {"task": "locating", "threshold": {"subject": 0.1}},
        {"task": "associating", "elements": [SUBJECT, OBJECT]},
        {"task": "associating", "elements": []},
        {"n_best": 3, "end_bias": 1.0},
        {"explain": True},
        {"explain": "linears", "raw_scores": True},
    ],
    ids=str,
)
def test_tasks_and_options_are_those_of_the_extractor(
    client: httpx.Client, extractor: Extractor, options: dict[str, Any]
) -> None:
    message = {"text": TEXTS[0], "schema": SCHEMA} | options
    given = [Record.model_validate(element) for element in options.get("elements", [])]
    elements = {"elements": given} if "elements" in options else {}
    alone = extractor.extract(TEXTS[0], SCHEMA, **options | elements)
    assert answers(client.post("/v1/extract", json=message)) == [answer_of(alone)]
    streamed = client.post("/v1/extract/stream", json=message)
    assert answer_of(Extraction.model_validate_json(streamed.text)) == answer_of(alone)


def test_located_spans_are_given_back_for_each_text(client: httpx.Client) -> None:
    texts = [{"id": str(number), "text": text} for number, text in enumerate(TEXTS)]
    message: dict[str, Any] = {"texts": texts, "schema": SCHEMA, "task": "locating"}
    located = client.post("/v1/extract", json=message).json()["extractions"]
    assert any(line["records"] for line in located), "there has to be something to link"
    linked = message | {
        "task": "associating",
        "texts": [one | {"elements": line["records"]} for one, line in zip(texts, located, strict=True)],
    }
    response = client.post("/v1/extract", json=linked)
    for line, before in zip(answers(response), located, strict=True):
        strings = {record["filler"]["text"] for record in before["records"]}
        assert {
            filled["filler"]["text"] for record in line["records"] for filled in record["slots"]
        } <= strings


def test_a_stream_says_which_texts_have_unusable_elements(client: httpx.Client) -> None:
    texts = [
        TEXTS[0],
        {"id": "blank", "text": " ", "elements": [SUBJECT]},
        {"id": "bad", "text": TEXTS[0], "elements": [SUBJECT, SUBJECT | {"frame": "objekt"}]},
        {"id": "good", "text": TEXTS[0], "elements": [SUBJECT]},
    ]
    message = {"texts": texts, "schema": SCHEMA, "task": "associating"}
    lines = [json.loads(line) for line in client.post("/v1/extract/stream", json=message).iter_lines()]
    faults = [line["problem"]["errors"] for line in lines if "problem" in line]
    assert [fault["field"] for [fault] in faults] == ["texts[0].elements", "texts[1]", "texts[2].elements[1]"]
    assert "there are no" in faults[0][0]["detail"]
    assert "is empty" in faults[1][0]["detail"]
    assert "did you mean 'object'?" in faults[2][0]["detail"]
    assert (lines[3]["id"], "problem" in lines[3]) == ("good", False)


def test_a_stream_has_a_line_for_each_text_and_goes_on_after_a_bad_one(
    client: httpx.Client, extractor: Extractor
) -> None:
    texts = [*TEXTS, " ", *TEXTS] * 20
    with client.stream("POST", "/v1/extract/stream", json={"texts": texts, "schema": SCHEMA}) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in response.iter_lines()]
    assert [line["id"] for line in lines] == [str(number) for number in range(1, len(texts) + 1)]
    bad = [line for line in lines if "problem" in line]
    assert len(bad) == 20
    assert "is empty" in bad[0]["problem"]["detail"]
    assert [line["problem"]["errors"][0]["field"] for line in bad[:2]] == ["texts[3]", "texts[10]"]
    alone = expected(extractor, TEXTS, SCHEMA)
    found = [answer_of(Extraction.model_validate(line)) for line in lines if "problem" not in line]
    assert [line | {"id": None} for line in found] == [line | {"id": None} for line in alone * 40]


def test_schemas_go_by_name_those_of_the_folder_first(tmp_path: Path, extractor: Extractor) -> None:
    (tmp_path / "mine.yaml").write_text("live in: [subject, object]\n")
    (tmp_path / "entities.json").write_text('["city"]')
    (tmp_path / "notes.txt").write_text("no schema")
    with running(schemas=tmp_path) as server:
        listed = server.client.get("/v1/schemas").json()["schemas"]
        assert [item["name"] for item in listed][:2] == ["entities", "mine"]
        assert listed[0]["schema"] == {"frames": [{"name": "city", "slots": []}]}
        one = server.client.get("/v1/schemas/mine").json()
        assert (one["task"], one["yaml"]) == ("RE", "live in: [subject, object]\n")
        response = server.client.post("/v1/extract", json={"texts": TEXTS, "schema": "mine"})
        assert answers(response) == expected(extractor, TEXTS, SCHEMA)


def test_the_schemas_that_come_along_are_of_every_task_and_have_titles() -> None:
    named = NamedSchemas().all()
    examples = [one for one in named if one.text]
    assert {one.schema.task for one in examples} == {"NER", "RE", "EE", "ABSA"}
    assert {one.name for one in named} - {one.name for one in examples} == set(ready_schemas())
    assert all(one.title for one in named)


def test_a_string_is_never_a_path_of_the_server(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text("[secret]")
    response = client.post("/v1/extract", json={"text": "x", "schema": str(path)})
    assert response.status_code == 422
    assert "knows no schema" in response.json()["detail"]


def test_capabilities_are_switched_for_one_request_only(client: httpx.Client) -> None:
    loaded = tiny_model()
    request = {"texts": TEXTS, "schema": SCHEMA}
    alone = Extractor(loaded, max_new_tokens=24, capabilities=["judging"])
    both = expected(alone, TEXTS, SCHEMA), expected(Extractor(loaded, max_new_tokens=24), TEXTS, SCHEMA)
    assert both[0] != both[1], "the switch has to make a difference to show anything"
    judged = client.post("/v1/extract", json=request | {"capabilities": ["judging"]})
    assert (answers(judged), answers(client.post("/v1/extract", json=request))) == both


def test_a_model_without_experts_says_so() -> None:
    with running(lambda: tiny_model(is_adapted=False)) as server:
        assert server.client.get("/v1/models").json()["models"][0]["capabilities"] == []
        request = {"text": "x", "schema": ["a"], "capabilities": ["judging"]}
        response = server.client.post("/v1/extract", json=request)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "capabilities")


def test_the_model_is_described(server: Running) -> None:
    answer = server.client.get("/v1/models").json()
    (model,) = answer["models"]
    assert (model["name"], model["device"], model["context_tokens"]) == ("tiny", "cpu", 512)
    assert model["capabilities"] == ["judging", "locating", "associating"]
    assert answer["limits"]["texts"] == server.settings.max_texts


def test_a_request_goes_by_the_models_values_unless_it_gives_its_own() -> None:
    loaded = standing_model(threshold=1.0, end_bias=2.0)
    with running(lambda: loaded) as server:
        (model,) = server.client.get("/v1/models").json()["models"]
        assert (set(model["threshold"].values()), model["end_bias"]) == ({1}, 2)

        def found(**options: Any) -> Any:
            message = {"texts": TEXTS, "schema": SCHEMA, **options}
            return answers(server.client.post("/v1/extract", json=message))

        alone = Extractor(loaded, max_new_tokens=24)
        neutral = Extractor(tiny_model(), max_new_tokens=24)
        assert found() == expected(alone, TEXTS, SCHEMA)
        assert not any(answer["records"] for answer in found(threshold=None))
        reasons = {one["reason"] for answer in found() for one in answer["dropped"]}
        assert "below the threshold" in reasons
        everything = [answer_of(one) for one in neutral.extract_batch(TEXTS, SCHEMA, end_bias=2.0)]
        assert any(answer["records"] for answer in everything)
        assert found(threshold=0) == everything
        assert found(threshold=0, end_bias=-2.0) == expected(neutral, TEXTS, SCHEMA)


@pytest.mark.parametrize(
    ("message", "yaml", "task"),
    [
        ({"yaml": "- person\n- 'no'\n"}, "[person, 'no']\n", "NER"),
        ({"schema": {"works": {"who": "a person", "where": None}}}, None, "RE"),
        ({"schema": "opinions"}, None, "ABSA"),
    ],
)
def test_schemas_are_read_and_written(
    client: httpx.Client, message: Any, yaml: str | None, task: str
) -> None:
    answer = client.post("/v1/schemas/check", json=message).json()
    assert answer["task"] == task
    assert yaml in {None, answer["yaml"]}
    assert Schema.from_yaml(answer["yaml"]) == Schema.of(answer["schema"])


def filled(text: str, start: int, end: int) -> dict[str, Any]:
    return {"frame": "a", "filler": {"text": text, "start": start, "end": end}}


BODY = "the body"
X = filled("x", 0, 1)
LINK = {"text": "x", "schema": ["a"], "task": "associating"}
PROBLEMS: list[tuple[Any, str, str]] = [
    ({"text": "x"}, "schema", "is missing; add it"),
    ({"text": "x", "shema": []}, BODY, "no field 'shema'; did you mean 'schema'?"),
    ({"schema": ["a"]}, BODY, 'give either "text" or "texts"'),
    ({"text": "x", "texts": ["x"], "schema": ["a"]}, BODY, 'give either "text" or "texts"'),
    ({"text": 3, "schema": ["a"]}, "text", "should be a valid string, got 3"),
    ({"texts": [], "schema": ["a"]}, "texts", "has nothing in it; give at least one"),
    ({"texts": ["x", 3], "schema": ["a"]}, "texts[1]", "should be a valid string, or an object, got 3"),
    ({"texts": [{"id": 1, "text": "x"}], "schema": ["a"]}, "texts[0].id", "should be a valid string, got 1"),
    ({"texts": ["x", " \n"], "schema": ["a"]}, "texts[1]", "is empty; there is nothing to extract from"),
    ({"text": "x", "schema": 3}, "schema", "should be a valid string, or a valid list"),
    ({"text": "x", "schema": []}, "schema", "the schema has no frames"),
    ({"text": "x", "schema": ["a", "a"]}, "schema", "lists frame 'a' twice"),
    ({"text": "x", "schema": "entitis"}, "schema", "did you mean 'entities'?"),
    ({"text": "x", "schema": ["a"], "task": "NRE"}, "task", "'locating' or 'associating', got 'NRE'"),
    ({"text": "x", "schema": ["a"], "elements": []}, "elements", "only for the task associating"),
    (LINK, "elements", 'there are no "elements"; the task associating links spans'),
    (LINK | {"text": None, "texts": ["x"]}, "texts[0].elements", "there are no"),
    (LINK | {"text": None, "texts": ["x"], "elements": []}, "elements", "belong to `text`"),
    (LINK | {"elements": "x"}, "elements", "should be a valid list, got 'x'"),
    (LINK | {"elements": ["x"]}, "elements[0]", "should be an object, got 'x'"),
    (LINK | {"elements": [X, X | {"frame": "b"}]}, "elements[1]", "neither frame nor slot of the schema"),
    (LINK | {"elements": [{"frame": "a"}]}, "elements[0]", "has no filler; give the span"),
    (LINK | {"elements": [X | {"slots": [{"slot": "a"}]}]}, "elements[0]", "has slots; give each as an"),
    (LINK | {"elements": [filled("y", 0, 1)]}, "elements[0]", "span 0:1 says 'y', the text there is 'x'"),
    (LINK | {"elements": [filled("x", 9, 10)]}, "elements[0]", "the text there is ''; offsets are half-open"),
    (LINK | {"elements": [filled("x", 0, 2)]}, "elements[0]", "span 0:2 says 'x', the text there is 'x'"),
    (LINK | {"elements": [filled("x", 1, 1)]}, "elements[0].filler", "span 1:1 is empty or reversed"),
    (LINK | {"elements": [filled("x", -1, 0)]}, "elements[0].filler.start", "greater than or equal to 0"),
    (LINK | {"elements": [filled("", 0, 1)]}, "elements[0].filler.text", "at least 1 character"),
    ({"text": "x", "schema": ["a"], "n_best": 0}, "n_best", "whole number of answers"),
    ({"text": "x", "schema": ["a"], "n_best": "many"}, "n_best", "whole number of answers"),
    ({"text": "x", "schema": ["a"], "explain": "why"}, "explain", "False or 'linears'"),
    ({"text": "x", "schema": ["a"], "threshold": 2}, "threshold", "it has to be a number from 0 to 1"),
    ({"text": "x", "schema": ["a"], "threshold": {"b": 0.5}}, "threshold", "no type 'b' for a threshold"),
    ({"text": "x", "schema": ["a"], "threshold": {"a": "b"}}, "threshold", "number from 0 to 1"),
    ({"text": "x", "schema": ["a"], "end_bias": "much"}, "end_bias", "finite number"),
    ({"text": "x", "schema": ["a"], "capabilities": ["j"]}, "capabilities[0]", "'judging', 'locating'"),
    ({"text": "x", "schema": ["long " * 300 + "name"]}, "schema", "Give it a shorter name"),
    ([], BODY, "should be an object, got []"),
    (None, BODY, "is missing"),
]


@pytest.mark.parametrize(("message", "field", "words"), PROBLEMS)
def test_a_problem_names_the_field_and_the_fix(
    client: httpx.Client, message: Any, field: str, words: str
) -> None:
    response = client.post("/v1/extract", json=message)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["request_id"] == response.headers["x-request-id"]
    (fault,) = problem["errors"]
    assert fault["field"] == field
    assert words in fault["detail"]
    assert fault["detail"] in problem["detail"]


def test_all_faults_of_a_request_come_at_once(client: httpx.Client) -> None:
    message = {"texts": [" ", "x", ""], "schema": ["a"]}
    problem = client.post("/v1/extract", json=message).json()
    assert [fault["field"] for fault in problem["errors"]] == ["texts[0]", "texts[2]"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nothing", 404, "no such address"),
        ("GET", "/static/../app.py", 404, "no such address"),
        ("GET", "/static/%2e%2e/app.py", 404, "no such address"),
        ("GET", "/v1/schemas/entitees", 404, "did you mean 'entities'?"),
        ("GET", "/v1/extract", 405, "use POST here"),
        ("DELETE", "/v1/models", 405, "use GET here"),
    ],
)
def test_wrong_addresses_and_methods_are_problems_too(
    client: httpx.Client, method: str, path: str, status: int, words: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert words in response.json()["detail"]


def test_before_the_model_is_loaded_the_server_is_alive_and_not_ready() -> None:
    held = held_model()

    def load() -> Any:
        assert held.go.wait(30)
        return held.model

    with running(load, wait=False) as server:
        assert server.client.get("/healthz").json() == {"status": "ok"}
        message = {"text": "x", "schema": ["a"]}
        for response in (
            server.client.get("/readyz"),
            server.client.get("/v1/models"),
            server.client.post("/v1/extract", json=message),
            server.client.post("/v1/extract/stream", json=message),
        ):
            assert response.status_code == 503
            assert "not loaded yet" in response.json()["detail"]
            assert int(response.headers["retry-after"]) > 0
        held.go.set()


def test_a_model_that_does_not_load_leaves_the_server_not_ready() -> None:
    def load() -> Any:
        raise ModelError("no such model")

    with running(load, wait=False) as server:
        assert server.client.get("/readyz").status_code == 503


def test_metrics_count_texts_and_routes(server: Running) -> None:
    def value(name: str) -> float:
        lines = server.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    before = value("ucuie_texts_total")
    route = 'ucuie_requests_total{method="POST",route="/v1/extract",status="200"}'
    requests = value(route)
    server.client.post("/v1/extract", json={"texts": TEXTS, "schema": SCHEMA})
    assert value("ucuie_texts_total") == before + len(TEXTS)
    assert value(route) == requests + 1
    assert value("ucuie_ready") == 1
    assert value("process_resident_memory_bytes") > 1e6
    # Clients choose paths and methods: they must not choose what is counted by name.
    server.client.request("BREW", "/pot/1")
    assert "pot" not in server.client.get("/metrics").text
    assert "BREW" not in server.client.get("/metrics").text


def test_each_request_is_answered_by_the_model_it_names() -> None:
    models = {"first": tiny_model(), "plain": tiny_model(is_adapted=False)}
    message = {"text": "Ada Lovelace lived in London.", "schema": ["person"], "raw_scores": True}
    with running(lambda: models) as server:
        listed = server.client.get("/v1/models").json()["models"]
        assert [model["name"] for model in listed] == ["first", "plain"]
        assert [bool(model["capabilities"]) for model in listed] == [True, False]
        for name in (None, "plain", "first"):
            asked = message | ({} if name is None else {"model": name})
            answer = server.client.post("/v1/extract", json=asked).json()["extractions"][0]
            alone = Extractor(models[name or "first"], max_new_tokens=24).extract(message["text"], ["person"])
            assert answer_of(Extraction.model_validate(answer)) == answer_of(alone)
        unknown = server.client.post("/v1/extract", json=message | {"model": "plane"})
        assert unknown.status_code == 422
        assert "did you mean 'plain'?" in unknown.text
