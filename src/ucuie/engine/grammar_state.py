"""Where an output stands in its grammar while tokens are fed.

A `GrammarState` says which tokens are forced and which the grammar leaves to the model; `choices` asks it the
same for a gold target, for training on the decoder's own distribution. Knows tokenizers, no model.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import llguidance
import numpy as np
from numpy.typing import NDArray

from ucuie.errors import ModelError, UcuieError, show

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Mask = NDArray[np.int32]
"""Allowed tokens, packed: bit `token % 32` of word `token // 32`. Shape (ceil(V / 32),), or N of them."""

# The defaults end at 2,000 types. What bounds a grammar here is the model's context, which has to hold schema
# and text. Verbose messages quote the whole grammar, and with it the text.
_LIMITS = llguidance.LLParserLimits(
    max_items_in_row=10**6,
    step_max_items=10**7,
    initial_lexer_fuel=10**9,
    step_lexer_fuel=10**8,
    max_lexer_states=10**7,
    max_grammar_size=10**8,
    verbose_errors=False,
)


class GrammarError(UcuieError):
    """A grammar cannot be compiled, or its state was led into an error."""


class TargetError(GrammarError):
    """A target that the grammar does not accept: the first refused token, its text and that before it."""

    def __init__(self, position: int, token: str, before: str) -> None:
        super().__init__(position, token, before)
        self.position = position
        self.token = token
        self.before = before

    def __str__(self) -> str:
        return (
            f"the grammar does not allow token {self.position} {show(self.token)} after "
            f"{show(self.before[-60:])}; a span that begins or ends inside a word needs chunking='characters'"
        )


class GrammarFactory:
    """Compiles grammars for one tokenizer; building it takes about 0.1 s per 16,000 tokens.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        vocab_size: the width of the model's logits, where it is larger than the tokenizer's vocabulary.

    Raises:
        ModelError: the model has fewer tokens than its tokenizer, or this is neither a byte-level one nor
            one with bytes as fallback.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", vocab_size: int | None = None) -> None:
        self.vocab_size = len(tokenizer) if vocab_size is None else vocab_size
        if self.vocab_size < len(tokenizer):
            raise ModelError(
                f"the tokenizer has {len(tokenizer):,} tokens, the model only {self.vocab_size:,}; "
                "they do not belong together"
            )
        spelling = _without_special_spellings(tokenizer)
        try:
            self._ll_tokenizer = llguidance.LLTokenizer(
                spelling, n_vocab=self.vocab_size, eos_token=tokenizer.eos_token_id
            )
        except ValueError as error:
            raise ModelError(f"the tokenizer does not spell texts byte by byte: {error}") from error

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of an output; a character that is cut becomes U+FFFD."""
        text: str = self._ll_tokenizer.decode_str(list(tokens))
        return text

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes that a token stands for; a part of a character is possible."""
        spelling: bytes = self._ll_tokenizer.decode_bytes([token])
        return spelling

    @cached_property
    def begins_with_comma(self) -> NDArray[np.bool_]:
        """The tokens (V,) that can end a slot and lead to the next: `,` or `),`, whatever follows."""
        spellings = map(self.token_bytes, range(self.vocab_size))
        return np.array([spelling.startswith((b",", b"),")) for spelling in spellings])

    def start(self, grammar: str) -> "GrammarState":
        """The state before the first token of an output.

        Raises:
            GrammarError: the grammar does not compile.
        """
        return GrammarState(
            self._ll_tokenizer, llguidance.LLMatcher(self._ll_tokenizer, grammar, limits=_LIMITS)
        )


def _without_special_spellings(tokenizer: "PreTrainedTokenizerFast") -> str:
    """The tokenizer's JSON with no text that reads as a special or added token, as in `encode`.

    llguidance would force the token `</s>` where the name of a frame contains these characters. The tokens
    stay, since the grammar has to know that they are special, under names that no text contains.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    names = {token["content"]: f"\U0010fffe{token['id']}\U0010fffe" for token in state["added_tokens"]}
    for token in state["added_tokens"]:
        token.update(content=names[token["content"]], special=True, normalized=False)
    model = state["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): index for token, index in model["vocab"].items()}
    else:
        model["vocab"] = [(names.get(token, token), score) for token, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    return json.dumps(state | dict.fromkeys(("post_processor", "truncation", "padding")))


class GrammarState:
    """The place of an output in its grammar. `GrammarFactory.start` makes one."""

    def __init__(self, ll_tokenizer: Any, matcher: Any) -> None:
        self._ll_tokenizer = ll_tokenizer
        self._matcher = matcher
        self.num_words = -(-ll_tokenizer.vocab_size // 32)
        self._check()

    @property
    def is_stopped(self) -> bool:
        """The output is complete; nothing, not even an end-of-text token, may follow."""
        return bool(self._matcher.is_stopped())

    def mask(self) -> Mask:
        """The allowed next tokens."""
        mask = np.empty(self.num_words, dtype=np.int32)
        self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        self._check()
        return mask

    def allows(self, token: int) -> bool:
        """Tell whether the token may come next."""
        return int(self._matcher.validate_tokens([token])) == 1

    def consume(self, tokens: Sequence[int]) -> None:
        """Feed tokens.

        Raises:
            TargetError: the grammar does not allow one of them; the state is unchanged then.
        """
        num_consumed = self._matcher.try_consume_tokens(list(tokens))
        self._check()
        if num_consumed < len(tokens):
            self.rollback(num_consumed)
            raise self.refusal(tokens, num_consumed)

    def advance(self) -> tuple[list[int], Mask | None]:
        """Feed all tokens that can only come next.

        Returns:
            Those tokens, and the mask of the choice after them: at least two tokens, or None where the
            output is complete.

        Raises:
            GrammarError: the tokenizer cannot spell what must come next.
        """
        fed: list[int] = []
        while not self.is_stopped:
            # In canonical tokenisation; often none.
            forced: list[int] = self._matcher.compute_ff_tokens()
            self._check()
            if not forced:
                mask = self.mask()
                # Unsigned: of signed integers numpy counts the bits of the absolute value.
                if np.bitwise_count(mask.view(np.uint32)).sum() > 1:
                    return fed, mask
                forced = allowed_tokens(mask).tolist()
            if not forced or self._matcher.try_consume_tokens(forced) < len(forced):
                raise GrammarError("the tokenizer has no tokens for what must come next")
            self._check()
            fed += forced
        return fed, None

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens fed."""
        self._matcher.rollback(num_tokens)
        self._check()

    def copy(self) -> "GrammarState":
        """An independent state at the same point."""
        return GrammarState(self._ll_tokenizer, self._matcher.deep_copy())

    def respell(self, target: list[int], position: int, forced: list[int]) -> list[int]:
        """The same text with the forced tokens from `position` on; a cut target may end among them.

        Raises:
            TargetError: the text differs.
        """
        spelling = self._ll_tokenizer.decode_bytes
        wanted, given = spelling(forced), spelling(target[position:])
        if given.startswith(wanted):
            return [*target[:position], *forced, *self._ll_tokenizer.tokenize_bytes(given[len(wanted) :])]
        if wanted.startswith(given):
            fits = [len(spelling(forced[:count])) <= len(given) for count in range(1, len(forced) + 1)]
            return [*target[:position], *forced[: sum(fits)]]
        pairs = zip(forced, target[position:], strict=False)
        num_agreed = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        raise self.refusal(target, position + num_agreed)

    def _check(self) -> None:
        if self._matcher.is_error():
            raise GrammarError(self._matcher.get_error())

    def refusal(self, tokens: Sequence[int], position: int) -> TargetError:
        """The error that says that `tokens` are not accepted from `position` on."""
        decode = self._ll_tokenizer.decode_str
        return TargetError(position, decode([tokens[position]]), decode(list(tokens[:position])))


def is_allowed(mask: Mask, token: int) -> bool:
    """Tell whether a packed mask holds a token."""
    return bool(mask[token // 32] >> (token % 32) & 1)


def allowed_tokens(mask: Mask) -> NDArray[np.intp]:
    """The token ids in a packed mask, ascending."""
    return np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))


class Target(NamedTuple):
    """A target as the decoder writes it, and where it is not forced by the grammar.

    Args:
        tokens: the whole target's ids.
        positions: the N of them that the grammar leaves open, ascending.
        masks: what it allows at each, packed, (N, ceil(V / 32)).
    """

    tokens: list[int]
    positions: NDArray[np.intp]
    masks: Mask


def choices(target_ids: Sequence[int], state: GrammarState) -> Target:
    """The places where the grammar does not force a target, and the tokens that it allows there.

    A model that predicts `tokens[p]` at every position p returned writes exactly this target when it is
    decoded under the same grammar; all other tokens are fed without asking it. The tokens are those given
    unless the grammar forces a text in other ones: of two names that begin alike it forces the beginning,
    and `share` `holder` may become `share` `hold` `ers` in a whole name.

    Args:
        target_ids: the tokens of a linearised output, whole or cut at the end, without an end-of-text token.
        state: the fresh state of the output's grammar; it is used up.

    Raises:
        TargetError: the grammar does not accept the target.
    """
    target = list(target_ids)
    positions: list[int] = []
    masks: list[Mask] = []
    position = 0
    while True:
        forced, mask = state.advance()
        if target[position : position + len(forced)] != forced[: len(target) - position]:
            target = state.respell(target, position, forced)
        position = min(position + len(forced), len(target))
        if position == len(target) or mask is None:
            break
        token = target[position]
        if not is_allowed(mask, token):
            raise state.refusal(target, position)
        positions.append(position)
        masks.append(mask)
        state.consume([token])
        position += 1
    if position < len(target):
        raise state.refusal(target, position)
    packed = np.stack(masks) if masks else np.empty((0, state.num_words), dtype=np.int32)
    return Target(target, np.array(positions, dtype=np.intp), packed)
