"""Files that appear whole or not at all: written beside their place, then renamed into it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file; a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.part")
    try:
        staged.write_text(text, encoding="utf-8", newline="\n")
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def staged_files(folder: Path, *, last: str) -> Iterator[Path]:
    """A folder to write files into; on leaving without an error they move into `folder`.

    Other files there stay. `last` is the file that makes the others valid: it goes first and comes last, so
    what is interrupted in between is recognised as incomplete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".staged-", dir=folder) as staging:
        yield Path(staging)
        names = sorted(path.relative_to(staging) for path in Path(staging).rglob("*") if path.is_file())
        (folder / last).unlink(missing_ok=True)
        for name in [name for name in names if name != Path(last)] + [Path(last)]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Path(staging, name).replace(folder / name)
