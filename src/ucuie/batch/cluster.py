"""Slices to the actors of a Ray cluster, one model each: Ray Data's actor pool, here or on other machines.

Slices go as a data set of one block each and come back in the order in which they are done. Actors that are
lost are replaced by Ray; a slice that was lost with them is told of.
"""

import logging
import os
import pickle
import socket
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from ucuie.batch.job import Answerer, Job
from ucuie.batch.work import Lost, Slice
from ucuie.errors import ConfigError, UcuieError, UserError, needs, show

_OBJECT_STORE_BYTES = 2**29
"""The store of a cluster that is only here; far less goes through at once."""
_SECONDS_TO_ANSWER = 10


class ClusterError(UcuieError):
    """A cluster cannot be reached, or has been lost."""


class RayEngine:
    """Actors that answer slices, as long as it is open.

    Args:
        job: every actor's.
        num_workers: the number of actors.
        address: of a cluster: "auto", "host:port" from a machine of it, "ray://host:port" from elsewhere;
            None starts one here.
        cpus: cores that an actor reserves.
        gpus: GPUs that an actor reserves; a fraction shares one.

    Raises:
        MissingExtraError: ray is not installed.
    """

    def __init__(
        self, job: Job, *, num_workers: int, address: str | None = None, cpus: float = 1, gpus: float = 0
    ) -> None:
        needs("ray.data", "ray")
        self._ray = needs("ray", "ray")
        self._job = job
        self._num_workers = num_workers
        self._address = address
        self._resources: dict[str, float] = {"num_cpus": cpus, "num_gpus": gpus}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def answer(self, slices: Sequence[Slice]) -> Iterator[tuple[int, list[bytes] | Lost]]:
        """For each slice, by its position and in any order, its lines, or that it is lost.

        Raises:
            ClusterError: the cluster cannot be reached, or is lost.
            ConfigError: it has not what the workers need.
            UserError: the model cannot be loaded there, or does not fit what is asked.
        """
        ray = self._ray
        if not ray.is_initialized():
            self._connect()
            self._check_resources()
            self._try()
        items = [{"slice": index, "rows": pickle.dumps(one.rows)} for index, one in enumerate(slices)]
        missing = set(range(len(slices)))
        with warnings.catch_warnings():
            # Retries are to have arguments of their own from 2.64 on; until then there is this one.
            warnings.filterwarnings("ignore", message=".*ray_remote_args")
            dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
                _Actor,
                fn_constructor_args=(self._job,),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(self._num_workers, len(items))),
                # Lost with its actor, a slice is ours to divide.
                ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": 0},
                **self._resources,
            )
        try:
            for row in dataset.iter_rows():
                missing.discard(row["slice"])
                yield row["slice"], pickle.loads(row["lines"])  # noqa: S301  from our own actors
        except ray.exceptions.RayError as error:
            raise ClusterError(f"the Ray cluster is lost: {_first_line(error)}") from error
        for index in sorted(missing):
            yield index, Lost("without a word")

    def _connect(self) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address is None:
            options |= {
                "num_cpus": max(self._num_workers * self._resources["num_cpus"], 1),
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
            }
        # What is lost is told of here, once.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        try:
            if self._address is not None and self._address != "auto":
                _knock(self._address)
            self._ray.init(address=self._address, **options)
        except Exception as error:  # ConnectionError, RuntimeError, ValueError and others, as the address is
            where = "here" if self._address is None else f"at {show(self._address)}"
            raise ClusterError(
                f"there is no Ray cluster {where}: {_first_line(error)}; start one with: ray start --head"
            ) from None
        context = self._ray.data.DataContext.get_current()
        # Blocks that are lost are missing in what comes back, and asked for anew.
        context.max_errored_blocks = -1
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)

    def _check_resources(self) -> None:
        there = self._ray.cluster_resources()
        for name, wanted in (("CPU", self._resources["num_cpus"]), ("GPU", self._resources["num_gpus"])):
            needed = wanted * self._num_workers
            if needed > there.get(name, 0):
                raise ConfigError(
                    f"{self._num_workers:,} workers need {needed:g} {name}, the cluster has "
                    f"{there.get(name, 0):g}; ask for fewer workers, or start more machines"
                )

    def _try(self) -> None:
        """Load the model once: what is wrong with it, or what is asked of it, is said in words."""

        def start(job: Job) -> None:
            Answerer(job)

        ray = self._ray
        task = ray.remote(start).options(max_retries=0, **self._resources)
        try:
            ray.get(task.remote(self._job))
        except ray.exceptions.RayError as error:
            cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
            if isinstance(cause, UserError):
                raise cause from None
            raise ClusterError(f"a worker of the cluster cannot start: {_first_line(cause)}") from error


def _knock(address: str) -> None:
    """Raise an OSError or ValueError at once where nobody listens; Ray itself would try for minutes."""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{show(address)} is no host:port")
    socket.create_connection((parts.hostname, parts.port), timeout=_SECONDS_TO_ANSWER).close()


class _Actor:
    def __init__(self, job: Job) -> None:
        self._answerer = Answerer(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        lines = [pickle.dumps(self._answerer.answer(pickle.loads(rows))) for rows in batch["rows"]]  # noqa: S301
        return {"slice": batch["slice"], "lines": lines}


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
