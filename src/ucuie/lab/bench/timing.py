"""Fair timing: contenders take turns in one process, and medians are compared."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch

Step = Callable[[], float]
"""Does a piece of work and gives the seconds it took."""


def timed(work: Callable[[], object], device: torch.device) -> Step:
    """The work with its seconds: of the process on a CPU, since other jobs blur the clock on the wall."""

    def on_cpu() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    def on_gpu() -> float:
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        return time.perf_counter() - start

    return on_cpu if device.type == "cpu" else on_gpu


def interleaved(steps: Mapping[str, Step], *, repeats: int) -> dict[str, float]:
    """Median seconds of every step, in turn, `repeats` times after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(1 + repeats):
        for name, step in steps.items():
            seconds[name].append(step())
    return {name: median(values[1:]) for name, values in seconds.items()}


@contextmanager
def threads(num_threads: int) -> Iterator[None]:
    """Torch computes with so many threads while this is open."""
    previous = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(previous)


def settings_of(options: Any, *names: str, device: torch.device) -> dict[str, Any]:
    """What a report says of how it was measured: options by their names, the device, the version of torch."""
    chosen = {name: getattr(options, name) for name in names}
    return {"device": device_name(device), **chosen, "torch": torch.__version__}


def device_name(device: torch.device) -> str:
    """The name of a GPU; times mean nothing without it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
