"""Extraction through an endpoint that does anything, over real HTTP."""

import asyncio
import gc
import gzip
import json
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_endpoint import (
    HELLO,
    Answer,
    FakeServer,
    Obedient,
    Reply,
    completion,
    plain,
    refusal,
    serving,
    text_of,
)
from ucuie.errors import ConfigError, TextError
from ucuie.extract.remote import NOT_ANSWERED, RemoteExtractor
from ucuie.extract.remote.answers import read_answer
from ucuie.extract.remote.client import MAX_REPLY_BYTES, Endpoint, EndpointError, _retry_after_seconds
from ucuie.extract.remote.extractor import SCHEMA_CHARACTERS
from ucuie.extract.remote.messages import messages
from ucuie.extract.result import Extraction
from ucuie.language.align import align
from ucuie.schema import Schema, record_faults

# Clients wait here for servers that are slow, busy or gone.
pytestmark = pytest.mark.slow

TEXT = 'Barack Obama spoke at the Hall. Obama left Null (early); she said "U.S."\nto Barack\nObama.'
SCHEMA = Schema.of({"person": [], "speech": ["speaker", "place"]})


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    for name in ("UCUIE_ENDPOINT_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    # Ports come again, with other servers behind them.
    monkeypatch.setattr("ucuie.extract.remote.constraints._found", {})


def extractor_of(server: FakeServer, **options: Any) -> RemoteExtractor:
    return RemoteExtractor(
        server.url, "m", **{"backoff_seconds": 0, "max_attempts": 2, "timeout_seconds": 20} | options
    )


def answers(content: Any, finish_reason: str = "stop", **message: Any) -> Answer:
    """Every text is answered so."""
    return plain(lambda _: completion(content, finish_reason, **message))


def found(extraction: Extraction) -> list[tuple[str, str, int]]:
    return [(record.frame, own.text, own.start) for record in extraction.records for own in record.fillers()]


def assert_sound(extraction: Extraction, schema: Schema) -> None:
    assert record_faults(extraction.records, extraction.text, schema) == []
    assert Extraction.model_validate_json(extraction.to_json()) == extraction
    for record in extraction.records:
        assert record.filler is not None or schema[record.frame].slots


def records(*items: dict[str, Any]) -> str:
    return json.dumps({"records": list(items)})


def person(text: Any) -> dict[str, Any]:
    return {"frame": "person", "text": text}


@pytest.mark.parametrize(
    ("server", "constraint"),
    [
        (Obedient("structured_outputs"), "grammar (structured_outputs, lark)"),
        (Obedient("structured_outputs", notations=("gbnf",)), "grammar (structured_outputs, gbnf)"),
        (Obedient("guided_grammar"), "grammar (guided_grammar, gbnf)"),
        (Obedient("ebnf"), "grammar (ebnf, gbnf)"),
        (Obedient("grammar"), "grammar (grammar, gbnf)"),
        (Obedient("grammar", is_strict=True), "grammar (grammar, gbnf)"),
        (Obedient("response_format"), "json-schema (response_format)"),
        (Obedient("response_format", is_strict=True), "json-schema (response_format)"),
        (Obedient(is_strict=True), "none"),
        (Obedient(), "none"),
    ],
)
def test_the_best_constraint_that_is_obeyed_is_found_once(server: Obedient, constraint: str) -> None:
    with serving(server) as fake:
        extractor = extractor_of(fake)
        assert extractor.constraint is None
        assert extractor.connect() == constraint
        num_probes = len(fake.bodies)
        result = extractor_of(fake).extract(TEXT, SCHEMA)
        assert len(fake.bodies) == num_probes + 1
        assert result.model == f"m ({constraint.split()[0]})"


@pytest.mark.parametrize("constraint", ["grammar", "json-schema"])
def test_a_constraint_that_is_not_obeyed_is_an_error_that_says_so(constraint: Any) -> None:
    with serving(Obedient(is_strict=True)) as fake, pytest.raises(EndpointError) as error:
        extractor_of(fake, constraint=constraint).extract(TEXT, SCHEMA)
    assert fake.url in str(error.value)
    assert "does not obey" in str(error.value)
    assert "Unrecognized request argument" in str(error.value)
    assert "'auto'" in str(error.value)


@pytest.mark.parametrize(
    "field", ["structured_outputs", "guided_grammar", "ebnf", "grammar", "response_format"]
)
def test_random_answers_within_the_constraint_are_sound(field: str) -> None:
    texts = [TEXT, "日本語のテキスト。Ada ::= Bob", "e\N{COMBINING ACUTE ACCENT}té 😀 )\\(", "Null"]
    for seed in range(4):
        with serving(Obedient(field, seed=seed)) as fake:
            results = extractor_of(fake).extract_batch(texts, SCHEMA)
        assert [result.text for result in results] == texts
        for result in results:
            assert_sound(result, SCHEMA)
            if field != "response_format" and not result.truncated:
                # What the grammar allows stands in the text; only more often than it does is too much.
                assert {one.reason for one in result.dropped} <= {
                    "predicted more often than it stands in the text"
                }


def test_repeated_mentions_take_their_places_in_order() -> None:
    content = records(person("Obama"), person("Obama"), person("Obama"), person("Obama"))
    with serving(answers(content)) as fake:
        result = extractor_of(fake).extract(TEXT, SCHEMA)
    starts = [start for _, _, start in found(result)]
    assert starts == [7, 32, TEXT.rindex("Obama")]
    assert [one.reason for one in result.dropped] == ["predicted more often than it stands in the text"]


def test_blanks_that_the_model_made_of_line_ends_are_spelled_as_in_the_text() -> None:
    with serving(answers(records(person("to Barack Obama")))) as fake:
        result = extractor_of(fake).extract(TEXT, SCHEMA)
    assert found(result) == [("person", "to Barack\nObama", TEXT.index("to Barack"))]


GOOD = records(person("Obama"))


@pytest.mark.parametrize(
    ("content", "finish_reason", "expected", "reasons"),
    [
        (f"Sure! Here it is:\n```json\n{GOOD}\n```\nAnything else?", "stop", ["Obama"], []),
        (f"<think>[{{ hmm }}]</think>\n{GOOD}", "stop", ["Obama"], []),
        (f"[{json.dumps(person('Obama'))}]", "stop", ["Obama"], []),
        (json.dumps(person("Obama")), "stop", ["Obama"], []),
        (json.dumps({"text": "Obama", "frame": "person"}), "stop", ["Obama"], []),
        (
            json.dumps({"frame": "speech", "text": None, "slots": [{"slot": "speaker", "text": "Obama"}]}),
            "stop",
            ["Obama"],
            [],
        ),
        (f"{{Here}} it {{is}}: [{json.dumps(person('Obama'))}]", "stop", ["Obama"], []),
        (
            GOOD[:-2] + ', {"frame": "per',
            "length",
            ["Obama"],
            ["the answer ends within a record", "did not come"],
        ),
        (GOOD[:-2] + ", {]}", "stop", ["Obama"], ["not valid JSON"]),
        (
            records(person("Obama"), person(7), person(None), person(""), person(["x"])),
            "stop",
            ["Obama"],
            ["not a record"] * 2 + ["without slots"] * 2,
        ),
        (records({"frame": 3}, "Obama", None, {"text": "Obama"}, [[]]), "stop", [], ["not a record"] * 5),
        (
            records(
                {
                    "frame": "speech",
                    "text": None,
                    "slots": [
                        {"slot": "speaker", "text": "Obama"},
                        {"slot": "speaker", "text": 1},
                        5,
                        {"slot": "tone", "text": "loud"},
                    ],
                }
            ),
            "stop",
            ["Obama"],
            ["not a record"] * 2 + ["the slot is not"],
        ),
        (records({"frame": "speech", "text": "spoke", "slots": "Obama"}), "stop", [], ["not a record"]),
        (
            records(person("Angela Merkel"), {"frame": "planet", "text": "Obama"}),
            "stop",
            [],
            ["not in the text", "the frame is not"],
        ),
        (records(person("\ud800Obama")), "stop", [], ["not in the text"]),
        ("I cannot help with that.", "stop", [], ["not in the form"]),
        ("", "stop", [], ["not in the form"]),
        (None, "stop", [], ["not in the form"]),
        ("[" * 50_000, "stop", [], ["not in the form"]),
        ('{"records": ' + "[" * 50_000, "stop", [], ["not a record"]),
        ('{"records": [' + "9" * 10_000 + "]}", "stop", [], ["not a record"]),
        ('{"records": []}', "stop", [], []),
        ("{(person: Obama): []}", "stop", [], ["not in the form"]),
    ],
)
def test_what_is_usable_of_an_answer_is_used_and_the_rest_told(
    content: Any, finish_reason: str, expected: list[str], reasons: list[str]
) -> None:
    with serving(answers(content, finish_reason)) as fake:
        result = extractor_of(fake).extract(TEXT, SCHEMA)
    assert_sound(result, SCHEMA)
    assert [text for _, text, _ in found(result)] == expected
    assert len(result.dropped) == len(reasons)
    for one, reason in zip(result.dropped, reasons, strict=True):
        assert reason in one.reason
    assert result.truncated == (finish_reason == "length")


NEXT = json.dumps(person("Barack Obama"))


@pytest.mark.parametrize("form", ['{{"records": [{}]}}', "[{}]", "{}", "```json\n[{}]\n```\nThat is all."])
@pytest.mark.parametrize(
    ("slip", "dropped", "reason"),
    [
        ('{"frame": "person", "text": "Obama",}', '{"frame": "person", "text": "Obama",}', "not valid JSON"),
        ('{"frame": "person", "text": Obama}', '{"frame": "person", "text": Obama}', "not valid JSON"),
        (
            '{"frame": "person", "text": "said "U.S.""}',
            '{"frame": "person", "text": "said "U.S.""}',
            "not valid JSON",
        ),
        (
            '{"frame": "speech", "text": "spoke", "slots": [{"slot": "place", "text": "Hall"},]}',
            '{"frame": "speech", "text": "spoke", "slots": [{"slot": "place", "text": "Hall"},]}',
            "not valid JSON",
        ),
        ('{"frame": "person" "text": "Obama"}', '{"frame": "person" "text": "Obama"}', "not valid JSON"),
        ("{'frame': 'person', 'text': 'Obama'}", "{'frame': 'person', 'text': 'Obama'}", "not valid JSON"),
        ("// and this one", "// and this one", "not a record"),
        ("...", "...", "not a record"),
        ("", None, ""),
    ],
)
def test_a_slip_of_the_pen_costs_one_record_and_none_behind_it(
    form: str, slip: str, dropped: str | None, reason: str
) -> None:
    first = json.dumps(person("Obama"))
    content = form.format(f"{first},\n{slip},\n{NEXT}") if slip else form.format(f"{first},, {NEXT},")
    parsed = read_answer(content, TEXT, SCHEMA, form="json")
    assert [frame.filler for frame in parsed.frames] == ["Obama", "Barack Obama"]
    assert [(one.reason[-len(reason) :], one.value) for one in parsed.dropped] == (
        [(reason, dropped)] if dropped else []
    )


def test_what_stands_behind_the_end_of_an_answer_is_not_read() -> None:
    parsed = read_answer(f"{json.dumps(person('Obama'))}\n}}\n{NEXT}", TEXT, SCHEMA, form="json")
    assert [frame.filler for frame in parsed.frames] == ["Obama"]


@pytest.mark.parametrize("written", ["Barack\nObama", "Barack\tObama", "Barack\r\nObama"])
def test_line_breaks_within_strings_are_read(written: str) -> None:
    content = f'{{"records": [{{"frame": "person", "text": "{written}"}}, {NEXT}]}}'
    parsed = read_answer(content, TEXT, SCHEMA, form="json")
    assert [(frame.filler or "").split() for frame in parsed.frames] == [["Barack", "Obama"]] * 2
    assert not parsed.dropped
    start, end = parsed.frames[0].filler_range
    assert content[start:end] == written


@settings(max_examples=50)
@given(cut=st.integers(0, len(GOOD) - 4), more=st.integers(0, 3))
def test_only_an_answer_that_ends_within_a_record_is_said_to(cut: int, more: int) -> None:
    whole = GOOD[:-2] + f", {NEXT}" * more
    content = f"{whole}, {NEXT[:-1]}"[: len(whole) + 3 + cut]
    parsed = read_answer(content, TEXT, SCHEMA, form="json")
    assert len(parsed.frames) == 1 + more
    assert {one.reason for one in parsed.dropped} <= {"the answer ends within a record"}


def test_an_answer_of_faults_only_takes_no_time() -> None:
    for piece in ('{"frame": "x", "a": ', '{"frame":', '{"frame": "x"} 1, ', "1,", '{"frame": "'):
        start = time.process_time()
        read_answer('{"records": [' + piece * 20_000, TEXT, SCHEMA, form="json")
        read_answer(piece * 20_000, TEXT, SCHEMA, form="json")
        assert time.process_time() - start < 3


def test_a_refusal_of_the_model_is_told() -> None:
    with serving(answers(None, refusal="I'm sorry, I can't assist with that.")) as fake:
        result = extractor_of(fake).extract(TEXT, SCHEMA)
    assert [(one.reason, one.value) for one in result.dropped] == [
        ("the model refuses", "I'm sorry, I can't assist with that.")
    ]


def test_an_answer_in_json_is_read_where_a_grammar_was_not_applied() -> None:
    obedient = Obedient("grammar")

    def forgets(body: dict[str, Any]) -> Reply:
        return obedient(body) if text_of(body) is None else completion(GOOD)

    with serving(forgets) as fake:
        result = extractor_of(fake).extract(TEXT, SCHEMA)
    assert [text for _, text, _ in found(result)] == ["Obama"]


def failing_once(failure: Reply) -> Answer:
    """Every second request about a text fails."""
    failed: set[str] = set()

    def answer(body: dict[str, Any]) -> Reply:
        text = text_of(body)
        if text is None:
            return completion(HELLO)
        if text not in failed:
            failed.add(text)
            return failure
        return completion(GOOD)

    return answer


@pytest.mark.parametrize(
    "failure",
    [
        refusal(429, "slow down", **{"retry-after": "0"}),
        refusal(503, "", **{"retry-after": "Fri, 31 Jan 2020 23:59:59 GMT"}),
        refusal(503, "", **{"retry-after": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}),
        refusal(503, "", **{"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}),
        refusal(500, "out of memory"),
        (200, b"<html>starting up"),
        (200, b'{"choices": [{"message": {"content": [1]}}]}'),
        (200, b'{"choices": [3]}'),
        (200, b'{"choices": []}'),
        (200, b"[" * 100_000),
        (200, b"not gzip", {"content-encoding": "gzip"}),
        (0, b""),
    ],
)
def test_a_failure_that_passes_costs_nothing(failure: Reply) -> None:
    with serving(failing_once(failure)) as fake:
        result = extractor_of(fake).extract(TEXT, SCHEMA)
    assert [text for _, text, _ in found(result)] == ["Obama"]


def test_waits_as_long_as_the_server_asks() -> None:
    with serving(failing_once(refusal(429, "slow down", **{"retry-after": "1"}))) as fake:
        start = time.monotonic()
        extractor_of(fake).extract(TEXT, SCHEMA)
        assert time.monotonic() - start >= 1


def test_waits_double_follow_the_server_and_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([{}, {}, {"retry-after": "7"}, {"retry-after": "9999999"}])
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    def answer(_: dict[str, Any]) -> Reply:
        headers = next(failures, None)
        return completion(GOOD) if headers is None else refusal(503, "starting", **headers)

    monkeypatch.setattr(asyncio, "sleep", wait)
    with serving(plain(answer)) as fake:
        extractor_of(fake, backoff_seconds=1, max_attempts=5).extract(TEXT, SCHEMA)
    assert waits == [1, 2, 7, 60]


def test_answers_left_before_their_end_leave_nothing_running(caplog: pytest.LogCaptureFixture) -> None:
    content = gzip.compress(bytes(3 * MAX_REPLY_BYTES))
    pieces = [content[start : start + 1000] for start in range(0, len(content), 1000)]
    with serving(lambda _: (200, pieces, {"content-encoding": "gzip"})) as fake:
        extractor = extractor_of(fake, constraint="none", max_attempts=1)
        with pytest.raises(EndpointError, match="more than 10,000,000 bytes"):
            extractor.extract(TEXT, SCHEMA)
    gc.collect()
    assert not [record.message for record in caplog.records if record.name == "asyncio"]


@settings(max_examples=50)
@given(
    st.text(max_size=40)
    | st.from_regex(
        r"[A-Z][a-z]{2}, [0-9]{1,3} (Jan|Feb|Foo) [0-9]{1,6} [0-9]{1,3}:[0-9]{2}:[0-9]{2} [+-]?[0-9]{1,20}",
        fullmatch=True,
    )
)
def test_any_time_to_wait_is_a_number_of_seconds(value: str) -> None:
    response = httpx.Response(503, headers=[(b"retry-after", value.encode())])
    assert _retry_after_seconds(response) >= 0


def slow(_: dict[str, Any]) -> Reply:
    time.sleep(0.5)
    return completion(GOOD)


def dripping(_: dict[str, Any]) -> Reply:
    def drops() -> Iterator[bytes]:
        for _ in range(20):
            yield b" "
            time.sleep(0.05)

    return 200, drops()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda _: refusal(400, "maximum context length is 10 tokens"), "maximum context length"),
        (lambda _: refusal(500, "CUDA error"), "failed 2 times, at last so: status 500"),
        (lambda _: (200, b"no json"), "not a chat completion"),
        (lambda _: (0, b""), "failed 2 times"),
        (slow, r"no complete answer in 0.2 seconds"),
        (dripping, r"no complete answer in 0.2 seconds"),
        (lambda _: (200, b" " * (MAX_REPLY_BYTES + 1)), "more than 10,000,000 bytes"),
    ],
)
def test_a_text_without_an_answer_costs_no_other(bad: Answer, said: str) -> None:
    texts = ["Obama spoke.", "bad text", "Then Obama left."]

    def answer(body: dict[str, Any]) -> Reply:
        return bad(body) if text_of(body) == "bad text" else completion(GOOD)

    with serving(plain(answer)) as fake:
        results = extractor_of(fake, timeout_seconds=0.2).extract_batch(texts, SCHEMA)
    assert [len(result.records) for result in results] == [1, 0, 1]
    (one,) = results[1].dropped
    assert one.reason == NOT_ANSWERED
    assert said in one.value
    assert fake.url in one.value
    assert [result.truncated for result in results] == [False, True, False]


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (refusal(401, "bad key"), "check the API key in UCUIE_ENDPOINT_KEY"),
        (refusal(403, "no"), "what it may be used for"),
        (refusal(404, "no such model"), "the name of the model"),
        (refusal(400, "bad request"), "bad request"),
        (refusal(429, "quota"), "limits of the account"),
        (refusal(500, "broken"), "broken"),
        (refusal(307, "", location="http://127.0.0.1/"), "leads elsewhere"),
    ],
)
def test_an_endpoint_that_answers_nothing_is_named_with_what_to_do(failure: Reply, said: str) -> None:
    with serving(lambda _: failure) as fake, pytest.raises(EndpointError) as error:
        extractor_of(fake).extract(TEXT, SCHEMA)
    assert fake.url in str(error.value)
    assert said in str(error.value)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_an_endpoint_that_is_not_there_is_named_with_what_to_do() -> None:
    extractor = RemoteExtractor("http://127.0.0.1:9/v1", "m", max_attempts=2, backoff_seconds=0)
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:9/v1.*ConnectError.*is a server running there"):
        extractor.extract(TEXT, SCHEMA)


@pytest.mark.parametrize(
    "failure", [refusal(400, "no credit"), refusal(500, "CUDA error"), (200, b"<html>"), (0, b"")]
)
def test_where_a_harmless_text_gets_no_answer_either_that_ends_all(failure: Reply) -> None:
    num_good = 0

    def answer(_: dict[str, Any]) -> Reply:
        nonlocal num_good
        num_good += 1
        return completion(GOOD) if num_good <= 3 else failure

    with serving(plain(answer)) as fake:
        stream = extractor_of(fake, num_concurrent=1).extract_iter(["Obama spoke."] * 50, SCHEMA)
        good = [next(stream) for _ in range(3)]
        with pytest.raises(EndpointError, match=r"nor does it answer about a harmless text"):
            next(stream)
        assert len(fake.questions) < 12
    assert all(one.records and not one.dropped for one in good)


def test_any_number_of_texts_without_an_answer_cost_no_other() -> None:
    texts = ["Obama spoke.", *(["bad"] * 40), "Then Obama left."]

    def answer(body: dict[str, Any]) -> Reply:
        return refusal(400, "filtered") if text_of(body) == "bad" else completion(GOOD)

    with serving(plain(answer)) as fake:
        results = extractor_of(fake).extract_batch(texts, SCHEMA)
    assert [len(result.records) for result in results] == [1, *([0] * 40), 1]
    assert {one.reason for result in results for one in result.dropped} == {NOT_ANSWERED}


def test_an_endpoint_that_comes_back_while_it_is_doubted_costs_nothing() -> None:
    num_asked = 0

    def answer(_: dict[str, Any]) -> Reply:
        nonlocal num_asked
        num_asked += 1
        return refusal(503, "starting") if num_asked <= 2 else completion(GOOD)

    with serving(plain(answer)) as fake:
        result = extractor_of(fake, max_attempts=2).extract(TEXT, SCHEMA)
    assert [text for _, text, _ in found(result)] == ["Obama"]
    assert not result.dropped


def test_what_is_asked_in_place_of_a_text_is_as_large() -> None:
    texts = ["bad " * 400, "坏的" * 300, "bad"]

    def answer(body: dict[str, Any]) -> Reply:
        return refusal(400, "no") if text_of(body) in texts else completion("{}")

    with serving(plain(answer)) as fake:
        extractor_of(fake, num_concurrent=1).extract_batch(texts, SCHEMA)
        sizes = [len(asked) for body in fake.questions if (asked := text_of(body) or "") not in texts]
    assert [size - len(text.encode()) for size, text in zip(sizes[:2], texts[:2], strict=True)] == [0, 0]
    assert 0 < sizes[2] < 100


def test_a_server_that_is_busy_with_others_is_waited_for() -> None:
    lock, refused = threading.Lock(), []

    def answer(body: dict[str, Any]) -> Reply:
        if not lock.acquire(blocking=False):
            refused.append(text_of(body))
            return refusal(429, "one at a time")
        try:
            time.sleep(0.01)
            return completion(GOOD)
        finally:
            lock.release()

    with serving(plain(answer)) as fake:
        extractor = extractor_of(fake, num_concurrent=8, max_attempts=5, backoff_seconds=0.1)
        results = extractor.extract_batch([f"Obama {number}." for number in range(120)], SCHEMA)
    assert all(result.records for result in results)
    assert refused


def test_an_endpoint_that_says_nothing_is_told_without_trying_all_ways_to_ask() -> None:
    with serving(slow) as fake:
        with pytest.raises(EndpointError, match=r"no complete answer in 0.1 seconds.*at work"):
            extractor_of(fake, timeout_seconds=0.1).extract(TEXT, SCHEMA)
        assert len(fake.bodies) == 2


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    monkeypatch.setenv("UCUIE_ENDPOINT_KEY", "sk-secret")
    with serving(lambda _: refusal(401, "Incorrect API key provided: sk-secret")) as fake:
        extractor = extractor_of(fake)
        with pytest.raises(EndpointError) as error:
            extractor.extract(TEXT, SCHEMA)
        assert {headers["Authorization"] for headers in fake.headers} == {"Bearer sk-secret"}
    assert "sk-secret" not in str(error.value)
    assert "sk-secret" not in extractor.identity + repr(vars(extractor))


def test_a_key_that_is_given_goes_before_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answers(GOOD)) as fake:
        extractor_of(fake).extract(TEXT, SCHEMA)
        monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
        extractor_of(fake).extract(TEXT, SCHEMA)
        extractor_of(fake, api_key="given").extract(TEXT, SCHEMA)
        keys = [headers.get("Authorization") for headers in fake.headers]
    assert list(dict.fromkeys(keys)) == [None, "Bearer from-environment", "Bearer given"]
    assert "given" not in repr(Endpoint(base_url=fake.url, model="m", api_key="given"))


@pytest.mark.parametrize("password", ["hunter2", "x@hunter2", "hunter2%40:@"])
def test_a_password_in_the_url_is_not_shown(password: str) -> None:
    extractor = RemoteExtractor(f"http://user:{password}@127.0.0.1:9/v1", "m", max_attempts=1)
    with pytest.raises(EndpointError) as error:
        extractor.extract(TEXT, SCHEMA)
    assert "hunter2" not in str(error.value) + extractor.identity
    assert extractor.asked["endpoint"] == "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"constraint": "gramar"}, "did you mean 'grammar'"),
        ({"num_concurrent": 0}, "at least 1"),
        ({"window_characters": 0}, "at least 1"),
        ({"max_new_tokens": -1}, "at least 1"),
        ({"base_url": "localhost:8000"}, "begins with http"),
        ({"base_url": "http://127.0.0.1:99999/v1"}, "base_url .*99999/v1': ports go up to 65535$"),
        ({"base_url": "http://[::1]:65536"}, "ports go up to 65535"),
        ({"base_url": "https://a:b@host:1000000?x"}, "ports go up to 65535"),
        ({"model": ""}, "model ''"),
        ({"timeout_seconds": 0}, "timeout_seconds 0"),
        ({"retries": 3}, "retries 3"),
        ({"api_key": "secret\n"}, "API key has line breaks"),
    ],
)
def test_impossible_options_are_refused_with_their_value(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        RemoteExtractor(**{"base_url": "http://localhost:1/v1", "model": "m"} | options)
    assert "secret" not in str(error.value)


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="'http://a:b:c' is not a URL"):
        RemoteExtractor("http://a:b:c", "m").extract(TEXT, SCHEMA)


@pytest.mark.parametrize(
    "options", [{"end_bias": 1.0}, {"explain": True}, {"n_best": 2}, {"task": "judging"}, {"elements": []}]
)
def test_what_only_a_model_here_can_do_is_refused(options: dict[str, Any]) -> None:
    extractor = RemoteExtractor("http://127.0.0.1:9/v1", "m")
    with pytest.raises(ConfigError, match="endpoint"):
        extractor.extract(TEXT, SCHEMA, **options)


def test_unusable_texts_are_told_before_any_work() -> None:
    extractor = RemoteExtractor("http://127.0.0.1:9/v1", "m")
    with pytest.raises(TextError, match="2 of 3 texts"):
        extractor.extract_batch(["fine", "  ", "\ud800"], SCHEMA)


def test_a_bad_text_in_a_stream_is_raised_where_it_stands() -> None:
    with serving(answers(GOOD)) as fake:
        stream = extractor_of(fake).extract_iter(["Obama", "", "Obama"], SCHEMA)
        assert len(next(stream).records) == 1
        with pytest.raises(TextError):
            next(stream)


def test_long_texts_are_read_in_windows_with_offsets_in_the_whole() -> None:
    sentences = [f"In year {number} Obama met Person{number}." for number in range(100)]
    text = " ".join(sentences)

    def answer(body: dict[str, Any]) -> Reply:
        words = (text_of(body) or "").replace(".", "").split()
        return completion(records(*(person(word) for word in words if word.startswith("Person"))))

    with serving(plain(answer)) as fake:
        result = extractor_of(fake, window_characters=300).extract(text, ["person"])
    assert_sound(result, Schema.of(["person"]))
    assert [text for _, text, _ in found(result)] == [f"Person{number}" for number in range(100)]
    assert not result.dropped
    assert all(len(text_of(body) or "") <= 300 for body in fake.questions)


def test_a_large_schema_is_asked_for_in_groups_of_types() -> None:
    names = [f"{kind} of some very particular kind" for kind in ("city", "person")]
    names += [f"type {number} of things that this text has none of" for number in range(500)]
    text = " ".join(f"In Paris{number} stood Person{number}." for number in range(20))

    def answer(body: dict[str, Any]) -> Reply:
        question = body["messages"][-1]["content"]
        found = [word.strip(".") for word in (text_of(body) or "").split()]
        items = [
            {"frame": name, "text": word}
            for name, start in zip(names, ("Paris", "Person"), strict=False)
            for word in found
            if word.startswith(start) and f"- {name}\n" in question
        ]
        return completion(records(*items))

    with serving(plain(answer)) as fake:
        result = extractor_of(fake, window_characters=300).extract(text, list(reversed(names)))
        lengths = [len(body["messages"][-1]["content"]) for body in fake.questions]
    assert_sound(result, Schema.of(list(reversed(names))))
    assert [own for _, own, _ in found(result)] == [
        f"{start}{number}" for number in range(20) for start in ("Paris", "Person")
    ]
    assert not result.dropped
    assert max(lengths) < SCHEMA_CHARACTERS + 3000
    asked = {
        name for body in fake.questions for name in names if f"- {name}\n" in body["messages"][-1]["content"]
    }
    assert asked == set(names)


def test_a_window_whose_answer_is_cut_is_divided() -> None:
    text = " ".join(f"Then Obama met Person{number}." for number in range(40))

    def answer(body: dict[str, Any]) -> Reply:
        words = (text_of(body) or "").replace(".", "").split()
        people = [word for word in words if word.startswith("Person")]
        content = records(*map(person, people[:12]))
        return completion(content, "length" if len(people) > 12 else "stop")

    with serving(plain(answer)) as fake:
        result = extractor_of(fake).extract(text, ["person"])
    assert [text for _, text, _ in found(result)] == [f"Person{number}" for number in range(40)]
    assert not result.truncated


def test_an_answer_that_goes_in_circles_is_cut_and_not_divided() -> None:
    content = '{"records": [' + json.dumps(person("Obama")) + (", " + json.dumps(person("Obama"))) * 500
    with serving(answers(content, "length")) as fake:
        result = extractor_of(fake).extract(TEXT * 4, SCHEMA)
    assert len(fake.questions) == 1
    assert result.truncated
    assert len(result.records) == 12


def test_requests_at_the_same_time_have_a_bound_and_answers_their_order() -> None:
    def answer(body: dict[str, Any]) -> Reply:
        time.sleep(0.05)
        return completion(records(person((text_of(body) or "").split()[0])))

    texts = [f"P{number} left" for number in range(30)]
    with serving(plain(answer)) as fake:
        results = extractor_of(fake, num_concurrent=5).extract_batch(texts, SCHEMA)
        assert [found(result)[0][1] for result in results] == [f"P{number}" for number in range(30)]
        assert 2 <= fake.most_open <= 5


def test_a_stream_is_taken_no_further_than_needed_and_can_be_left() -> None:
    taken = []

    def texts() -> Iterator[str]:
        for number in range(10_000):
            taken.append(number)
            yield "Obama"

    num_threads = threading.active_count()
    with serving(answers(GOOD)) as fake:
        stream = extractor_of(fake, num_concurrent=2).extract_iter(texts(), SCHEMA)
        next(stream)
        stream.close()
        assert len(taken) < 20
    assert threading.active_count() <= num_threads + 1


def test_it_works_where_an_event_loop_runs() -> None:
    async def notebook(extractor: RemoteExtractor) -> Extraction:
        return extractor.extract(TEXT, SCHEMA)

    with serving(answers(GOOD)) as fake:
        assert asyncio.run(notebook(extractor_of(fake))).records


@pytest.mark.parametrize("form", ["json", "lines"])
@pytest.mark.parametrize("schema", [Schema.of(["animal"]), Schema.of({"chase": ["hunter", "prey"]})])
def test_the_example_that_a_model_is_shown_is_read_as_it_is_meant(form: Any, schema: Schema) -> None:
    question = messages(schema, "x", schema.task, form=form)[1]["content"]
    text, answer = re.findall(r"^Example, for .* the text '(.*)':\n(.*)$", question, re.MULTILINE)[0]
    parsed = read_answer(answer, text, schema, form=form)
    alignment = align(parsed.frames, text, schema)
    said = [[own.start for own in record.fillers()] for record in alignment.records]
    assert said == ([[0], [17], [30]] if schema.task == "NER" else [[21, 17, 28]])
    assert not parsed.dropped + alignment.dropped


@pytest.mark.parametrize("unwanted", ["max_tokens", "temperature", "logprobs"])
def test_fields_that_an_endpoint_does_not_take_are_replaced(unwanted: str) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        if unwanted in body:
            return refusal(400, f"Unsupported parameter: '{unwanted}' is not supported with this model.")
        return completion(HELLO if text_of(body) is None else GOOD)

    with serving(answer) as fake:
        result = extractor_of(fake, scores=True, constraint="none").extract(TEXT, SCHEMA)
        assert result.records
        assert unwanted not in fake.bodies[-1]
        if unwanted == "max_tokens":
            assert fake.bodies[-1]["max_completion_tokens"] == 4096


def test_a_grammar_that_is_too_much_for_the_server_is_left_out_where_that_may_be_chosen() -> None:
    obedient = Obedient("grammar")

    def answer(body: dict[str, Any]) -> Reply:
        if text_of(body) is None:
            return obedient(body)
        return refusal(400, "grammar too large") if "grammar" in body else completion("{(person: Obama): []}")

    with serving(answer) as fake:
        assert found(extractor_of(fake).extract(TEXT, SCHEMA)) == [("person", "Obama", 7)]
        with pytest.raises(EndpointError, match="grammar too large"):
            extractor_of(fake, constraint="grammar").extract(TEXT, SCHEMA)


def with_logprobs(content: str, values: dict[str, float]) -> Reply:
    tokens = [content[start : start + 4] for start in range(0, len(content), 4)]
    listed = [{"token": token, "logprob": values.get(token, -1.0)} for token in tokens]
    choice = {"message": {"content": content}, "finish_reason": "stop", "logprobs": {"content": listed}}
    return 200, json.dumps({"choices": [choice]}).encode()


def test_scores_are_the_mean_probability_of_a_fillers_tokens() -> None:
    content = '{"records":[{"frame":"person","text": "Obama"}]}'
    start = content.index("Obama")
    touched = [content[index : index + 4] for index in range(start // 4 * 4, start + 5, 4)]
    values = dict(zip(touched, (-0.1, -0.5), strict=True))
    with serving(plain(lambda _: with_logprobs(content, values))) as fake:
        (record,) = extractor_of(fake, scores=True).extract(TEXT, SCHEMA).records
        assert fake.questions[-1]["logprobs"] is True
        assert record.filler is not None
        assert record.filler.score == record.score == pytest.approx(0.740818)
        (unscored,) = extractor_of(fake, scores=True).extract(TEXT, SCHEMA, threshold=0.7).records
        assert unscored == record
        assert not extractor_of(fake, scores=True).extract(TEXT, SCHEMA, threshold=0.9).records


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        3,
        {"content": None},
        {"content": [3]},
        {"content": [{"token": "x", "logprob": -1}]},
        {"content": [{"token": 1}]},
    ],
)
def test_without_usable_probabilities_there_are_no_scores(logprobs: Any) -> None:
    choice = {"message": {"content": GOOD}, "finish_reason": "stop", "logprobs": logprobs}
    reply = 200, json.dumps({"choices": [choice]}).encode()
    with serving(plain(lambda _: reply)) as fake:
        (record,) = extractor_of(fake, scores=True).extract(TEXT, SCHEMA).records
    assert record.score is None


HOSTILE_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["person", "speech", "speaker", "Obama", "Null", "the Hall", "Obama  spoke", "\n"]),
    lambda values: (
        st.lists(values, max_size=4)
        | st.dictionaries(st.sampled_from(["records", "frame", "text", "slots", "slot"]), values, max_size=4)
    ),
    max_leaves=12,
)
HOSTILE_RECORD = st.fixed_dictionaries(
    {"frame": st.sampled_from(["person", "speech", "x"])},
    optional={
        "text": st.sampled_from(["Obama", "Null", None, "", " ", "the Hall", "e\ud800"]) | HOSTILE_VALUES,
        "slots": st.lists(
            st.fixed_dictionaries(
                {"slot": st.sampled_from(["speaker", "place", ""])},
                optional={"text": st.sampled_from(["Obama", "nobody", "Hall. Obama", None])},
            ),
            max_size=3,
        )
        | HOSTILE_VALUES,
    },
)
HOSTILE_CONTENT = st.one_of(
    st.lists(HOSTILE_RECORD, max_size=4).map(lambda items: json.dumps({"records": items})),
    HOSTILE_VALUES.map(json.dumps),
    st.lists(st.sampled_from([*'{}[]()":, \\', "person", "Obama", "records", "Null"]), max_size=30).map(
        "".join
    ),
    st.text(),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    content=HOSTILE_CONTENT,
    cut=st.none() | st.integers(0, 80),
    is_line=st.booleans(),
    finish_reason=st.sampled_from(["stop", "length", "content_filter", "tool_calls"]),
)
def test_whatever_is_answered_the_result_is_sound(
    *, content: str, cut: int | None, is_line: bool, finish_reason: str, fakes: Callable[[bool], FakeServer]
) -> None:
    content = content if cut is None else content[:cut]
    fake = fakes(is_line)
    obedient = Obedient("grammar")

    def answer(body: dict[str, Any]) -> Reply:
        if text_of(body) is None:
            return obedient(body) if is_line else completion(HELLO)
        return completion(content, finish_reason)

    fake.answer = answer
    assert_sound(extractor_of(fake).extract(TEXT, SCHEMA), SCHEMA)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from([200, 200, 204, 302, 400, 401, 418, 429, 500, 0]),
    body=st.binary(max_size=60) | HOSTILE_VALUES.map(lambda value: json.dumps(value).encode()),
)
def test_whatever_happens_it_is_a_result_or_an_error_that_names_the_endpoint(
    *, status: int, body: bytes, fakes: Callable[[bool], FakeServer]
) -> None:
    fake = fakes(False)
    fake.answer = plain(lambda asked: (status, body) if text_of(asked) == "bad" else completion(GOOD))
    extractor = extractor_of(fake, num_concurrent=1)
    if status in (302, 401, 429):
        with pytest.raises(EndpointError, match=re.escape(fake.url)):
            extractor.extract_batch(["Obama", "bad", "Obama"], SCHEMA)
        return
    first, bad, last = extractor.extract_batch(["Obama", "bad", "Obama"], SCHEMA)
    assert len(first.records) == len(last.records) == 1
    assert not bad.records
    assert bad.dropped


@pytest.fixture
def fakes() -> Iterator[Callable[[bool], FakeServer]]:
    """Two servers for all examples of a test: one that obeys grammars, one that obeys nothing."""
    both = {is_line: FakeServer(Obedient("grammar") if is_line else plain(slow)) for is_line in (False, True)}
    yield both.__getitem__
    for fake in both.values():
        fake.close()


LEFT_OPEN = """
import sys
from ucuie.extract.remote import RemoteExtractor
stream = RemoteExtractor(sys.argv[1], "m").extract_iter((f"Ada {n}." for n in range(100)), ["person"])
print(next(stream).text)
"""


def test_a_stream_that_is_left_open_does_not_keep_the_program_from_ending() -> None:
    with serving(answers(records(person("Ada")))) as server:
        ended = subprocess.run(
            [sys.executable, "-c", LEFT_OPEN, server.url], capture_output=True, text=True, timeout=60
        )
    assert (ended.returncode, ended.stdout) == (0, "Ada 0.\n"), ended.stderr
