"""Runs the jobs of experiments that are missing, one after another, and marks those that crash.

Which jobs there are may depend on what others found, such as the best learning rate; so the list is asked for
again after every job. It may be stopped at any time: what is finished stays, the rest is run the next time.
Several processes may work on one queue: each takes a job that no other has.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ucuie.errors import FullDiskError, storage_error
from ucuie.lab.experiments.trials import Evaluation, Job
from ucuie.lab.experiments.workspace import State, Workspace

Execute = Callable[[Job, Workspace], Mapping[str, Any]]
LOG_FILE = "log.txt"
LOCK_FOLDER = "locks"
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class QueueProgress:
    """How far a queue came; a job that needs one that crashed has crashed, too."""

    num_finished: int
    crashed: tuple[Job, ...]
    num_missing: int


def run_queue(
    jobs_of: Callable[[Workspace], Sequence[Job]],
    workspace: Workspace,
    execute: Execute,
    *,
    hours: float | None = None,
    repeats_crashed: bool = False,
    say: Callable[[str], None],
) -> QueueProgress:
    """Runs what is missing, and waits for what other processes run of it.

    Args:
        jobs_of: all jobs known from what is finished; a training comes before the jobs on its model.
        workspace: where results are.
        execute: does one.
        hours: no job is begun after so many; None runs all.
        repeats_crashed: run jobs again that crashed in earlier runs.
        say: is told about every job.

    Raises:
        KeyboardInterrupt: Ctrl-C; the job at hand is missing, not crashed.
        FullDiskError: there is no room for what a job writes; it is missing as well.
    """
    end = None if hours is None else time.monotonic() + 3600 * hours
    tried: set[Job] = set()
    while True:
        jobs = _runnable(jobs_of(workspace), workspace, tried, repeats_crashed)
        if not jobs or (end is not None and time.monotonic() > end):
            break
        with _first_free(jobs, workspace) as job:
            if job is None:
                time.sleep(_POLL_SECONDS)
            elif _runnable([job], workspace, tried, repeats_crashed):  # nobody else did it meanwhile
                tried.add(job)
                _run(job, workspace, execute, say)
    return progress_of(jobs_of(workspace), workspace)


def progress_of(jobs: Sequence[Job], workspace: Workspace) -> QueueProgress:
    """How far a workspace is with some jobs."""
    states = {job: (workspace.state(job), _state_of_training(job, workspace)) for job in jobs}
    crashed = [job for job, state in states.items() if "crashed" in state]
    num_finished = list(states.values()).count(("finished", "finished"))
    return QueueProgress(num_finished, tuple(crashed), len(states) - num_finished - len(crashed))


def _state_of_training(job: Job, workspace: Workspace) -> State:
    """How the training is whose model a job needs; finished if it needs none."""
    return workspace.state(job.training) if isinstance(job, Evaluation) else "finished"


def _run(job: Job, workspace: Workspace, execute: Execute, say: Callable[[str], None]) -> None:
    start = time.perf_counter()
    try:
        with _talk_into(workspace.folder / LOG_FILE):
            result = execute(job, workspace)
    except Exception as error:  # whatever a trial fails of, the others go on
        if isinstance(fault := storage_error(error), FullDiskError):
            # It is no trial's own, and would be that of all the others.
            raise FullDiskError(f"{fault}; then the same command goes on from there") from error
        workspace.crash(job, error)
        say(f"crashed: {job.folder}: {workspace.error(job)}")
    else:
        workspace.finish(job, result)
        say(f"finished: {job.folder} ({time.perf_counter() - start:.0f} s)")


def _runnable(jobs: Sequence[Job], workspace: Workspace, tried: set[Job], repeats_crashed: bool) -> list[Job]:
    """Jobs to run, of which another process may be running some."""
    wanted = ("missing", "crashed") if repeats_crashed else ("missing",)
    return [
        job
        for job in dict.fromkeys(jobs)
        if job not in tried
        and workspace.state(job) in wanted
        and _state_of_training(job, workspace) == "finished"
    ]


@contextmanager
def _first_free(jobs: Sequence[Job], workspace: Workspace) -> Iterator[Job | None]:
    """Keeps other processes from the first job that none of them has; None if they have all."""
    folder = workspace.folder / LOCK_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        lock = FileLock(folder / f"{'--'.join(job.folder.parts)}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        try:
            yield job
        finally:
            lock.release()
        return
    yield None


@contextmanager
def _talk_into(path: Path) -> Iterator[None]:
    """What libraries print goes into a file; their bars would bury what is said about the trials."""
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        yield
