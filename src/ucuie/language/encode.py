r"""Prompts as token ids, for the tokenizer of any backbone.

A training sequence is I, X, Y: the instruction (`pool`), the text and the target (`linearize`).

    <s>Find all entities of these types: {person, city}\nText:| Ada was in Turin.\n|{(person: Ada): []}</s>

The three parts (divided by `|` here) are tokenised apart and joined, so the ids of I are the same whatever
follows, and its cache and gates can be kept. The blank before the text makes its first word read like any
other. The tokenizer's special tokens stand only where this module puts them: "</s>" in a text is four
harmless characters. Nothing is truncated here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from ucuie.errors import ModelError, show
from ucuie.language.linearize import linearize
from ucuie.language.pool import InstructionPool, InstructionTask, build_instruction
from ucuie.schema import Example, Frame, Record, Schema
from ucuie.schema.model import check_encodable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class EncodedExample:
    """The token ids of I, X and Y; their concatenation is what the model reads in training."""

    instruction_ids: list[int]
    text_ids: list[int]
    target_ids: list[int]


class PromptEncoder:
    """Turns instructions, texts and targets into token ids.

    It reads with its own copy of the tokenizer, in which no special or added token is known and which
    sets no blank before the first word. SentencePiece tokenizers (Llama 2) do set one before everything
    they are given; the parts of a prompt continue each other, so only the instruction gets it. Every method
    raises a TextError for what holds a lone surrogate.

    Args:
        tokenizer: a fast tokenizer with an end-of-sequence token; it is not changed.
        pool: gives the default wordings; the one that comes with the package if None.

    Raises:
        ModelError: the tokenizer is not a fast one, has no end-of-sequence token, or would turn the
            spelling of a special token in a text into that token.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", *, pool: InstructionPool | None = None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(f"{type(tokenizer).__name__} is not a fast tokenizer; it needs a tokenizer.json")
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end-of-sequence token; set tokenizer.eos_token")
        self._pool = InstructionPool.load() if pool is None else pool
        self._bos_ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self._eos_ids = [tokenizer.eos_token_id]
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        plain_state = _plain(state)
        sets_first_blank = any(plain_state[part] != state[part] for part in _PARTS_THAT_SET_BLANKS)
        self._first_blank = " " if sets_first_blank else ""
        self._backend = Tokenizer.from_str(json.dumps(plain_state))
        self._check_special_tokens(tokenizer)

    def encode_instruction(
        self, task: InstructionTask, schema: Schema, wording: str | None = None
    ) -> list[int]:
        """The beginning-of-sequence token, if the tokenizer has one, and I.

        The wording is the task's default if None.

        Raises:
            ConfigError: the task is unknown or the wording unusable.
        """
        instruction = build_instruction(self._pool.default(task) if wording is None else wording, schema)
        return self._bos_ids + self._encode(self._first_blank + instruction, "the instruction")

    def encode_text(self, text: str, elements: Sequence[Record] | None = None) -> list[int]:
        """X: the text and, for the associating capability, the located spans as records without slots."""
        lines = f" {text}\n"
        if elements is not None:
            lines += f"Elements: {_linearize_elements(elements)}\n"
        return self._encode(lines, "the text")

    def token_starts(self, text: str) -> list[int]:
        """The starts of the tokens of a text that stands alone, in code points, ascending."""
        check_encodable(text, "the text")
        return [start for start, _ in self._backend.encode(text, add_special_tokens=False).offsets]

    def encode_target(self, target: str) -> list[int]:
        """Y and the end-of-sequence token."""
        return self._encode(target, "the target") + self._eos_ids

    def encode_example(self, example: Example, wording: str | None = None) -> EncodedExample:
        """The three parts of a training example.

        Raises:
            ConfigError: the wording is unusable.
        """
        return EncodedExample(
            self.encode_instruction(example.task, example.schema, wording),
            self.encode_text(example.text, example.elements),
            self.encode_target(linearize(example.records, example.schema)),
        )

    def _encode(self, text: str, what: str) -> list[int]:
        check_encodable(text, what)
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def _check_special_tokens(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        # The unknown token is a tokenizer's right answer to what it cannot spell.
        special_ids = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        for token in tokenizer.all_special_tokens:
            ids = self._encode(token, "a token") + self.encode_text(token)
            if special_ids.intersection(ids):
                raise ModelError(
                    f"the tokenizer reads {show(token)} in a text as its special token, so any text could "
                    "end the prompt; use a tokenizer whose model does not contain its special tokens"
                )


def _linearize_elements(elements: Sequence[Record]) -> str:
    names = dict.fromkeys(element.frame for element in elements)
    if not names:
        return "{}"
    return linearize(elements, Schema(frames=tuple(Frame(name=name) for name in names)))


_PARTS_THAT_SET_BLANKS = ("normalizer", "pre_tokenizer")


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's JSON without all that treats some text or the text's first word differently."""
    off = dict.fromkeys(("post_processor", "truncation", "padding"))
    return (
        state | off | {"added_tokens": []} | {part: _no_blank(state[part]) for part in _PARTS_THAT_SET_BLANKS}
    )


def _no_blank(part: Any) -> Any:
    """A part of a tokenizer's JSON without the steps and settings that put a blank before every text."""
    if isinstance(part, list):
        return [_no_blank(step) for step in part if not _is_prepend(step)]
    if not isinstance(part, dict):
        return part
    if _is_prepend(part):
        return None
    off = {"prepend_scheme": "never", "add_prefix_space": False}
    return {key: off.get(key, _no_blank(value)) for key, value in part.items()}


def _is_prepend(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "Prepend"
