"""`ucuie extract --endpoint`."""

import json
from pathlib import Path

import pytest

from fake_endpoint import Answer, completion, plain, refusal, serving, text_of
from ucuie.cli import main

ADA: Answer = plain(lambda _: completion('{"records": [{"frame": "person", "text": "Ada"}]}'))


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")
        patch.setattr("sys.argv", ["ucuie", "extract", "--schema", '["person"]', *arguments])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def test_texts_are_answered_into_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, output = tmp_path / "notes.txt", tmp_path / "found.jsonl"
    source.write_text("Ada met Bob.\nbad\nAda again.\n", encoding="utf-8")

    def answer(body: dict[str, object]) -> tuple[int, bytes] | tuple[int, bytes, dict[str, str]]:
        return refusal(400, "too long") if text_of(body) == "bad" else ADA(body)

    with serving(plain(answer)) as fake:
        given = ("--endpoint", fake.url, "--endpoint-model", "m", "--concurrency", "2")
        assert run(*given, "--input", str(source), "--output", str(output)) == 0
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [len(line["records"]) for line in lines] == [1, 0, 1]
    assert {line["model"] for line in lines} == {"m (none)"}
    talk = capfd.readouterr().err
    assert "answers of m are held to: none" in talk
    assert "3 texts (1 with something missing), 2 records" in talk


def test_an_endpoint_that_refuses_is_the_users_mistake(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(lambda _: refusal(401, "who are you")) as fake:
        assert run("--endpoint", fake.url, "--endpoint-model", "m", "--text", "Ada") == 2
        assert f"'{fake.url}' refuses: status 401" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--endpoint", "http://localhost:9/v1"), "--endpoint-model"),
        (("--endpoint", "http://localhost:9/v1", "--endpoint-model", "m", "--model", "x"), "--model"),
        (("--endpoint", "http://localhost:9/v1", "--endpoint-model", "m", "--int8"), "--int8"),
        (("--constraint", "grammar"), "--constraint"),
        (("--endpoint", "localhost:9", "--endpoint-model", "m"), "begins with http"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--text", "Ada") == 2
    assert said in capfd.readouterr().err


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    source, output = tmp_path / "notes.txt", tmp_path / "found.jsonl"
    source.write_text("Ada one.\nAda two.\nAda three.\n", encoding="utf-8")

    def fails(body: dict[str, object]) -> tuple[int, bytes] | tuple[int, bytes, dict[str, str]]:
        return refusal(401, "expired") if "three" in (text_of(body) or "") else ADA(body)

    with serving(plain(fails)) as fake:
        given = ("--endpoint", fake.url, "--endpoint-model", "m", "--concurrency", "1")
        arguments = (*given, "--input", str(source), "--output", str(output))
        assert run(*arguments) == 2
        assert not output.exists()
        fake.answer = ADA
        num_asked = len(fake.questions)
        assert run(*arguments) == 0
        assert len(fake.questions) == num_asked + 1
    assert len(output.read_text(encoding="utf-8").splitlines()) == 3
