"""What works on this machine, in words: what each check found and, where something is amiss, what to do."""

import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from packaging.requirements import Requirement

from ucuie.errors import UcuieError

if TYPE_CHECKING:
    from ucuie.extract.extractor import Extractor
    from ucuie.model.folder import LoadedModel

State = Literal["ok", "note", "broken"]
SELF_TEST_SECONDS = 5.0
_MIN_MEMORY_GB = 2
_MATRIX_SIZE = 512
_NUM_PRODUCTS = 5
_SLOW_BF16 = 4
_SLOW_TEXTS = 5
"""Texts in a second: below that the embedded model is held up by something."""
_BATCH_SIZE = 16
_REPORT = "report it, with all lines of this"
_SCHEMA = ["person", "organization", "location"]
_TEXTS = (
    "Ada Lovelace lived in London.",
    "Maria Okafor, a chemist at Bayer, moved from Lagos to Cologne in 2019.",
    "The University of Oxford and Siemens opened a laboratory in Munich.",
    "Nobody was hurt when the roof came down.",
)
_CPU_FACTS = Path("/proc/cpuinfo")
_CONTROL_GROUP = Path("/sys/fs/cgroup")
_WANTED_FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "asimd", "bf16")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Args:
        state: `note` is worth knowing, `broken` keeps extraction from working.
        subject: what was looked at.
        words: what was found.
        advice: what to do about it; empty where nothing has to be done.
    """

    state: State
    subject: str
    words: str
    advice: str = ""


def examine(*, model: str | None = None, seconds: float = SELF_TEST_SECONDS) -> Iterator[Finding]:
    """The findings, one after another; a check that fails in an unexpected way is itself a finding.

    Args:
        model: to look at, as for `Extractor.from_pretrained`; None takes the embedded one.
        seconds: how long the self-test extracts.
    """
    patient = Patient(model, seconds)
    for subject, check in _CHECKS.items():
        try:
            result = check(patient)
        except Exception as error:  # a doctor does not die of what the patient has
            result = _Result("broken", f"{type(error).__name__}: {error}", _REPORT)
        yield Finding(result.state, subject, result.words, result.advice)


@dataclass
class Patient:
    """What is examined; the model is loaded once, for the checks that need it."""

    model: str | None = None
    seconds: float = SELF_TEST_SECONDS
    is_ill: bool = field(default=False, init=False)

    @cached_property
    def loaded(self) -> "LoadedModel":
        """The model, on the device that extraction would use."""
        from ucuie.model.folder import DEFAULT, load_model

        return load_model(self.model or DEFAULT)

    @cached_property
    def extractor(self) -> "Extractor":
        """Extracts with it."""
        from ucuie.extract.extractor import Extractor

        return Extractor(self.loaded, batch_size=_BATCH_SIZE)


class _Result(NamedTuple):
    state: State
    words: str
    advice: str = ""


def _python(_: Patient) -> _Result:
    return _Result(
        "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})"
    )


def _packages(_: Patient) -> _Result:
    """The packages that ucuie cannot do without, against the versions that it was made for."""
    found, faults, wanted = [], [], []
    for requirement in _requirements():
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            faults.append(f"{requirement.name} is missing")
            wanted.append(str(requirement))
            continue
        # Builds such as 2.9.0+cpu and release candidates do.
        if not requirement.specifier.contains(installed, prereleases=True):
            faults.append(f"{requirement.name} is {installed}, needed is {requirement.specifier}")
            wanted.append(str(requirement))
        if requirement.name in {"llguidance", "peft", "tokenizers", "torch", "transformers"}:
            found.append(f"{requirement.name} {installed}")
    if faults:
        return _Result("broken", "; ".join(faults), f"pip install {' '.join(map(repr, wanted))}")
    return _Result("ok", ", ".join(found))


def _extras(_: Patient) -> _Result:
    missing: dict[str, list[str]] = {}
    conditions = " ".join(str(requirement.marker) for requirement in _requirements())
    extras = sorted(set(re.findall(r"extra == \"([^\"]+)\"", conditions)))
    for extra in extras:
        for requirement in _requirements():
            is_wanted = requirement.marker is not None and requirement.marker.evaluate({"extra": extra})
            if is_wanted and not _is_installed(requirement.name):
                missing.setdefault(extra, []).append(requirement.name)
    present = ", ".join(extra for extra in extras if extra not in missing) or "none"
    if not missing:
        return _Result("ok", f"all installed: {present}")
    lacking = "; ".join(f"{extra} lacks {', '.join(names)}" for extra, names in missing.items())
    return _Result(
        "ok",
        f"installed: {present}; {lacking}",
        f"where you want them: pip install 'ucuie[{','.join(missing)}]'",
    )


def _requirements() -> list[Requirement]:
    return [Requirement(line) for line in requires("ucuie") or []]


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _grammar(_: Patient) -> _Result:
    import llguidance

    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, '%llguidance {}\nstart: "{}"')
    if matcher.is_error():
        return _Result(
            "broken",
            f"llguidance does not compile a grammar: {matcher.get_error()}",
            "pip install --force-reinstall llguidance",
        )
    return _Result("ok", "llguidance compiles grammars")


def _cpu(_: Patient) -> _Result:
    """What torch's kernels may use of the CPU decides about a factor of several."""
    import torch

    used = torch.backends.cpu.get_cpu_capability()
    features = _cpu_features()
    known = [name for name in _WANTED_FEATURES if name in features]
    words = f"torch uses {used}" + (f"; the CPU has {', '.join(known)}" if known else "")
    limit = os.environ.get("ATEN_CPU_CAPABILITY")
    is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    if limit is not None and "avx2" in features and used in {"DEFAULT", "NO AVX"}:
        return _Result(
            "note", f"{words}; ATEN_CPU_CAPABILITY={limit} holds it back", "unset ATEN_CPU_CAPABILITY"
        )
    if is_x86 and used in {"DEFAULT", "NO AVX"}:
        return _Result(
            "note",
            f"{words}; without AVX2 extraction takes several times as long",
            "if this is a virtual machine, let it have the CPU model of its host; else take a newer machine",
        )
    if is_x86 and features and not {"avx512_bf16", "amx_bf16"} & features:
        words += "; it has no products in bf16, so weights stay fp32"
    return _Result("ok", words)


def _cpu_features() -> frozenset[str]:
    """The flags of the first CPU; empty where the system does not tell."""
    try:
        facts = _CPU_FACTS.read_text("utf-8")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", facts, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def _threads(_: Patient) -> _Result:
    import torch

    threads, cores = torch.get_num_threads(), _num_cores()
    words = f"torch uses {threads} of {cores} cores"
    set_here = {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}
    for name, value in set_here.items():
        if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", value.strip()):
            return _Result(
                "note", f"{words}; {name} is {value!r}, which is no number", f"export {name}={cores}"
            )
    if threads > cores:
        return _Result(
            "note", f"{words}; more threads than cores wait for each other", f"export OMP_NUM_THREADS={cores}"
        )
    if set_here and threads < cores:
        listed = ", ".join(f"{name}={value}" for name, value in set_here.items())
        return _Result(
            "note",
            f"{words}, as {listed} says",
            f"unset {' '.join(set_here)} to use all, unless other programs need them",
        )
    return _Result("ok", words)


def _num_cores() -> int:
    """Cores that this process may use: a container may have a part of those that the system counts."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (_CONTROL_GROUP / "cpu.max").read_text("utf-8").split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, round(int(quota) / int(period))))


def _accelerator(_: Patient) -> _Result:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return _Result("ok", f"{torch.cuda.get_device_name()} with {memory:.0f} GiB; extraction uses it")
    if Path("/dev/nvidia0").exists() and torch.version.cuda is None:
        return _Result(
            "note",
            "there is a GPU, and this torch was built without CUDA",
            "install a build with CUDA: https://pytorch.org/get-started/locally",
        )
    return _Result("ok", "no GPU that torch can use; extraction runs on the CPU")


def _precision(_: Patient) -> _Result:
    """The speed of matrix products decides whether bf16 weights may stay bf16 on a CPU."""
    import torch

    gflops = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(_MATRIX_SIZE, _MATRIX_SIZE, dtype=dtype)
        seconds = []
        for _round in range(_NUM_PRODUCTS):
            start = time.perf_counter()
            matrix @ matrix
            seconds.append(time.perf_counter() - start)
        # The fastest one: the first warms up, and other programs slow some down.
        gflops[dtype] = 2 * _MATRIX_SIZE**3 / min(seconds) / 1e9
    fp32, bf16 = gflops[torch.float32], gflops[torch.bfloat16]
    words = f"{fp32:.0f} GFLOP/s in fp32, {bf16:.3g} in bf16"
    if fp32 > _SLOW_BF16 * bf16:
        return _Result("ok", f"{words}; bf16 is slow on this CPU, so weights are loaded as fp32")
    return _Result("ok", words)


def _memory(_: Patient) -> _Result:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return _Result("note", "the free memory cannot be found out here", "look that some GiB are free")
    free = min(free, _free_in_control_group())
    if free < _MIN_MEMORY_GB:
        return _Result(
            "note",
            f"{free:.1f} GiB free; {_MIN_MEMORY_GB} GiB are comfortable for the embedded model",
            "end other programs, give the container more, or extract with a smaller --batch-size",
        )
    return _Result("ok", f"{free:.1f} GiB free")


def _free_in_control_group() -> float:
    """GiB that a container may still take; infinite without a limit."""
    try:
        limit = int((_CONTROL_GROUP / "memory.max").read_text("utf-8"))
        return (limit - int((_CONTROL_GROUP / "memory.current").read_text("utf-8"))) / 2**30
    except (OSError, ValueError):  # ValueError: "max"
        return float("inf")


def _model(patient: Patient) -> _Result:
    start = time.perf_counter()
    try:
        loaded = patient.loaded
    except UcuieError as error:
        patient.is_ill = True
        mend = "pip install --force-reinstall --no-deps ucuie" if patient.model is None else "see above"
        return _Result("broken", str(error), mend)
    words = (
        f"{loaded.name} with {loaded.model.num_parameters() / 1e6:.1f} M parameters loads in "
        f"{time.perf_counter() - start:.1f} s"
    )
    if loaded.info is None:
        return _Result(
            "note",
            f"{words}; it is a plain Hugging Face model, which nobody trained to extract",
            "train an adapter on it: ucuie train CONFIG.yaml",
        )
    # All files of the folder are listed there with their hashes, and were just compared.
    digest = sha256(loaded.info.to_json().encode()).hexdigest()
    return _Result("ok", f"{words} and is whole: {len(loaded.info.files)} files, hash {digest[:12]}")


def _self_test(patient: Patient) -> _Result:
    """Extracts for some seconds, and looks whether all that is found stands in the texts."""
    if patient.is_ill:
        return _Result("broken", "there is no model to extract with", "mend the model first")
    extractor = patient.extractor
    start = time.perf_counter()
    extractor.extract(_TEXTS[0], _SCHEMA)
    first_seconds = time.perf_counter() - start
    texts = list(islice(cycle(_TEXTS), _BATCH_SIZE))
    start, num_texts = time.perf_counter(), 0
    while num_texts == 0 or time.perf_counter() - start < patient.seconds:
        for extraction in extractor.extract_batch(texts, _SCHEMA):
            for filler in (one for record in extraction.records for one in record.fillers()):
                if extraction.text[filler.start : filler.end] != filler.text:
                    words = f"{filler.text!r} is not what stands at {filler.start}:{filler.end} of its text"
                    return _Result("broken", words, _REPORT)
            num_texts += 1
    seconds = time.perf_counter() - start
    words = (
        f"{num_texts:,} short texts in {seconds:.1f} s, {num_texts / seconds:.1f} texts/s; "
        f"the first one took {first_seconds:.2f} s"
    )
    if num_texts / seconds < _SLOW_TEXTS and patient.model is None:
        return _Result(
            "note", f"{words}; that is slow", "see cpu and threads above; other programs may run too"
        )
    return _Result("ok", words)


_CHECKS: dict[str, Callable[[Patient], _Result]] = {
    "python": _python,
    "packages": _packages,
    "extras": _extras,
    "grammar": _grammar,
    "cpu": _cpu,
    "threads": _threads,
    "accelerator": _accelerator,
    "precision": _precision,
    "memory": _memory,
    "model": _model,
    "self-test": _self_test,
}
