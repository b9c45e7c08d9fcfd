"""Models on disk: where they are, what is in a folder, how it becomes a model again.

`source` finds one, `folder` loads it, `saving` writes it; `info`, `card` and `calibration` are what a folder
holds; `backbone` and `known_backbones` are the language model underneath; `hub` sends and fetches folders.
"""

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
