"""The page about the server: its requests work as they stand, its options exist."""

import re
import shlex
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from ucuie.cli import app
from ucuie.server.messages import ExtractRequest
from ucuie.server.problems import ProblemDocument

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text("utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("curl")])
def test_requests_of_the_page_work(client: httpx.Client, command: str) -> None:
    words = shlex.split(command.replace("\\\n", " "))
    (address,) = [word for word in words if word.startswith("http://127.0.0.1:8000")]
    name, _, value = words[words.index("-H") + 1].partition(": ")
    data = words[words.index("--data") + 1]
    response = client.post(
        address.removeprefix("http://127.0.0.1:8000"), content=data.encode(), headers={name: value}
    )
    assert response.status_code == 200, response.text
    assert "problem" not in response.text


def test_options_and_fields_of_the_page_exist() -> None:
    known = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    mentioned = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", PAGE)) - {"--data", "--no-buffer"}
    assert len(mentioned) > 8
    assert {option for option in mentioned if option not in known} == set()
    (table,) = re.findall(r"^\| field \| meaning \|\n(.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    fields = {name for row in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert fields == {info.alias or name for name, info in ExtractRequest.model_fields.items()}


def test_the_problem_of_the_page_is_one() -> None:
    (problem,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert ProblemDocument.model_validate_json(problem).errors
