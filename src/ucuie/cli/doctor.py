"""`ucuie doctor`: what works on this machine and, where something is amiss, what to do."""

import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer
from rich.text import Text

from ucuie.cli.common import Json, print_json, results
from ucuie.cli.options import grouped, model_flags
from ucuie.errors import UcuieError
from ucuie.extract.options import ModelOptions

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from ucuie.model.folder import LoadedModel

State = Literal["ok", "note", "broken"]
_COLOURS: dict[State, str] = {"ok": "green", "note": "yellow", "broken": "red"}
_SLOW_TEXTS = 1
"""Texts in a second: below that the default model is held up by something."""
_BATCH_SIZE = 16
_REPORT = "report it, with all lines of this"
_SCHEMA = ["person", "organization", "location"]
_TEXTS = (
    "Ada Lovelace lived in London.",
    "Maria Okafor, a chemist at Bayer, moved from Lagos to Cologne in 2019.",
    "The University of Oxford and Siemens opened a laboratory in Munich.",
    "Nobody was hurt when the roof came down.",
)


@grouped
def doctor(
    *,
    model: Annotated[ModelOptions, model_flags("model")],
    seconds: Annotated[float, typer.Option(min=0, help="How long the self-test extracts.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Tell what works on this machine, in words, and what to do about what does not."""
    findings = []
    for subject, (state, words, advice) in examine(Patient(model.model, seconds)):
        findings.append({"state": state, "subject": subject, "words": words, "advice": advice})
        if not as_json:
            line = Text(f"{state:<7}", _COLOURS[state]) + Text(f"{subject:<13}") + Text(words)
            results().print(line, soft_wrap=True)
            if advice:
                results().print(Text(f"{'':<20}-> {advice}"), soft_wrap=True)
    if as_json:
        print_json(findings)
    if any(finding["state"] == "broken" for finding in findings):
        raise typer.Exit(1)


class Finding(NamedTuple):
    """The finding of a check, and what to do about it; `note` is worth knowing, `broken` in the way."""

    state: State
    words: str
    advice: str = ""


@dataclass
class Patient:
    """The model that is examined, loaded once, and the seconds of the self-test."""

    model: str | None = None
    seconds: float = 5.0

    @cached_property
    def loaded(self) -> "LoadedModel | UcuieError":
        """The model, on the device that extraction would use, or why there is none."""
        from ucuie.model.folder import DEFAULT, load_model

        try:
            return load_model(self.model or DEFAULT)
        except UcuieError as error:
            return error


def examine(patient: Patient) -> Iterator[tuple[str, Finding]]:
    """The findings of all checks, one after another; one that fails in an unexpected way has found that."""
    for subject, check in _CHECKS.items():
        try:
            yield subject, check(patient)
        except Exception as error:  # a doctor does not die of what the patient has
            yield subject, Finding("broken", f"{type(error).__name__}: {error}", _REPORT)


def _python(_: Patient) -> Finding:
    machine = f"{platform.system()} {platform.machine()}"
    return Finding("ok", f"{platform.python_version()} on {machine} ({sys.executable})")


def _packages(_: Patient) -> Finding:
    """The packages that ucuie cannot do without, against the versions that it was made for."""
    found, faults, wanted = [], [], []
    for requirement in _requirements():
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        installed = _version(requirement.name)
        if installed is None:
            faults.append(f"{requirement.name} is missing")
            wanted.append(str(requirement))
        # Builds such as 2.9.0+cpu and release candidates do.
        elif not requirement.specifier.contains(installed, prereleases=True):
            faults.append(f"{requirement.name} is {installed}, needed is {requirement.specifier}")
            wanted.append(str(requirement))
        if installed and requirement.name in {"llguidance", "peft", "tokenizers", "torch", "transformers"}:
            found.append(f"{requirement.name} {installed}")
    if faults:
        return Finding("broken", "; ".join(faults), f"pip install {' '.join(map(repr, wanted))}")
    return Finding("ok", ", ".join(found))


def _extras(_: Patient) -> Finding:
    conditional = [(one.name, one.marker) for one in _requirements() if one.marker is not None]
    extras = sorted(set(re.findall(r"extra == \"([^\"]+)\"", " ".join(str(when) for _, when in conditional))))
    missing: dict[str, list[str]] = {}
    for extra in extras:
        for name, when in conditional:
            if when.evaluate({"extra": extra}) and _version(name) is None:
                missing.setdefault(extra, []).append(name)
    present = ", ".join(extra for extra in extras if extra not in missing) or "none"
    if not missing:
        return Finding("ok", f"all installed: {present}")
    lacking = "; ".join(f"{extra} lacks {', '.join(names)}" for extra, names in missing.items())
    advice = f"where you want them: pip install 'ucuie[{','.join(missing)}]'"
    return Finding("ok", f"installed: {present}; {lacking}", advice)


def _requirements() -> "list[Requirement]":
    from packaging.requirements import Requirement

    return [Requirement(line) for line in requires("ucuie") or []]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device(_: Patient) -> Finding:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Finding("ok", f"{torch.cuda.get_device_name()} with {memory:.0f} GiB; extraction uses it")
    if Path("/dev/nvidia0").exists() and torch.version.cuda is None:
        advice = "install a build with CUDA: https://pytorch.org/get-started/locally"
        return Finding("note", "there is a GPU, and this torch was built without CUDA", advice)
    return Finding("ok", "no GPU that torch can use; extraction runs on the CPU")


def _model(patient: Patient) -> Finding:
    start = time.perf_counter()
    loaded = patient.loaded
    if isinstance(loaded, UcuieError):
        mend = "pip install --force-reinstall --no-deps ucuie" if patient.model is None else "see above"
        return Finding("broken", str(loaded), mend)
    words = (
        f"{loaded.name} with {loaded.model.num_parameters() / 1e6:.1f} M parameters loads in "
        f"{time.perf_counter() - start:.1f} s"
    )
    if loaded.info is None:
        words += "; it is a plain Hugging Face model, which nobody trained to extract"
        return Finding("note", words, "train an adapter on it: ucuie train CONFIG.yaml")
    # All files of the folder are listed there with their hashes, and were just compared.
    digest = sha256(loaded.info.to_json().encode()).hexdigest()
    return Finding("ok", f"{words} and is whole: {len(loaded.info.files)} files, hash {digest[:12]}")


def _self_test(patient: Patient) -> Finding:
    """Extracts for some seconds, and looks whether all that is found stands in the texts."""
    from ucuie.extract.extractor import Extractor

    if isinstance(patient.loaded, UcuieError):
        return Finding("broken", "there is no model to extract with", "mend the model first")
    extractor = Extractor(patient.loaded, batch_size=_BATCH_SIZE)
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
                    return Finding("broken", words, _REPORT)
            num_texts += 1
    seconds = time.perf_counter() - start
    words = (
        f"{num_texts:,} short texts in {seconds:.1f} s, {num_texts / seconds:.1f} texts/s; "
        f"the first one took {first_seconds:.2f} s"
    )
    if num_texts / seconds < _SLOW_TEXTS and patient.model is None:
        advice = "look what else runs here, and what OMP_NUM_THREADS says"
        return Finding("note", f"{words}; that is slow", advice)
    return Finding("ok", words)


_CHECKS: dict[str, Callable[[Patient], Finding]] = {
    "python": _python,
    "packages": _packages,
    "extras": _extras,
    "device": _device,
    "model": _model,
    "self-test": _self_test,
}
