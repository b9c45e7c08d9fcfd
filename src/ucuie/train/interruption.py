"""Ctrl-C while training: the step at hand is finished and a checkpoint written, so nothing is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from transformers import TrainerCallback, TrainerControl


class SaveOnInterrupt(TrainerCallback):  # type: ignore[misc]  # transformers is not type-checked
    """Ends training with a checkpoint after the step in which Ctrl-C was pressed; twice ends it at once.

    Of several processes all end after the same step, whichever was told.
    """

    def __init__(self) -> None:
        self.is_interrupted = False
        self._has_heard = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles Ctrl-C while it is open.

        Raises:
            KeyboardInterrupt: on leaving, if it was pressed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread alone.
            return
        previous = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
        if self.is_interrupted:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._has_heard:
            raise KeyboardInterrupt
        self._has_heard = self.is_interrupted = True

    def on_step_end(self, _arguments: Any, _state: Any, control: TrainerControl, **_: Any) -> TrainerControl:
        """Called by the Trainer after every step."""
        processes = PartialState()
        if processes.num_processes > 1:
            told = torch.tensor(float(self.is_interrupted), device=processes.device)
            self.is_interrupted = bool(reduce(told, "sum"))
        if self.is_interrupted:
            control.should_save = control.should_training_stop = True
        return control
