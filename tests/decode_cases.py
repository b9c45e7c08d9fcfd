"""Schemas, texts and gold records that make life hard for a grammar."""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

import regex
import torch
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tiny_model import tokenizer, train_sentence_piece
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.language.encode import PromptEncoder
from ucuie.language.grammar import chunk_text
from ucuie.schema import FilledSlot, Filler, Frame, Record, Schema, Slot

PIECES = [
    *("Obama", "spoke", "the", "e", "x", "3mg", "U.S.", "'s", "Null", "N", "ull", "\\Null"),
    *("\\", "(", ")", "[", "]", "{", "}", ":", ", ", "-", '"', "/", "%", ".."),
    *(" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\x1c", "\u200b", "\x00"),
    *("中国人", "한국어", "ก็", "سلام", "e\u0301", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "ß", "Ω"),
    *("</s>", "<s>", "<unk>", "<0x41>", "\ufeff"),
]


class Language(NamedTuple):
    """A tokenizer with what is made of it."""

    tokenizer: PreTrainedTokenizerFast
    encoder: PromptEncoder
    grammars: GrammarFactory

    def encode(self, target: str) -> list[int]:
        return self.encoder.encode_target(target)[:-1]


@cache
def byte_level() -> Language:
    """A tokenizer of bytes whose model has a larger vocabulary."""
    tiny = tokenizer()
    return Language(tiny, PromptEncoder(tiny), GrammarFactory(tiny, len(tiny) + 13))


@cache
def sentence_piece() -> Language:
    llama = train_sentence_piece()
    return Language(llama, PromptEncoder(llama), GrammarFactory(llama))


def _joined(min_size: int, max_size: int) -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs"])
    pieces = st.lists(st.sampled_from(PIECES) | letters, min_size=min_size, max_size=max_size)
    return pieces.map("".join)


TEXTS = st.lists(_joined(1, 3), min_size=1, max_size=8).map(" ".join).filter(lambda text: bool(text.strip()))
NAMES = _joined(1, 3).map(str.strip).filter(bool)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    def slots() -> tuple[Slot, ...]:
        names = draw(st.lists(NAMES, max_size=3, unique=True))
        return tuple(Slot(name=name, required=draw(st.booleans())) for name in names)

    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    return Schema(frames=tuple(Frame(name=name, slots=slots()) for name in names))


def shows_its_ends(filler: str) -> bool:
    """Whether it neither begins nor ends blank, or with what shows nothing."""
    characters = regex.findall(r"\X", filler)
    hidden = regex.compile(r"(?V1)[\s\x1c-\x1f\p{Cc}\p{DI}\u2800\ufff9-\ufffb]")
    return not hidden.match(filler) and hidden.sub("", characters[-1]) != ""


@st.composite
def gold(draw: st.DrawFn, *, chunking: str) -> tuple[Schema, str, list[Record]]:
    """A schema, a text and records of that text: in whole words, or in any characters."""
    schema, text = draw(schemas()), draw(TEXTS)
    boundaries = [0]
    for chunk in chunk_text(text, chunking):
        boundaries.append(boundaries[-1] + len(chunk))
    spans = [(start, end) for start in boundaries for end in boundaries if start < end]
    if chunking == "words":
        spans = [(start, end) for start, end in spans if shows_its_ends(text[start:end])]
    if not spans:
        return schema, text, []

    def filler() -> Filler:
        start, end = draw(st.sampled_from(spans))
        return Filler(text=text[start:end], start=start, end=end)

    def record() -> Record:
        frame = draw(st.sampled_from(schema.frames))
        slots = []
        for slot in frame.slots:
            count = draw(st.integers(0, 2))
            slots += [FilledSlot(slot=slot.name, filler=filler()) for _ in range(count)]
        has_filler = not frame.slots or draw(st.booleans())
        return Record(frame=frame.name, filler=filler() if has_filler else None, slots=tuple(slots))

    return schema, text, [record() for _ in range(draw(st.integers(0, 4)))]


class StubModel(torch.nn.Module):
    """A few lines instead of a transformer: its hidden states are the tokens; it notes its forwards.

    Subclasses say what the logits (M, V) of tokens (M,) are.
    """

    _supports_attention_backend = True

    def __init__(self, context: int | None = None) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(_attn_implementation="sdpa", max_position_embeddings=context)
        self.steps = []
        """(tokens, positions) of each forward but those for instructions."""
        self.instructions = []

    def get_decoder(self) -> Self:
        return self

    def get_output_embeddings(self) -> Callable[[Tensor], Tensor]:
        return lambda hidden: self.logits(hidden[:, 0].long())

    def logits(self, tokens: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(
        self, input_ids: Tensor, position_ids: Tensor | None = None, past_key_values: Any = None, **_: object
    ) -> SimpleNamespace:
        if past_key_values is None:
            self.steps.append((input_ids[:, 0].tolist(), position_ids[:, 0].tolist()))
        else:
            states = torch.zeros(1, 1, input_ids.shape[1], 1)
            past_key_values.update(states, states, 0)
            self.instructions.append(input_ids[0].tolist())
        return SimpleNamespace(last_hidden_state=input_ids[..., None].float())
