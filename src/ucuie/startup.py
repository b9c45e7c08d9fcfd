"""A start without the garbage collector, which would look through all of torch again and again."""

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
