"""Schemas for common jobs that come with the package, by name: `schemas/NAME.yaml`.

The first line of each file is a comment with its title. What stands in the others is read by
`schema_sources`, as with any file.
"""

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("schemas")


@cache
def ready_schemas() -> dict[str, Path]:
    """The files of the ready schemas by their names, in alphabetical order."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def title_of(path: Path) -> str:
    """What a ready schema is for, in a few words."""
    first_line, _, _ = path.read_text("utf-8").partition("\n")
    return first_line.removeprefix("#").strip()
