"""What works on this machine, in words: what each check found and, where something is amiss, what to do."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from ucuie.errors import UcuieError

State = Literal["ok", "note", "broken"]
_MIN_MEMORY_GB = 2
_MATRIX_SIZE = 512
_NUM_PRODUCTS = 5
_TEXT = "Ada Lovelace lived in London."
_SLOW_BF16 = 4


@dataclass(frozen=True)
class Finding:
    """The result of one check: `note` is worth knowing, `broken` keeps extraction from working."""

    state: State
    subject: str
    words: str


def examine() -> Iterator[Finding]:
    """The findings, one after another; a check that fails in an unexpected way is itself a finding."""
    for subject, check in _CHECKS.items():
        try:
            state, words = check()
        except Exception as error:  # a doctor does not die of what the patient has
            state, words = "broken", f"{type(error).__name__}: {error}"
        yield Finding(state, subject, words)


_Result = tuple[State, str]


def _python() -> _Result:
    return "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})"


def _packages() -> _Result:
    found, missing = [], []
    for name in ("torch", "transformers", "peft", "llguidance", "tokenizers", "pydantic"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return "broken", f"missing: {', '.join(missing)}; reinstall with: pip install ucuie"
    return "ok", ", ".join(found)


def _grammar() -> _Result:
    import llguidance

    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, '%llguidance {}\nstart: "{}"')
    if matcher.is_error():
        return "broken", f"llguidance does not compile a grammar: {matcher.get_error()}"
    return "ok", "llguidance compiles grammars"


def _threads() -> _Result:
    import torch

    threads, cores = (
        torch.get_num_threads(),
        len(os.sched_getaffinity(0)) if _has_affinity() else os.cpu_count(),
    )
    words = f"torch uses {threads} of {cores} cores"
    if cores is not None and threads > cores:
        return "note", f"{words}; more threads than cores are slow, set OMP_NUM_THREADS={cores}"
    return "ok", words


def _has_affinity() -> bool:
    return hasattr(os, "sched_getaffinity")


def _accelerator() -> _Result:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return "ok", f"{torch.cuda.get_device_name()} with {memory:.0f} GiB; extraction uses it"
    return "ok", "no GPU that torch can use; extraction runs on the CPU"


def _precision() -> _Result:
    """The speed of matrix products decides whether bf16 weights may stay bf16 on a CPU."""
    import torch

    gflops = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(_MATRIX_SIZE, _MATRIX_SIZE, dtype=dtype)
        seconds = []
        for _ in range(_NUM_PRODUCTS):
            start = time.perf_counter()
            matrix @ matrix
            seconds.append(time.perf_counter() - start)
        # The fastest one: the first warms up, and other programs slow some down.
        gflops[dtype] = 2 * _MATRIX_SIZE**3 / min(seconds) / 1e9
    fp32, bf16 = gflops[torch.float32], gflops[torch.bfloat16]
    words = f"{fp32:.0f} GFLOP/s in fp32, {bf16:.3g} in bf16"
    if fp32 > _SLOW_BF16 * bf16:
        return "ok", f"{words}; bf16 is slow on this CPU, so weights are loaded as fp32"
    return "ok", words


def _memory() -> _Result:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return "note", "the free memory cannot be found out here"
    if free < _MIN_MEMORY_GB:
        return "note", f"{free:.1f} GiB free; {_MIN_MEMORY_GB} GiB are comfortable for the embedded model"
    return "ok", f"{free:.1f} GiB free"


def _model() -> _Result:
    from ucuie.extractor import Extractor
    from ucuie.model_folder import load_model

    start = time.perf_counter()
    try:
        loaded = load_model(device="cpu")
        extractor = Extractor(loaded)
        loaded_at = time.perf_counter()
        extractor.extract(_TEXT, ["person", "location"])
    except UcuieError as error:
        return "broken", str(error)
    return "ok", (
        f"{loaded.name} with {loaded.model.num_parameters() / 1e6:.1f} M parameters is whole, loads in "
        f"{loaded_at - start:.1f} s and reads a sentence in {time.perf_counter() - loaded_at:.2f} s"
    )


_CHECKS: dict[str, Callable[[], _Result]] = {
    "python": _python,
    "packages": _packages,
    "grammar": _grammar,
    "threads": _threads,
    "accelerator": _accelerator,
    "precision": _precision,
    "memory": _memory,
    "model": _model,
}
