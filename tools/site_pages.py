"""Pages of the documentation site that are made from other things than `docs/`; a hook of mkdocs.

The command line from `ucuie --help`, the training configuration from its fields, the model card, and texts
that live elsewhere in the repository. So none of them can say something else than its source does.
"""

import inspect
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).parents[1]
MODEL = "src/ucuie/models/ucuie-small"
COPIED = {
    "log.md": "experiments/LOG.md",
    "model-card.md": f"{MODEL}/README.md",
    "pretraining.md": "making/mini/README.md",
}
"""Pages of the site, and the files of the repository that they are."""

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    pages = {page: _FRONT_MATTER.sub("", (ROOT / path).read_text("utf-8")) for page, path in COPIED.items()}
    pages["reference/command.md"] = command_page()
    pages["reference/training.md"] = training_page()
    for page, content in pages.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files that the site does not hold become their names."""
    source = page.file.src_uri
    return linked(markdown, source, COPIED.get(source, posixpath.join("docs", source)))


def linked(markdown: str, page: str, source: str) -> str:
    """The Markdown of a file of the repository, with links that are right on its page of the site."""
    pages = {path: copied for copied, path in COPIED.items()}

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        to = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if to is None:
            return f"{words} (`{path}`)" if words.strip("`") not in path else f"`{path}`"
        return f"[{words}]({posixpath.relpath(to, posixpath.dirname(page) or '.')}{anchor})"

    return _LINK.sub(link, markdown)


def command_page() -> str:
    """Every command with its help, as the command itself prints it."""
    from ucuie.cli import app

    root = typer.main.get_command(app)
    parts = ["# Command line", "", "Made from `ucuie --help`. Results go to stdout, talk to stderr."]
    parts += ["", "| exit code | when |", "|---|---|", "| 0 | all right |", "| 2 | the user's mistake |"]
    parts += ["| 130 | interrupted |", "| 1 | anything else |", ""]
    context = root.make_context("ucuie", [], resilient_parsing=True)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        parts += _command(command, name, context, level=2)
    return "\n".join(parts) + "\n"


def _command(command: Any, name: str, parent: Any, *, level: int) -> Iterator[str]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield from (f"{'#' * level} {context.command_path}", "", _plain(command.help or ""), "")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from ("```text", usage, "```", "")
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [_cells(f"`{names}`", _plain(words)) for names, words in filter(None, records)]
    if rows:
        yield from ("| option | what |", "|---|---|", *rows, "")
    for inner_name, inner in getattr(command, "commands", {}).items():
        yield from _command(inner, inner_name, context, level=level + 1)


def training_page() -> str:
    """Every key of the file that `ucuie train` reads."""
    from ucuie.train.config import TrainConfig

    parts = [
        "# Training configuration",
        "",
        "The keys of the YAML file of `ucuie train`. `a.b` is the key `b` within `a`, and so on the command",
        "line, as in `--set multitask.epochs=1`. Unknown keys are refused. Those of `adapter` are on the",
        "page of the [adapter](adapter.md).",
        "",
        "| key | what | default |",
        "|---|---|---|",
        *_fields(TrainConfig),
    ]
    return "\n".join(parts) + "\n"


def _fields(model: type[BaseModel], defaults: BaseModel | None = None, prefix: str = "") -> Iterator[str]:
    described = _described(model)
    for name, field in model.model_fields.items():
        value = field.default if defaults is None else getattr(defaults, name)
        words = field.description or described.get(name, "")
        is_given = isinstance(value, BaseModel)
        nested = type(value) if is_given else field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            if words:
                yield _cells(f"`{prefix}{name}`", words, "")
            yield from _fields(nested, value if is_given else None, f"{prefix}{name}.")
        else:
            yield _cells(f"`{prefix}{name}`", words, _yaml_value(value))


def _described(model: type[BaseModel]) -> dict[str, str]:
    """What the docstring of a class says about its fields."""
    sections = griffe.Docstring(inspect.cleandoc(model.__doc__ or "")).parse("google", warnings=False)
    return {
        parameter.name: parameter.description
        for section in sections
        if section.kind is griffe.DocstringSectionKind.parameters
        for parameter in section.value
    }


def _yaml_value(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _plain(words: str) -> str:
    """Help as Markdown: what looks like a tag or a link is shown as it is."""
    return " ".join(words.replace("<", "&lt;").replace("[", "\\[").split())
