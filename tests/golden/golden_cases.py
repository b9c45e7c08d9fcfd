"""What the product answers, from end to end, as plain values: each function makes one golden file.

Whatever is moved, folded or deleted inside, these values stay; a change of one is a change for users, and
stands in CHANGELOG.md.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from data.data_cases import example
from fake_endpoint import Obedient, serving
from server.server_cases import running
from tiny_model import answer_of, save_adapted, save_plain
from ucuie import Extraction, Extractor
from ucuie.data import write_examples
from ucuie.errors import DataError

TEXTS = [
    "Ada Lovelace was born in London and worked with Charles Babbage on the Analytical Engine.",
    "The patient developed severe hepatitis after two weeks of amoxicillin.",
    "Priya Raman, an engineer at Bosch, moved from Pune to Stuttgart in 2019.",
    "The battery life is great, but the keyboard feels cheap and the screen is too dark.",
    "Two people were killed on Monday when a bomb exploded near the market in Baghdad.",
    "Acme Corp. bought the startup Lumen for $40 million, its chief executive Tom Reed said.",
    "Mutations of BRCA1 are associated with breast cancer and ovarian cancer.",
    "Die Stadt Zürich liegt an der Limmat – 東京 is larger.",
    "We had the grilled salmon; the service was slow, but the waiter was friendly.",
    "Nothing of note happened.",
    "Marie Curie, who was born in Warsaw, won the Nobel Prize in Physics in 1903.",
]
SCHEMAS: dict[str, Any] = {
    "NER": ["person", "location", "organization", "disease", "drug"],
    "RE": {"work for": ["subject", "object"], "live in": ["subject", "object"]},
    "EE": {"attack": {"slots": ["attacker", "target", "place"]}, "adverse event": ["drug", "effect"]},
    "ABSA": {"positive opinion": ["aspect", "opinion"], "negative opinion": ["aspect", "opinion"]},
}
LONG = " ".join(TEXTS * 6)
ERRORS = Path(__file__).with_name("bad_commands.yaml")


def extractions(_: Path) -> Iterator[tuple[str, Any]]:
    """Extractions of the embedded model, by what was asked."""

    def told(answers: Iterable[Extraction]) -> list[Any]:
        return [answer.model_dump(mode="json", exclude={"seconds"}) for answer in answers]

    extractor = Extractor.from_pretrained("ucuie-mini")
    for task, schema in SCHEMAS.items():
        for size in (1, 2, 33):
            texts = (TEXTS * 3)[:size]
            yield f"{task}, batch of {size}", told(extractor.extract_batch(texts, schema, task=task))
        yield f"{task}, long", told([extractor.extract(LONG, schema, task=task)])
        yield f"{task}, n-best", told(extractor.extract_batch(TEXTS[:3], schema, task=task, n_best=3))
        yield f"{task}, explained", told([extractor.extract(TEXTS[2], schema, task=task, explain=True)])
        asked = {"end_bias": 2.0, "threshold": 0.3, "raw_scores": True}
        yield f"{task}, {asked}", told(extractor.extract_batch(TEXTS[:3], schema, task=task, **asked))
    for text in TEXTS[:6]:
        located = extractor.extract(text, SCHEMAS["RE"], task="locating")
        yield f"locating {text!r}", told([located])
        yield f"judging {text!r}", told([extractor.extract(text, SCHEMAS["NER"], task="judging")])
        linked = extractor.extract(text, SCHEMAS["RE"], task="associating", elements=located.records)
        yield f"associating {text!r}", told([linked])
    for kept in (["judging"], ["locating", "associating"]):
        partly = Extractor.from_pretrained("ucuie-mini", capabilities=kept, window_tokens=20)
        yield f"experts {kept}", told(partly.extract_batch(TEXTS[:4], SCHEMAS["NER"]))


def remote_answers(_: Path) -> Iterator[tuple[str, Any]]:
    """Answers of an endpoint that obeys grammars, or JSON Schema, and writes at random."""
    from ucuie.extract.remote import RemoteExtractor

    for fields in (("structured_outputs",), ("grammar",), ("response_format",)):
        with serving(Obedient(*fields, seed=4)) as fake:
            extractor = RemoteExtractor(fake.url, "m", num_concurrent=1, window_characters=300)
            found = str(extractor.connect())
            for task, schema in SCHEMAS.items():
                answers = extractor.extract_batch([*TEXTS[:3], LONG[:700]], schema, task=task)
                yield f"{fields[0]}, {task}, {found}", [answer_of(answer) for answer in answers]


def training_losses(folder: Path) -> Iterator[tuple[str, Any]]:
    """Losses of a run of a few steps, and the files of the model folder that it writes."""
    from train.conftest import make_examples
    from ucuie.train import TrainConfig
    from ucuie.train.run import run_training

    (folder / "data").mkdir()
    write_examples(folder / "data" / "train.jsonl", make_examples())
    save_plain(folder / "backbone")
    variants = {"soft": {}, "hard": {"adapter": {"router": "hard"}}, "shared": {"texts_per_row": 2}}
    for name, changes in variants.items():
        config = {
            "backbone": str(folder / "backbone"),
            "output": str(folder / name),
            "data": {"train": [str(folder / "data")]},
            "batch_size": 4,
            "warming": {"max_steps": 3, "learning_rate": 0.01},
            "multitask": {"max_steps": 4, "learning_rate": 0.01},
            "trainer": {"logging_steps": 1, "disable_tqdm": True},
        }
        run_training(TrainConfig.model_validate(config | changes))
        stages = json.loads((folder / f"{name}.run" / "run.json").read_text())["losses"]
        for stage, entries in stages.items():
            losses = [{key: entry[key] for key in sorted(entry) if "loss" in key} for entry in entries]
            yield f"losses, {name}, {stage}", losses
        yield f"files, {name}", sorted(path.name for path in (folder / name).iterdir())


def model_folder(folder: Path) -> Iterator[tuple[str, Any]]:
    """A saved model folder: names of its files, and the text of those that say what the model is."""
    saved = save_adapted(folder / "model")
    for path in sorted(saved.rglob("*")):
        if path.is_file():
            is_text = path.name in {"adapter_config.json", "ucuie.json"}
            yield str(path.relative_to(saved)), json.loads(path.read_text()) if is_text else None


def converted(folder: Path) -> Iterator[tuple[str, Any]]:
    """SHA-256 of what a data set is written as, in each format, and of what is read back."""
    from ucuie.data import FORMATS, convert_format, export

    events = [("meet", "met", {"who": "Ada", "place": "Paris"}), ("leave", None, {"who": "Bob"})]
    examples = [example("Ada met Bob in Paris.", *events, id=f"set/train/{n}") for n in (1, 2)]
    for name, chosen in sorted(FORMATS.items()):
        path = folder / name / f"train{chosen.suffix}"
        yield f"{name}, lost", export(examples, name, path).model_dump(mode="json")
        try:
            convert_format(name, path, folder / name / "back", task="EE")
        except DataError as error:
            yield f"{name}, refused", str(error).replace(str(folder), "FOLDER")
        for written in sorted((folder / name).rglob("*")):
            if written.is_file() and written.suffix != ".spacy":
                digest = hashlib.sha256(written.read_bytes()).hexdigest()
                yield str(written.relative_to(folder)), digest


def helps(_: Path) -> Iterator[tuple[str, Any]]:
    """The help of every command."""
    import typer.main

    from ucuie.cli import app

    def names(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        yield before
        for name, command in sorted(getattr(group, "commands", {}).items()):
            yield from names(command, (*before, name))

    for name in names(typer.main.get_command(app)):
        said = CliRunner().invoke(app, [*name, "--help"], env={"COLUMNS": "110"})
        yield " ".join(("ucuie", *name)), [line.rstrip() for line in said.stdout.splitlines()]


def openapi(_: Path) -> Iterator[tuple[str, Any]]:
    """The server's OpenAPI document, path by path and schema by schema."""
    with running() as server:
        document = server.client.get("/openapi.json").json()
    yield from document.pop("paths").items()
    yield from document.pop("components")["schemas"].items()
    yield "the rest", document


def errors(folder: Path) -> Iterator[tuple[str, Any]]:
    """What the command says of bad input, with its exit code."""
    from ucuie.cli import app

    given = yaml.safe_load(ERRORS.read_text(encoding="utf-8"))
    for name, content in given["files"].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    save_adapted(folder / "tiny")
    for arguments in given["commands"]:
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        said = [line.rstrip() for line in result.stderr.replace(str(folder), "FOLDER").splitlines()]
        yield " ".join(arguments), {"exit code": result.exit_code, "said": said}


GOLDEN: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
    function.__name__: function
    for function in (
        extractions,
        remote_answers,
        training_losses,
        model_folder,
        converted,
        helps,
        openapi,
        errors,
    )
}
