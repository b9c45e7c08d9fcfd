"""Readers on file contents instead of files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ucuie.data.draft import Draft, Fault
from ucuie.data.readers import read_drafts


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Draft | Fault]]:
    """Reads file contents with a reader: read("columns", "a\\tO\\n", separator=" ")."""

    def read_contents(reader: str, *contents: str, **options: Any) -> list[Draft | Fault]:
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / f"file{number}.txt"
            path.write_text(content, encoding="utf-8", newline="")
            paths.append(path)
        return list(read_drafts(reader, paths, options))

    return read_contents
