"""Lets a causal language model write outputs under their grammars: batched, greedy, with a KV cache.

In: token ids of instruction and text with the grammar of each. Out: the tokens written, and for every choice
that the grammar left, how likely each allowed token was. The instruction is computed once and shared by all
rows; forced tokens are fed in one piece without asking the model. Knows no schema and no record.
"""

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from ucuie.decode.grammar import GrammarFactory, allowed_tokens
from ucuie.errors import TextError
from ucuie.linearize import parse

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

SHORTEST_OUTPUT = len("{}")
"""Tokens: a prompt that leaves less room than this in the model's context is refused."""
MAX_COPIES = 4
"""An output may say the same so many times in a row; a small model would often go on for ever."""
LONGEST_LOOP = 96
"""Tokens of what is said again."""
MAX_PREFIXES = 4
"""How many instructions a generator keeps the cache of."""


@dataclass(frozen=True)
class Request:
    """One output to be written.

    Args:
        instruction_ids: the tokens of the instruction and schema, at least one.
        text_ids: the tokens of the text, fed after the instruction.
        grammar: what may be written, from `build_grammar`.
        capability_labels: what the gates of a hard router are; no other router reads them.
    """

    instruction_ids: Sequence[int]
    text_ids: Sequence[int]
    grammar: str
    capability_labels: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Choice:
    """What the model thought where the grammar left it a choice.

    Args:
        position: which token of the output was chosen here.
        token: the token chosen.
        allowed: the token ids that the grammar allowed, ascending; at least two.
        log_probabilities: of each allowed token, among the allowed ones (float64).
        log_mass: the logarithm of the probability that the model gave to all allowed tokens together; far
            below 0 where the model is out of its depth.
    """

    position: int
    token: int
    allowed: NDArray[np.intp]
    log_probabilities: NDArray[np.float64]
    log_mass: float

    @property
    def log_probability(self) -> float:
        """Of the token chosen, among the allowed ones."""
        return float(self.log_probabilities[np.searchsorted(self.allowed, self.token)])


@dataclass(frozen=True, eq=False)
class Output:
    """What was written: a whole output, or its beginning where the budget ended it (`truncated`)."""

    text: str
    tokens: tuple[int, ...]
    choices: tuple[Choice, ...]
    truncated: bool


@dataclass(frozen=True)
class _Prefix:
    """What all rows of an instruction share: its KV cache (one row) and its gates (linears, 1, C)."""

    cache: DynamicCache
    gates: Tensor | None
    length: int


class _Row:
    """An output being written.

    Args:
        grammars: the factory of its grammar.
        request: what to write.
        budget: the most tokens the output may have.
    """

    def __init__(self, grammars: GrammarFactory, request: Request, budget: int) -> None:
        self.pending = list(request.text_ids)
        """Tokens that the model has not read yet."""
        self.tokens: list[int] = []
        self.choices: list[Choice] = []
        self.truncated = False
        self._grammars = grammars
        self._state = grammars.start(request.grammar)
        self._budget = budget
        self._advance()

    @property
    def is_finished(self) -> bool:
        """Complete or cut: there is nothing left to choose."""
        return self._mask is None

    def choose(self, logits: NDArray[np.float32], log_total: float) -> None:
        """Write the likeliest allowed token that does not go on saying the same, and all that it forces.

        Args:
            logits: (V,), after the pending tokens.
            log_total: their logsumexp.
        """
        assert self._mask is not None
        allowed = allowed_tokens(self._mask)
        scores = logits[allowed].astype(np.float64)
        log_allowed = float(np.logaddexp.reduce(scores))
        repeats = repeating_tokens(self.tokens, allowed, self._grammars)
        token = int(allowed[np.argmax(np.where(repeats, -np.inf, scores))])
        self.choices.append(
            Choice(len(self.tokens), token, allowed, scores - log_allowed, min(log_allowed - log_total, 0.0))
        )
        self._state.consume([token])
        self.tokens.append(token)
        self.pending = [token]
        self._advance()

    def _advance(self) -> None:
        forced, self._mask = self._state.advance()
        self.tokens += forced
        self.pending += forced
        num_wanted = len(self.tokens) + (self._mask is not None)
        if num_wanted > self._budget:
            del self.tokens[self._budget :]
            self.truncated, self._mask = True, None


class Generator:
    """Writes outputs with one model.

    It keeps the caches of the last instructions: make a new one after the model's weights, adapter or
    capabilities changed.

    Args:
        model: a causal language model of `transformers`, with or without a PEFT adapter, in evaluation mode.
        grammars: for the model's tokenizer and the width of its logits.
        max_new_tokens: where an output is cut; also cut where the model's context ends.
        batch_size: rows per forward pass.
    """

    def __init__(
        self,
        model: "PreTrainedModel | PeftModel",
        grammars: GrammarFactory,
        *,
        max_new_tokens: int = 512,
        batch_size: int = 32,
    ) -> None:
        if model.training:
            raise ValueError(
                "the model is in training mode, where dropout makes outputs random; call model.eval()"
            )
        self.model = model
        self.grammars = grammars
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self._prefixes: dict[tuple[Any, ...], _Prefix] = {}

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """The output of each request, in their order. Greedy: equal requests give equal outputs.

        Raises:
            TextError: an instruction and text leave no room for an output in the model's context; nothing
                is written then.
        """
        budgets = [self.budget(request) for request in requests]
        by_instruction: dict[tuple[Any, ...], list[int]] = {}
        for index, request in enumerate(requests):
            key = (tuple(request.instruction_ids), request.capability_labels)
            by_instruction.setdefault(key, []).append(index)

        outputs: dict[int, Output] = {}
        for (instruction_ids, capability_labels), indices in by_instruction.items():
            prefix = self._prefix(instruction_ids, capability_labels)
            # Texts of like length together, for little padding.
            indices.sort(key=lambda index: len(requests[index].text_ids))
            for start in range(0, len(indices), self.batch_size):
                batch = indices[start : start + self.batch_size]
                rows = [self._start(requests[index], budgets[index]) for index in batch]
                self._write(rows, prefix)
                outputs.update(zip(batch, map(self._output, rows), strict=True))
        return [outputs[index] for index in range(len(requests))]

    def budget(self, request: Request) -> int:
        """How many tokens the output may have.

        Raises:
            TextError: the context is full before the output begins.
        """
        context: int | None = getattr(self.model.config, "max_position_embeddings", None)
        if context is None:
            return self.max_new_tokens
        num_instruction, num_text = len(request.instruction_ids), len(request.text_ids)
        room = context - num_instruction - num_text
        if room < SHORTEST_OUTPUT:
            raise TextError(
                f"the text has {num_text:,} tokens and the instruction with its schema {num_instruction:,}; "
                f"the model's context of {context:,} leaves no room for an output. Split the text, or ask "
                "for fewer types at once"
            )
        return min(self.max_new_tokens, room)

    def _start(self, request: Request, budget: int) -> _Row:
        return _Row(self.grammars, request, budget)

    def _output(self, row: _Row) -> Output:
        return Output(self.grammars.decode(row.tokens), tuple(row.tokens), tuple(row.choices), row.truncated)

    @torch.inference_mode()
    def _prefix(
        self, instruction_ids: tuple[int, ...], capability_labels: tuple[float, ...] | None
    ) -> _Prefix:
        key = (instruction_ids, capability_labels)
        prefix = self._prefixes.pop(key, None)
        if prefix is None:
            tokens = torch.tensor([instruction_ids], device=self._device)
            gates = _capability_gates(self.model, tokens, capability_labels)
            cache = DynamicCache()
            with _fixed_gates(self.model, gates):
                self.model(
                    input_ids=tokens,
                    attention_mask=torch.ones_like(tokens),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
            prefix = _Prefix(cache, gates, len(instruction_ids))
        self._prefixes[key] = prefix
        if len(self._prefixes) > MAX_PREFIXES:
            self._prefixes.pop(next(iter(self._prefixes)))
        return prefix

    @torch.inference_mode()
    def _write(self, rows: Sequence[_Row], prefix: _Prefix) -> None:
        """Write all rows to their end; a row that is finished leaves the batch."""
        rows = [row for row in rows if not row.is_finished]
        if not rows:
            return
        cache = copy.deepcopy(prefix.cache)
        cache.batch_repeat_interleave(len(rows))
        # One column per cached token, 0 where a row was padded: rows take steps of different length.
        seen = torch.ones(len(rows), prefix.length, dtype=torch.long, device=self._device)
        with _fixed_gates(self.model, prefix.gates):
            while rows:
                tokens, is_token = self._left_padded([row.pending for row in rows])
                seen = torch.cat([seen, is_token], dim=1)
                logits = self._next_logits(tokens, seen, cache)
                log_totals = logits.logsumexp(dim=-1).tolist()
                for row, scores, log_total in zip(rows, logits.cpu().numpy(), log_totals, strict=True):
                    row.choose(scores, log_total)
                unfinished = [index for index, row in enumerate(rows) if not row.is_finished]
                if len(unfinished) < len(rows):
                    rows = [rows[index] for index in unfinished]
                    kept = torch.tensor(unfinished, dtype=torch.long, device=self._device)
                    cache.batch_select_indices(kept)
                    seen = seen[kept]

    def _next_logits(self, tokens: Tensor, seen: Tensor, cache: DynamicCache) -> Tensor:
        """Logits (B, V) float32 after the last column of tokens (B, T), the newest of the columns seen."""
        output = self.model(
            input_ids=tokens,
            attention_mask=seen,
            position_ids=(seen.cumsum(dim=1) - 1)[:, -tokens.shape[1] :],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _left_padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Tokens (B, T), each row's last one in the last column, and 1 where one stands."""
        width = max(map(len, rows))
        tokens = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=self._device)
        is_token = torch.tensor(
            [[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self._device
        )
        return tokens, is_token

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device


def repeating_tokens(
    tokens: Sequence[int], allowed: NDArray[np.intp], grammars: GrammarFactory
) -> NDArray[np.bool_]:
    """Which allowed tokens would go on saying the same; never all of them."""
    repeats: NDArray[np.bool_] = allowed == looping_token(tokens, grammars)
    output = grammars.decode(tokens)
    for index, token in enumerate(allowed):
        # A token can end a slot and begin the next, such as "),".
        end_of_slot, comma, _ = grammars.token_bytes(int(token)).partition(b",")
        if comma and end_of_slot in (b"", b")"):
            repeats[index] |= is_said_twice(output + end_of_slot.decode())
    return np.zeros_like(repeats) if repeats.all() else repeats


def is_said_twice(output: str) -> bool:
    """Whether the beginning of an output ends with a slot that the same frame has already, filler and all."""
    if not output.endswith(")"):
        return False
    parsed = parse(output + "]}")
    if parsed.dropped:
        return False
    *earlier, last = parsed.frames[-1].slots
    return last in earlier


def looping_token(tokens: Sequence[int], grammars: GrammarFactory) -> int:
    """The token that would begin or continue the fifth copy of the same elements in a row; -1 if none would.

    What is repeated has a whole `(name: filler)` in it: a text may well say "no no no no no".
    """
    for length in range(1, min(LONGEST_LOOP, len(tokens) // MAX_COPIES) + 1):
        if tokens[-1] != tokens[-1 - length]:
            continue
        copies = tokens[-MAX_COPIES * length :]
        if copies[length:] == copies[:-length]:
            said = grammars.decode(copies[:length])
            if "(" in said and ")" in said:
                return tokens[-length]
    return -1


def _capability_gates(
    model: "PreTrainedModel | PeftModel", instruction_ids: Tensor, capability_labels: tuple[float, ...] | None
) -> Tensor | None:
    """The gates (linears, 1, C) of an instruction (1, T); None for a model without our adapter."""
    tuner: Any = getattr(model, "base_model", None)
    if not hasattr(tuner, "compute_gates"):
        return None
    labels = None
    if capability_labels is not None:
        labels = torch.tensor([capability_labels], device=instruction_ids.device)
    mask = torch.ones_like(instruction_ids)
    gates: Tensor = tuner.compute_gates(instruction_ids, mask, mask.bool(), labels)
    return gates


def _fixed_gates(model: "PreTrainedModel | PeftModel", gates: Tensor | None) -> AbstractContextManager[None]:
    if gates is None:
        return nullcontext()
    context: AbstractContextManager[None] = model.base_model.fixed_gates(gates)
    return context
