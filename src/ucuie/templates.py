"""HTML pages and Markdown from templates that lie beside the modules that fill them."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape


@cache
def load_template(path: Path) -> Template:
    """The template of a file; it knows no undefined name, and escapes what it is given unless it is `.md`.

    Its filters: `percent` (0.876 is 88 %), `counted` (1 text, 1,204 texts), `thousands` (1,204).
    """
    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=select_autoescape(disabled_extensions=[".md.jinja"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda score: f"{100 * score:.0f} %"
    environment.filters["counted"] = counted
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment.get_template(path.name)


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 text", "1,204 texts"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
