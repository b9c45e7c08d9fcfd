"""A damaged file gives what it gave before, or says what is wrong with it and where: never less in silence.

`UCUIE_EXAMPLES=2000` makes the run long.
"""

import os
from pathlib import Path
from typing import NamedTuple

import pytest
from data_cases import example
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ucuie.data import FORMATS, convert_format, export, read_examples
from ucuie.errors import DataError
from ucuie.schema import Example, Task

longer = settings(
    max_examples=int(os.environ.get("UCUIE_EXAMPLES", "10")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LAST = ("so", "So", {"as": "so", "it": "So"})
SETS: dict[Task, list[Example]] = {
    "NER": [
        example('Ann, "the" Bo-Lee.', ("person", "Ann", {}), ("person", "Bo-Lee", {}), task="NER"),
        example("Straße in Łódź", ("street", "Straße", {}), ("town", "Łódź", {}), task="NER", id="2"),
        example("So so", ("so", "So", {}), task="NER", id="3"),
    ],
    "RE": [
        example("Ann works for Acme", ("work for", None, {"subject": "Ann", "object": "Acme"}), task="RE"),
        example("So so", ("so", None, {"subject": "so", "object": "So"}), task="RE", id="2"),
    ],
    "EE": [
        example("Ann gave Bo tea", ("give", "gave", {"giver": "Ann", "thing": "tea"}), ("drink", "tea", {})),
        example("So so", LAST, id="2"),
    ],
}
HOLDERS = [
    (name, task)
    for name in FORMATS
    for task in SETS
    if name != "spacy" and (task == "NER" or name not in ("conll", "gliner"))
]


class Found(NamedTuple):
    characters: int
    fillers: int
    said: tuple[str, ...]
    """Faults, and changes that were counted."""


def read_again(format_name: str, source: Path, task: Task) -> Found:
    output = source.parent / "back"
    try:
        report = convert_format(format_name, source, output, task=task, spacing="blank").splits["train"]
    except DataError as error:
        return Found(0, 0, error.faults or (str(error),))
    examples = list(read_examples(output / "train.jsonl"))
    said = (*report.faults, *report.changes)
    fillers = sum(len(list(record.fillers())) for one in examples for record in one.records)
    return Found(sum(len("".join(one.text.split())) for one in examples), fillers, said)


def written(format_name: str, task: Task, folder: Path) -> tuple[Path, list[Path]]:
    """What is read, and the files of it that may be damaged."""
    source = folder / f"data{FORMATS[format_name].suffix}"
    if not source.exists():
        export(SETS[task], format_name, source)
    files = [source] if source.is_file() else [*source.glob("*.ann"), *source.glob("0*.txt")]
    return source, sorted(files)


@pytest.mark.parametrize(("format_name", "task"), HOLDERS)
@longer
@given(data=st.data())
def test_one_damaged_byte_loses_nothing_in_silence(
    format_name: str, task: Task, tmp_path: Path, data: st.DataObject
) -> None:
    source, files = written(format_name, task, tmp_path)
    whole = read_again(format_name, source, task)
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    rest = data.draw(st.sampled_from([0, 1]))
    new = data.draw(st.sampled_from([b"\xff", b"x", b"\t", b",", b" ", b"\n", b"\r", b'"', b"1", b"\0"]))
    new = data.draw(st.sampled_from([b"", new])) if rest else new
    path.write_bytes(content[:place] + new + content[place + rest :])
    try:
        found = read_again(format_name, source, task)
    finally:
        path.write_bytes(content)
    if not found.said or found.said == whole.said:
        assert found.characters >= whole.characters - 2  # a byte before another may end both
        assert found.fillers >= whole.fillers


@pytest.mark.parametrize(("format_name", "task"), HOLDERS)
@pytest.mark.parametrize("line_end", [b"\r\n", b"\r", b"\n\n"])
def test_other_line_ends_change_nothing_or_are_named(
    line_end: bytes, format_name: str, task: Task, tmp_path: Path
) -> None:
    source, files = written(format_name, task, tmp_path)
    whole = read_again(format_name, source, task)
    for path in files:
        path.write_bytes(path.read_bytes().replace(b"\n", line_end))
    found = read_again(format_name, source, task)
    assert found == whole or set(found.said) - set(whole.said)
    if line_end == b"\r\n":
        assert found == whole


@pytest.mark.parametrize(("format_name", "task"), [one for one in HOLDERS if one[0] not in ("brat", "conll")])
def test_a_file_that_was_cut_inside_a_line_is_named(format_name: str, task: Task, tmp_path: Path) -> None:
    source, (path,) = written(format_name, task, tmp_path)
    whole = read_again(format_name, source, task)
    content = path.read_bytes()
    last_line = content[:-1].rfind(b"\n") + 2 if format_name == "csv" else 0
    for length in range(max(len(content) - 30, last_line), len(content) - 1):
        path.write_bytes(content[:length])
        found = read_again(format_name, source, task)
        assert found == whole or set(found.said) - set(whole.said), content[:length][-20:]
