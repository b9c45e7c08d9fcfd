"""Files that appear whole or not at all, what is no text in UTF-8 with lines, and the user's cache.

Files are written beside their place, then renamed.

The cache holds what this package fetched or worked out, and can fetch or work out again. It is the folder
`ucuie` in $UCUIE_CACHE, else $XDG_CACHE_HOME, else ~/.cache, and may be deleted.
"""

import codecs
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Self

from ucuie.errors import ConfigError, UcuieError, show, storage_error


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file; a reader sees the old content or the new, never a part."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, safe from a loss of power once it is there; a reader sees the old content or the new."""
    with staged_file(path) as staged, _named(path):
        staged.write_bytes(content)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """A place to write a file to; on leaving without an error it becomes `path`, else nothing is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name that no other process has or foresees: a file of its own, and no link that someone put there.
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with _named(path):
            staged.touch(exist_ok=False)
        yield staged
        with _named(path), staged.open("rb+") as file:
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


@contextmanager
def staged_files(folder: Path, *, last: str, has_hashes: bool = False) -> Iterator[Path]:
    """A folder to write files into; on leaving without an error they move into `folder`.

    Other files there stay. `last` is the file that makes the others valid: it goes first and comes last, so
    what is interrupted in between is recognised as incomplete. One that `has_hashes` of the others tells that
    by itself, and stays until the new one comes. After an error a new folder is not there.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".staged-", dir=folder) as staging:
            yield Path(staging)
            names = sorted(path.relative_to(staging) for path in Path(staging).rglob("*") if path.is_file())
            if not has_hashes:
                (folder / last).unlink(missing_ok=True)
            # Some libraries make files for their owner alone.
            mode = Path(staging, last).stat().st_mode
            for name in [name for name in names if name != Path(last)] + [Path(last)]:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                Path(staging, name).chmod(mode)
                Path(staging, name).replace(folder / name)
    finally:
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write files into; on leaving without an error it becomes `folder`, else nothing is left.

    Raises:
        OSError: in the place of `folder` is a file, or a folder that is not empty.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as around:
        # Only its owner may look into a temporary folder itself.
        staging = Path(around, folder.name)
        staging.mkdir()
        yield staging
        if folder.is_dir():
            folder.rmdir()
        staging.rename(folder)


@contextmanager
def only_run(lock: Path, output: str) -> Iterator[None]:
    """For the time in which an output comes into being step by step: one run at a time.

    Raises:
        ConfigError: another run is at it.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"another run is writing to {show(output)}; wait for it, or name another place"
        ) from None
    try:
        yield
    finally:
        # While it is held: later it could be the one that another run has just taken.
        with suppress(OSError):
            lock.unlink()
        held.release()


class StagedLines:
    """A file of lines in the making, beside its place; what an interrupted run has written is kept.

    Args:
        path: the file that `publish` makes; one run at a time.
        key: tells this work from other work on the same file; only the same work goes on.

    Raises:
        ConfigError: on entering, another run is at the file.
    """

    def __init__(self, path: Path, *, key: str) -> None:
        self.path = path
        self.staged = path.with_name(f".{path.name}.{key[:16]}.part")
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with _named(self.path):
            self._held.enter_context(only_run(self.path.with_name(f".{self.path.name}.lock"), str(self.path)))
            if self.staged.is_symlink():  # none of ours, and what it leads to is not to be written
                self.staged.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def read(self) -> list[str]:
        """The whole lines of earlier runs; the rest of a line that was cut is removed."""
        try:
            content = self.staged.read_bytes()
        except FileNotFoundError:
            return []
        num_whole = content.rfind(b"\n") + 1
        # Cut, not written again: on a full disk that would lose what is there.
        os.truncate(self.staged, num_whole)
        return content[:num_whole].decode("utf-8", errors="replace").split("\n")[:-1]

    def append(self, line: str) -> None:
        """Adds a line, safe from a kill of this process from then on."""
        with _named(self.path), self.staged.open("a", encoding="utf-8", newline="\n") as file:
            file.write(f"{line}\n")

    def publish(self) -> None:
        """Gives the file its name."""
        self.staged.touch()
        self.staged.replace(self.path)

    def discard(self) -> None:
        """Forgets all lines."""
        self.staged.unlink(missing_ok=True)


def utf16_fault(head: bytes) -> str | None:
    """The fault of a file whose beginning is not UTF-8: a mark of UTF-16, or every other byte 0."""
    is_marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    is_halved = len(head) >= 8 and not (any(head[:8:2]) and any(head[1:8:2]))
    return "it is UTF-16; save it as UTF-8" if is_marked or is_halved else None


def line_end_fault(head: bytes) -> str | None:
    """The fault of a file whose beginning has lines that end in CR alone."""
    has_cr_alone = b"\n" not in head and b"\r" in head.strip()
    return "its lines end in CR alone; save it with LF or CRLF at their ends" if has_cr_alone else None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors while a file is written name what it is going to be; of a full disk they name nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


Progress = Callable[[int, int], None]
"""Gets how many bytes are there, and how many there will be; 0 where that is not known."""


fetch_progress: ContextVar[Progress] = ContextVar("fetch_progress", default=lambda num_bytes, total: None)
"""The listener to a fetch in this thread."""


def cache_folder() -> Path:
    """The place of the cache, which need not be there yet."""
    default = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UCUIE_CACHE") or default) / "ucuie"


@contextmanager
def making(path: Path) -> Iterator[None]:
    """For the time in which a file or folder of the cache is made: one process at a time, others wait.

    Raises:
        StorageError: the cache cannot be written; says why, and where to name another one.
    """
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            yield
    # Of any class: libraries have their own for a full disk.
    except Exception as error:
        fault = None if isinstance(error, UcuieError) else storage_error(error)
        if fault is None:
            raise
        said = error.strerror if isinstance(error, OSError) else error
        raise type(fault)(
            f"the cache {show(str(path.parent))} cannot be written: {said}; make room, or set "
            "UCUIE_CACHE to a folder that can be written to"
        ) from error


@contextmanager
def fetches_shown(progress: Progress) -> Iterator[None]:
    """Tells how far whatever is fetched inside is, in this thread."""
    token = fetch_progress.set(progress)
    try:
        yield
    finally:
        fetch_progress.reset(token)
