"""The stages of a run: each from its last checkpoint, or from the start, to its log.

Ctrl-C finishes the step at hand and writes a checkpoint, so nothing is lost.
"""

import json
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from peft import PeftModel
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState

from ucuie.engine.grammar_state import GrammarFactory
from ucuie.errors import DataError
from ucuie.files import write_text
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.model.backbone import Backbone, without_adapter
from ucuie.schema import Example
from ucuie.templates import counted
from ucuie.train.config import StageConfig, TrainConfig, WarmingConfig
from ucuie.train.packing import pack, packed_attention
from ucuie.train.rows import TrainingSet, collate
from ucuie.train.trainer import UcuieTrainer, trainer_arguments

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
STATE_FILE = "trainer_state.json"


class Stages:
    """What the stages of a run share.

    The folder has checkpoints, logs and, until the run is finished, its configuration. The model is that of
    the backbone, until it is given an adapter.
    """

    def __init__(self, config: TrainConfig, folder: Path, backbone: Backbone, pool: InstructionPool) -> None:
        self.config = config
        self.folder = folder
        self.model: PreTrainedModel | PeftModel = backbone.model
        self.pool = pool
        self._tokenizer = backbone.tokenizer
        self._encoder = PromptEncoder(backbone.tokenizer, pool=pool)
        sizes = backbone.model.config
        uses_grammar = config.loss.objective == "grammar"
        self._grammars = GrammarFactory(backbone.tokenizer, sizes.vocab_size) if uses_grammar else None
        self._max_length = config.max_length or sizes.max_position_embeddings

    def training_set(self, examples: Sequence[Example], *, is_varied: bool = True) -> TrainingSet:
        """The examples as training rows; without variation, as inference would see them, and perhaps none.

        Raises:
            DataError: no example fits into the context, so there is nothing to train on.
        """
        built = TrainingSet(
            examples,
            self._encoder,
            pool=self.pool if self.config.paraphrase and is_varied else None,
            grammars=self._grammars,
            augmentation=self.config.augmentation if is_varied else None,
            max_length=self._max_length,
            texts_per_row=self.config.texts_per_row,
            seed=self.config.seed,
        )
        if built.num_too_long:
            logger.warning("longer than the context and left out: %s", counted(built.num_too_long, "example"))
        if is_varied and not len(built):
            raise DataError("the training data", ["no example fits into the context"], "raise max_length")
        return built

    def train(
        self, stage: StageConfig, train: TrainingSet, validation: TrainingSet | None = None, *, name: str
    ) -> list[dict[str, float]]:
        """Trains one stage from its last checkpoint, or from the start, and returns its log."""
        folder = self.folder / name
        packing = self.config.packing
        is_watched = validation is not None and len(validation) > 0
        trainer = UcuieTrainer(
            model=self.model,
            args=trainer_arguments(self.config, stage, folder, has_validation=is_watched),
            loss=self.config.loss,
            gates_are_labels=isinstance(stage, WarmingConfig),
            # One process has all weights anyway.
            shares_weights=self.config.sharding == "full" and PartialState().num_processes > 1,
            train_dataset=train,
            eval_dataset=validation if is_watched else None,
            data_collator=pack if packing else partial(collate, pad_id=self._tokenizer.pad_token_id or 0),
        )
        interruption = SaveOnInterrupt()
        trainer.add_callback(interruption)
        checkpoint = last_checkpoint(folder)
        state = None if checkpoint is None else TrainerState.load_from_json(checkpoint / STATE_FILE)
        if state is not None and state.global_step >= state.max_steps:
            # The Trainer would take one more step.
            trainer._load_from_checkpoint(str(checkpoint))
            return [dict(entry) for entry in state.log_history]
        if PartialState().is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / CONFIG_FILE, self.config.model_dump_json(indent=1) + "\n")
        shares = self.config.texts_per_row > 1
        attention = (
            packed_attention(without_adapter(self.model), shares_instructions=shares)
            if packing
            else nullcontext()
        )
        with attention, interruption.listening():
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        return [dict(entry) for entry in trainer.state.log_history]


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a stage; one that was being written when the run died is not whole."""
    # The Trainer writes its state last; on a full disk it may be there and be cut.
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{STATE_FILE}") if _is_json(path)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


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
