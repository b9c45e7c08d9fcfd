"""What the model may write: a grammar per (schema, text), and its state while tokens are fed.

The grammar accepts the linearised records whose types come from the schema and whose fillers are
pieces of the text, and nothing else. A `GrammarState` says which tokens are forced and which the grammar
leaves to the model; `choices` asks it the same for a gold target, for training on the decoder's own
distribution. Nothing here knows the model, gold records or where in the text a filler stands.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import llguidance
import numpy as np
from numpy.typing import NDArray

from ucuie.errors import ModelError, TextError, UcuieError, show
from ucuie.linearize import NULL, escape_filler, escape_name
from ucuie.schema import Capability, Record, Schema, Slot, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Chunking = Literal["words", "characters"]
"""Where a filler may begin and end: at word boundaries, or at any character."""

Mask = NDArray[np.int32]
"""Allowed tokens, packed: bit `token % 32` of word `token // 32`. Shape (ceil(V / 32),), or N of them."""

MAX_UNIQUE_FRAMES = 64
"""llguidance counts in 64 bits; a judging schema with more frames may repeat them."""

# Each character alone: Thai to Myanmar, Khmer, Chinese and Japanese, Korean (particles are glued to words),
# everything astral.
_ALONE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f"
    r"\U00010000-\U0010ffff"
)
_LETTERS = re.compile(rf"[^\W\d_{_ALONE}]+")
_WORD_CHUNK = re.compile(rf"{_LETTERS.pattern}|[^\W\D{_ALONE}]+| +|.", re.DOTALL)
# Exactly the characters that str.strip() keeps: Rust's \s lacks the four separators.
_NOT_SPACE = r"[^\s\x1c-\x1f]"
_HEADER = "%llguidance {}"


class GrammarError(UcuieError):
    """A grammar cannot be compiled, or its state was led into an error."""


class TargetError(GrammarError):
    """A target that the grammar does not accept.

    Args:
        position: the index of the first refused token.
        token: its text.
        before: the target's text before it.
    """

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


def build_grammar(
    schema: Schema,
    text: str,
    task: Task | Capability,
    *,
    elements: Sequence[Record] | None = None,
    chunking: Chunking = "words",
) -> str:
    """The lark grammar of every output that is right in form for this schema and grounded in this text.

    Frames without slots have a span as filler; frames with slots have a span or Null. Slots come in schema
    order, each any number of times, a required one at least once (Null where nothing fills it).
    The task "judging" names types only: each frame at most once, in any order, every filler Null.

    Args:
        schema: the frames and slots to choose from.
        text: what fillers are copied from.
        task: judging needs its own grammar; all others write the same language.
        elements: where given, only their strings may fill a frame or slot (the task "associating").
        chunking: "words" forces more tokens; "characters" also accepts spans inside words and spans that
            begin or end with white space.

    Raises:
        TextError: the text is blank.
    """
    if not text.strip():
        raise TextError(f"the text {show(text)} is empty; there is nothing to extract from")
    if task == "judging":
        return "\n".join((_HEADER, *_judging_rules(schema)))
    if elements is None:
        return "\n".join((_HEADER, *_extraction_rules(schema), *_span_rules(text, chunking)))
    strings = dict.fromkeys(filler.text for element in elements for filler in element.fillers())
    if strings:
        fillers = " | ".join(_literal(escape_filler(string)) for string in strings)
        return "\n".join((_HEADER, *_extraction_rules(schema), f"FILLER: {fillers}"))
    return "\n".join((_HEADER, 'start: "{}"'))


def chunk_text(text: str, chunking: Chunking) -> list[str]:
    """The text in pieces; a filler begins and ends where a piece does.

    Words are runs of letters, of digits or of blanks; every other character stands alone, and so does each
    character of scripts without blanks between words. Combining marks stay with what they combine with.
    Measured on 49,000 gold spans that were annotated by character (ADE, SemEval, PHEE, DuIE, DuEE): fewer
    than 1 in 1,000 begin or end inside a word.
    """
    if chunking == "characters":
        return list(text)
    pieces = _WORD_CHUNK.findall(text)
    if text.isascii():
        return pieces
    chunks = pieces[:1]
    for piece in pieces[1:]:
        if _belong_together(chunks[-1], piece):
            chunks[-1] += piece
        else:
            chunks.append(piece)
    return chunks


def _belong_together(chunk: str, piece: str) -> bool:
    if _is_mark(piece[0]):
        return not chunk[-1].isspace()
    return _is_mark(chunk[-1]) and _LETTERS.match(piece) is not None


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


@lru_cache(maxsize=256)
def _extraction_rules(schema: Schema) -> tuple[str, ...]:
    rules = [
        'start: "{" ( frame ( ", " frame )* )? "}"',
        "frame: " + " | ".join(f"frame_{index}" for index in range(len(schema.frames))),
    ]
    if any(frame.slots for frame in schema.frames):
        rules.append(f'null_or_filler: "{NULL}" | FILLER')
    names_of_slots: dict[tuple[Slot, ...], str] = {}
    for index, frame in enumerate(schema.frames):
        opening = _literal(f"({escape_name(frame.name)}: ")
        if not frame.slots:
            rules.append(f'frame_{index}: {opening} FILLER "): []"')
            continue
        if frame.slots not in names_of_slots:
            name = names_of_slots[frame.slots] = f"slots_{len(names_of_slots)}"
            rules += _ordered_slots(name, [_slot_rule(slot) for slot in frame.slots])
        rules.append(f'frame_{index}: {opening} null_or_filler "): [" {names_of_slots[frame.slots]} "]"')
    return tuple(rules)


def _slot_rule(slot: Slot) -> tuple[str, bool]:
    """What one slot may be written as, commas between repetitions included; is it required?"""
    opening = _literal(f"({escape_name(slot.name)}: ")
    pair = f'{opening} FILLER ")"'
    many = f'{pair} ( ", " {pair} )*'
    if not slot.required:
        return many, False
    # The opening apart from Null: the lexer is greedy, one literal must not begin another.
    return f'{opening} "{NULL})" | {many}', True


@lru_cache(maxsize=256)
def _judging_rules(schema: Schema) -> tuple[str, ...]:
    rules = []
    for index, frame in enumerate(schema.frames):
        opening = f"({escape_name(frame.name)}: {NULL}): ["
        if not frame.slots:
            rules.append(f"frame_{index}: {_literal(opening + ']')}")
            continue
        pairs = [(_literal(f"({escape_name(slot.name)}: {NULL})"), False) for slot in frame.slots]
        rules += _ordered_slots(f"slots_{index}", pairs)
        rules.append(f'frame_{index}: {_literal(opening)} slots_{index} "]"')

    num_frames = len(schema.frames)
    if num_frames > MAX_UNIQUE_FRAMES:
        frames = " | ".join(f"frame_{index}" for index in range(num_frames))
        return ('start: "{" ( frame ( ", " frame )* )? "}"', f"frame: {frames}", *rules)
    unused = " | ".join(
        f"frame_{index} more::set_bit({index}) %if bit_clear({index})" for index in range(num_frames)
    )
    return (
        'start: "{" unused::0x0 "}" | "{}"',
        f"unused::_: {unused}",
        f'more::_: "" | ", " unused::_ %if not(is_ones([0:{num_frames}]))',
        *rules,
    )


def _ordered_slots(name: str, slots: Sequence[tuple[str, bool]]) -> Iterator[str]:
    """Rules for the slots of a frame in their order, each left out unless required, with commas between.

    `{name}_{i}` is slot i, `{name}_from_{i}` a list whose first entry is slot i or a later one, and
    `{name}_after_{i}` what may follow slot i.
    """
    is_optional = not any(is_required for _, is_required in slots)
    yield f"{name}: {name}_from_0" + (' | ""' if is_optional else "")
    last = len(slots) - 1
    for index, (rule, is_required) in enumerate(slots):
        yield f"{name}_{index}: {rule}"
        start_later = "" if is_required or index == last else f" | {name}_from_{index + 1}"
        yield f"{name}_from_{index}: {name}_{index} {name}_after_{index}{start_later}"
        if index > 0:
            skip = "" if is_required else f" | {name}_after_{index}"
            yield f'{name}_after_{index - 1}: ", " {name}_{index} {name}_after_{index}{skip}'
    yield f'{name}_after_{last}: ""'


def _span_rules(text: str, chunking: Chunking) -> Iterator[str]:
    """FILLER: any run of chunks of the text, escaped."""
    # Only a filler that is "Null" as a whole needs its own spelling, not a chunk of a longer one.
    escaped = [chunk if chunk == NULL else escape_filler(chunk) for chunk in chunk_text(text, chunking)]
    yield f'SPAN: %regex {{"substring_chunks": {json.dumps(escaped)}}}'
    edges = f"/{_NOT_SPACE}((?s:.*){_NOT_SPACE})?/" if chunking == "words" else "/(?s:.+)/"
    if NULL in text:
        yield f"FILLER: ( SPAN & {edges} & ~/{NULL}/ ) | {_literal(escape_filler(NULL))}"
    else:
        yield f"FILLER: SPAN & {edges}"


def _literal(string: str) -> str:
    return json.dumps(string).replace("\x7f", r"\u007f")


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
    """Where an output stands in its grammar. `GrammarFactory.start` makes one."""

    def __init__(self, ll_tokenizer: Any, matcher: Any) -> None:
        self._ll_tokenizer = ll_tokenizer
        self._matcher = matcher
        self.num_words = -(-ll_tokenizer.vocab_size // 32)
        self._check()

    @property
    def is_stopped(self) -> bool:
        """The output is complete; nothing, not even an end-of-text token, may follow."""
        return bool(self._matcher.is_stopped())

    def forced_tokens(self) -> list[int]:
        """The tokens whose bytes can only come next, in canonical tokenisation; often none."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        self._check()
        return tokens

    def mask(self) -> Mask:
        """The allowed next tokens."""
        mask = np.empty(self.num_words, dtype=np.int32)
        self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        self._check()
        return mask

    def allows(self, token: int) -> bool:
        """Whether the token may come next."""
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
            forced = self.forced_tokens()
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
    """Whether a packed mask holds a token."""
    return bool(mask[token // 32] >> (token % 32) & 1)


def allowed_tokens(mask: Mask) -> NDArray[np.intp]:
    """The token ids in a packed mask, ascending."""
    return np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))


class Target(NamedTuple):
    """A target as the decoder writes it, and where it is not forced by the grammar.

    Args:
        tokens: of the whole target.
        positions: the N of them that the grammar leaves open, ascending.
        masks: what it allows at each, packed, (N, ceil(V / 32)).
    """

    tokens: list[int]
    positions: NDArray[np.intp]
    masks: Mask


def choices(target_ids: Sequence[int], state: GrammarState) -> Target:
    """Where a target is not forced by the grammar, and what the grammar allows there.

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


def accepts(target_ids: Sequence[int], state: GrammarState) -> bool:
    """Whether the grammar accepts a whole target; the state stays as it is."""
    state = state.copy()
    try:
        state.consume(target_ids)
    except TargetError:
        return False
    return state.is_stopped
