"""The OpenAPI document: complete, with examples that work, and true under requests made from it."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from server_cases import Running

MAX_EXAMPLES = 30


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_requests_made_from_the_document_get_what_it_says(server: Running, mode: GenerationMode) -> None:
    api = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) == 9
    for operation in operations:

        @settings(max_examples=MAX_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            response = case.call()
            # JSON Schema cannot say all there is to a schema or text that can be used.
            case.validate_response(response, excluded_checks=[positive_data_acceptance])
            assert response.status_code < 500

        try:
            ask()
        except Unsatisfiable:
            # Without parameters there is nothing that could be wrong.
            assert mode is GenerationMode.NEGATIVE


def test_every_answer_but_success_is_a_problem_document(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {
        "/v1/extract",
        "/v1/extract/stream",
        "/v1/schemas",
        "/v1/models",
        "/healthz",
        "/readyz",
        "/metrics",
    } <= set(paths)
    for path, operations in paths.items():
        for operation in operations.values():
            assert operation["summary"]
            for status, answer in operation["responses"].items():
                kinds = set(answer["content"])
                assert status == "200" or kinds == {"application/problem+json"}, (path, status)


def test_the_examples_of_the_document_work(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name, path in (("ExtractRequest", "extract"), ("SchemaToCheck", "schemas/check")):
        assert schemas[name]["examples"]
        for example in schemas[name]["examples"]:
            response = client.post(f"/v1/{path}", json=example)
            assert response.status_code == 200, response.text
