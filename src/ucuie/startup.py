"""The seconds in which torch and others are imported: no garbage collector, and Ctrl-C is still heard."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Imports and loads what comes to stay: a third faster, and left alone by every later collection.

    Libraries make a million objects when they are imported. None of them is garbage, and Python would count
    through them several times on the way, and once more at the end of the process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def is_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what an error comes of: imports of compiled modules make an ImportError of it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False
