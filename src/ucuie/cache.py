"""The user's cache: what this package fetched or worked out, and can fetch or work out again.

It is the folder `ucuie` in $UCUIE_CACHE, else $XDG_CACHE_HOME, else ~/.cache, and may be deleted.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ucuie.errors import UcuieError, show, storage_error

Progress = Callable[[int, int], None]
"""Gets how many bytes are there, and how many there will be; 0 where that is not known."""


def _unwatched(num_bytes: int, total: int) -> None:
    """Where nobody looks."""


_progress: ContextVar[Progress] = ContextVar("_progress", default=_unwatched)


def cache_folder() -> Path:
    """Where the cache is; it need not be there yet."""
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
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


def fetch_progress() -> Progress:
    """Whom to tell how far a fetch is."""
    return _progress.get()
