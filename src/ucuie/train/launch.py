"""One training run on several processes of this machine, started and watched by torch's elastic launcher.

Several machines are the business of `accelerate launch -m ucuie train` and of `torchrun`; what a process has
to know about the others it finds in its environment, whoever started it.
"""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, launch_agent

from ucuie.errors import ConfigError

SHUTDOWN_SECONDS = 300
"""For the step at hand and a checkpoint, before a process that was told to stop is killed."""
NUM_PROCESSES_VARIABLE = "UCUIE_NUM_PROCESSES"
"""Tells a process that `launch` started it, with how many in all."""


def launch(arguments: Sequence[str], *, num_processes: int) -> int:
    """Run `ucuie ARGUMENTS` in so many processes, one for each GPU where there are any.

    Returns:
        The exit code: that of the process that failed first, if any did.

    Raises:
        ConfigError: this is one of several processes already.
        KeyboardInterrupt: Ctrl-C was pressed, and the processes have ended.
    """
    if "WORLD_SIZE" in os.environ:
        raise ConfigError("--num-processes inside of accelerate launch or torchrun; leave it out, or them")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    os.environ[NUM_PROCESSES_VARIABLE] = str(num_processes)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    # The processes say themselves what is wrong; the launcher would add a page to it.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        launch_agent(config, sys.executable, ["-m", "ucuie", *arguments])
    except ChildFailedError as error:
        return int(error.get_first_failure()[1].exitcode)
    except SignalException as stop:
        if stop.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        return 128 + stop.sigval
    return 0
