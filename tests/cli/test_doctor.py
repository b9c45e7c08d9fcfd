"""The doctor finds what is amiss, says what to do, and does not die of it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tiny_model import save_adapted, save_plain
from ucuie.cli import app
from ucuie.cli import doctor_checks as doctor
from ucuie.cli.doctor_checks import Finding, Patient, examine
from ucuie.model import source as model_source


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapted(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control group without limits, whatever the tests run in."""
    monkeypatch.setattr(doctor, "_CONTROL_GROUP", tmp_path)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def torch_threads() -> Iterator[int]:
    import torch

    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def findings(model: Path | None = None) -> dict[str, Finding]:
    return {one.subject: one for one in examine(model=None if model is None else str(model), seconds=0)}


def test_every_check_runs(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_source, "packaged_model", lambda _: model)
    found = findings()
    assert {one.state for one in found.values()} <= {"ok", "note"}, found
    assert all(one.advice for one in found.values() if one.state != "ok")
    assert "texts/s" in found["self-test"].words
    assert "hash" in found["model"].words


def test_the_command_prints_findings_and_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Patient) -> doctor._Result:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(doctor, "_CHECKS", {"python": doctor._python, "luck": fail})
    result = run()
    assert result.exit_code == 1
    assert "ok     python" in result.stdout
    assert "broken luck         RuntimeError: out of luck\n" in result.stdout
    assert f"{'':<20}-> report it" in result.stdout
    assert json.loads(run("--json").stdout)[1]["state"] == "broken"


def test_a_damaged_model_is_found_and_there_is_no_self_test(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    with (damaged / "adapter_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    found = findings(damaged)
    assert found["model"].state == found["self-test"].state == "broken"
    assert "adapter_model.safetensors is damaged" in found["model"].words
    assert run("--model", damaged, "--seconds", 0).exit_code == 1


def test_the_embedded_model_is_mended_by_installing_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(model_source, "__file__", str(tmp_path / "model" / "source.py"))
    result = doctor._model(Patient())
    assert result.state == "broken"
    assert result.advice == "pip install --force-reinstall --no-deps ucuie"


def test_a_plain_model_was_not_trained_to_extract(tmp_path: Path) -> None:
    assert "nobody trained" in doctor._model(Patient(str(save_plain(tmp_path / "plain")))).words


@pytest.mark.parametrize("value", ["0", "many", "-1", ""])
def test_a_number_of_threads_that_is_none_is_found(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    state, words, advice = doctor._threads(Patient())
    assert state == "note"
    assert f"OMP_NUM_THREADS is {value!r}" in words
    assert advice.startswith("export OMP_NUM_THREADS=")


def test_more_threads_than_a_container_may_use_are_found(
    machine: Path, torch_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (machine / "cpu.max").write_text("200000 100000\n")  # two of the eight
    torch.set_num_threads(4)
    assert doctor._threads(Patient()) == (
        "note",
        "torch uses 4 of 2 cores; more threads than cores wait for each other",
        "export OMP_NUM_THREADS=2",
    )
    (machine / "cpu.max").write_text("max 100000\n")
    assert doctor._threads(Patient()).words == "torch uses 4 of 8 cores"
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert doctor._threads(Patient()).advice.startswith("unset OMP_NUM_THREADS")


def test_too_little_memory_in_a_container_is_found(machine: Path) -> None:
    (machine / "memory.max").write_text(f"{2**30}\n")
    (machine / "memory.current").write_text(f"{2**29}\n")
    result = doctor._memory(Patient())
    assert (result.state, result.words[:12]) == ("note", "0.5 GiB free")
    (machine / "memory.max").write_text("max\n")
    assert doctor._free_in_control_group() == float("inf")


@pytest.mark.parametrize(
    ("flags", "used", "limit", "state", "words"),
    [
        ("sse4_2", "DEFAULT", None, "note", "without AVX2"),
        ("avx2 fma", "DEFAULT", "default", "note", "ATEN_CPU_CAPABILITY=default holds it back"),
        ("avx2 fma", "AVX2", None, "ok", "the CPU has avx2, fma; it has no products in bf16"),
        ("avx2 avx512f avx512_bf16", "AVX512", None, "ok", "the CPU has avx2, avx512f, avx512_bf16"),
    ],
)
def test_what_the_cpu_can_do(
    flags: str,
    used: str,
    limit: str | None,
    state: str,
    words: str,
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    facts = machine / "cpuinfo"
    facts.write_text(f"model name\t: x\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(doctor, "_CPU_FACTS", facts)
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
    if limit is not None:
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", limit)
    result = doctor._cpu(Patient())
    assert result.state == state
    assert words in result.words
    assert bool(result.advice) == (state != "ok")


def test_packages_of_other_versions_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "torch>=99",
        "no-such-package>=1",
        "pydantic>=2",
        "fastapi>=99; extra == 'serve'",
        "tzlocal; extra == 'x'",
    ]
    monkeypatch.setattr(doctor, "requires", lambda _: lines)
    state, words, advice = doctor._packages(Patient())
    assert state == "broken"
    assert "torch is" in words
    assert "needed is >=99; no-such-package is missing" in words
    assert advice == "pip install 'torch>=99' 'no-such-package>=1'"


def test_extras_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["pydantic; extra == 'serve'", "no-such-package>=1; extra == 'spacy'"]
    monkeypatch.setattr(doctor, "requires", lambda _: lines)
    result = doctor._extras(Patient())
    assert result.state == "ok"
    assert "spacy lacks no-such-package" in result.words
    assert result.advice == "where you want them: pip install 'ucuie[spacy]'"
