"""What a model computes for the outputs being written: one forward over the tokens that all of them read.

In: beams with pending tokens and drafts. Out: the logits of each place where the grammar leaves a choice.
Small models of the Llama kind go through packed products with nothing between them, others through their own
forward; the gates of our adapter go with the tokens either way. Knows no search and no queue.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from ucuie.engine.cache import Prefix, SlotCache
from ucuie.engine.fused import FusedMlps
from ucuie.engine.lean import LeanDecoder, is_lean
from ucuie.engine.products import are_plain, has_int8, product_of
from ucuie.engine.ragged import Step, StepRow, ragged_attention
from ucuie.engine.requests import Request
from ucuie.engine.writer import Beam
from ucuie.errors import ModelError

COPIED_BYTES = 2 * 2**30
"""Of larger models no weights are copied."""

Model: TypeAlias = PreTrainedModel | PeftModel
Logits = NDArray[np.float32]


class Forward:
    """The forward of one model.

    Args:
        model: a causal language model of `transformers`, with or without a PEFT adapter, in evaluation mode.
        may_copy: the weights of a small model are copied, laid out for what is done here.
        int8: products with large weights are rounded to 8 bits.

    Raises:
        ModelError: the model's attention cannot be replaced, or its weights cannot be rounded.
    """

    def __init__(self, model: Model, *, may_copy: bool, int8: bool) -> None:
        tuner: Any = getattr(model, "base_model", None)
        self._tuner = tuner if hasattr(tuner, "compute_gates") else None
        """Our adapter, if the model has one."""
        self._backbone: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._decoder: Any = self._backbone.get_decoder()
        if not getattr(self._decoder, "_supports_attention_backend", False):
            raise ModelError(
                f"the attention of {type(self._backbone).__name__} cannot be replaced, which decoding needs; "
                "take a model of the Llama, Qwen or Mistral kind"
            )
        self.device = next(model.parameters()).device
        self._head: Any = self._backbone.get_output_embeddings()
        num_bytes = sum(parameter.nbytes for parameter in model.parameters())
        if int8:
            _check_int8(self._decoder, self._head, may_copy=may_copy)
        copies = may_copy and (int8 or num_bytes <= COPIED_BYTES)
        self._fused = None if self._tuner is None else FusedMlps(self._tuner, copies=copies, int8=int8)
        self._lean: LeanDecoder | None = None
        if is_lean(self._decoder):
            self._lean = LeanDecoder(self._decoder, self._fused, copies=copies, int8=int8)
        if copies and are_plain([self._head]):
            self._head = product_of([self._head], int8=int8)

    @torch.inference_mode()
    def __call__(self, beams: Sequence[Beam], cache: SlotCache) -> list[Logits]:
        """Each beam's logits (choices, V) float32: after its pending tokens and each step of its draft."""
        reads = [beam.reads for beam in beams]
        rows = [StepRow(beam.prefix, beam.length, len(read)) for beam, read in zip(beams, reads, strict=True)]
        step = Step(cache, rows, self.device)
        tokens = torch.tensor([token for read in reads for token in read], device=self.device)
        with self._routed(step):
            hidden = self._lean(tokens, step) if self._lean else self._read(tokens, step)
        ends: list[int] = []
        start = 0
        for beam, read in zip(beams, reads, strict=True):
            ends += [start + end for end in beam.ends]
            start += len(read)
        logits: Tensor = self._head(hidden[ends])
        ends_of_beams = np.cumsum([len(beam.ends) for beam in beams])
        return np.split(logits.float().cpu().numpy(), ends_of_beams[:-1])

    @property
    def enabled(self) -> tuple[bool, ...] | None:
        """For each capability, if it is switched on; None where nothing was switched."""
        enabled: tuple[bool, ...] | None = None if self._tuner is None else self._tuner.state.enabled
        return enabled

    @torch.inference_mode()
    def prefix(self, request: Request) -> Prefix:
        """The keys, values and gates of a request's instruction."""
        tokens = torch.tensor([request.instruction_ids], device=self.device)
        cache, gates = DynamicCache(), None
        if self._tuner is not None:
            labels = request.capability_labels
            given = None if labels is None else torch.tensor([labels], device=self.device)
            mask = torch.ones_like(tokens)
            gates = self._tuner.compute_gates(tokens, mask, mask.bool(), given, past_key_values=cache)
        if not cache.get_seq_length():
            with self._fixed(gates):
                self._decoder(input_ids=tokens, past_key_values=cache, use_cache=True)
        return Prefix.of_cache(cache, gates)

    def _read(self, tokens: Tensor, step: Step) -> Tensor:
        """The hidden states (N, D) of tokens (N,), by the decoder's own forward."""
        with ragged_attention(self._backbone):
            hidden: Tensor = self._decoder(
                input_ids=tokens[:, None], position_ids=step.positions[:, None], use_cache=False, step=step
            ).last_hidden_state
        return hidden[:, 0]

    def _routed(self, step: Step) -> AbstractContextManager[None]:
        """The forward of a step goes by the gates of its tokens."""
        gates = step.gates()
        if gates is not None and self._fused:
            return (self._fused.routed if self._lean else self._fused.running)(gates, step.alive())
        return self._fixed(gates)

    def _fixed(self, gates: Tensor | None) -> AbstractContextManager[None]:
        """Forwards go by these gates while this is open; without any, as they would."""
        return nullcontext() if gates is None or self._tuner is None else self._tuner.fixed_gates(gates)


def _check_int8(decoder: Any, head: Any, *, may_copy: bool) -> None:
    """Raise a ModelError where products cannot be rounded."""
    weight: Tensor = head.weight
    if not may_copy:
        raise ModelError(
            "int8 copies the weights, and models on one backbone share them; load one model alone"
        )
    if not is_lean(decoder):
        raise ModelError(
            f"int8 knows decoders of the Llama, Mistral and Qwen kind, not {type(decoder).__name__}; "
            "leave it out"
        )
    if not has_int8(weight):
        raise ModelError(
            "int8 is for float32 weights on a CPU, with a torch that has oneDNN; these are "
            f"{weight.dtype} on {weight.device}. Leave it out, or load the model with device='cpu'"
        )
