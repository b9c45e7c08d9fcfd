"""The instruction pool: what the packaged one holds, and what a bad file is told."""

import random
import shutil
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from ucuie.errors import ConfigError, DataError
from ucuie.language.pool import (
    INSTRUCTION_TASKS,
    PACKAGED_POOL,
    InstructionPool,
    ParaphraseOrigin,
    Wording,
    wording_faults,
)

POOL = InstructionPool.load()
SMALL = {task: [f"{task} {{schema}}", f"Do {task} with {{schema}}."] for task in INSTRUCTION_TASKS}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("task", INSTRUCTION_TASKS)
def test_packaged_pool_has_many_different_wordings_written_by_hand(task: str) -> None:
    wordings = POOL.wordings(task)
    assert len(wordings) >= 24
    assert len({wording.casefold() for wording in wordings}) == len(wordings)
    assert {wording.origin for wording in POOL.entries[task]} == {"written"}
    assert not any(map(wording_faults, wordings))


def test_no_wording_asks_for_two_tasks() -> None:
    count = Counter(wording for task in INSTRUCTION_TASKS for wording in POOL.wordings(task))
    assert max(count.values()) == 1


@pytest.mark.parametrize("task", INSTRUCTION_TASKS)
def test_default_is_the_first_wording_and_short(task: str) -> None:
    assert POOL.default(task) == POOL.wordings(task)[0]
    assert len(POOL.default(task).split()) <= 14


def test_sampling_follows_the_generator_and_reaches_every_wording() -> None:
    generators = random.Random(3), random.Random(3)
    draws = [[POOL.sample("RE", generator) for _ in range(500)] for generator in generators]
    assert draws[0] == draws[1]
    assert set(draws[0]) == set(POOL.wordings("RE"))


def test_unknown_task_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'locatin'; did you mean 'locating'"):
        POOL.wordings("locatin")  # type: ignore[arg-type]


def test_hash_depends_on_the_wordings_and_their_order_only(tmp_path: Path) -> None:
    small = InstructionPool(entries=SMALL)
    origin = ParaphraseOrigin(model="m", base="NER {schema}", date=date(2026, 1, 31))
    same = {**SMALL, "NER": [SMALL["NER"][0], Wording(text=SMALL["NER"][1], origin=origin)]}
    assert InstructionPool(entries=dict(reversed(same.items()))).hash == small.hash
    assert InstructionPool(entries={**SMALL, "NER": SMALL["NER"][::-1]}).hash != small.hash
    assert InstructionPool.load(shutil.copy(PACKAGED_POOL, tmp_path)).hash == POOL.hash != small.hash


def test_pool_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        POOL.entries = {}


def test_saved_pool_reads_back_with_its_origins(tmp_path: Path) -> None:
    origin = ParaphraseOrigin(model="gpt: 4 {x}", base="NER {schema}", date=date(2026, 1, 31))
    text = "Tápalo: “{schema}” # 漢字 - 'yes'"
    pool = InstructionPool(entries={**SMALL, "NER": [*SMALL["NER"], Wording(text=text, origin=origin)]})
    pool.save(tmp_path / "pool.yaml")
    assert InstructionPool.load(tmp_path / "pool.yaml") == pool
    assert [path.name for path in tmp_path.iterdir()] == ["pool.yaml"]


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "pool.yaml", "old")

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        POOL.save(path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no placeholder", "stands in it 0 times"),
        ("{schema} and {schema}", "stands in it 2 times"),
        ("Find {schema} in {text}", "braces other than"),
        ("Find {{schema}}", "braces other than"),
        ("{schema}", "says nothing"),
        ("Find\n{schema}", "more than one line"),
        ("Find\u2028{schema}", "more than one line"),
        (" Find {schema}", "blanks around"),
        ("Find {schema} \ud800", "lone surrogate"),
    ],
)
def test_unusable_wordings_are_explained(text: str, fault: str) -> None:
    assert any(fault in found for found in wording_faults(text))


def test_bad_file_lists_all_faults_with_their_places(tmp_path: Path) -> None:
    path = write(
        tmp_path / "pool.yaml", 'NER: ["{schema} here", "none", 7]\nRelation: ["{schema} x"]\nRE: []\nEE: x'
    )
    with pytest.raises(DataError) as error:
        InstructionPool.load(path)
    message = str(error.value)
    assert message.startswith("5 faults in ")
    for part in [
        "NER, wording 2: 'none' is not a wording",
        "NER, wording 3",
        "'Relation' is not a task",
        "RE:",
        "EE:",
    ]:
        assert part in message


def test_nearest_task_is_suggested_for_a_misspelt_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'asociating' is not a task; did you mean 'associating'"):
        InstructionPool.load(write(tmp_path / "pool.yaml", 'asociating: ["Join {schema}"]'))


def test_missing_tasks_and_repeated_wordings_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "pool.yaml", 'NER: ["Find {schema}", "Find {schema}"]')
    with pytest.raises(
        DataError, match=r"no wordings for associating.*NER lists the wording 'Find \{schema\}' twice"
    ):
        InstructionPool.load(path)


@pytest.mark.parametrize(
    "content", ["- a\n- b", "", "just text", "a: [", "\x00", "!!python/object:os.system {}"]
)
def test_file_that_is_no_pool_is_a_data_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"fault in .*pool\.yaml"):
        InstructionPool.load(write(tmp_path / "pool.yaml", content))


def test_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        InstructionPool.load(tmp_path / "absent.yaml")
