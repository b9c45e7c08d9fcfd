"""Times that may be compared with each other on a busy machine."""

import time
from collections.abc import Callable


def process_seconds(function: Callable[[], object]) -> float:
    """Of this process, and the best of three: other jobs and the garbage collector are not meant."""
    tries = []
    for _ in range(3):
        start = time.process_time()
        function()
        tries.append(time.process_time() - start)
    return max(min(tries), 0.01)
