"""Decoding: from a prompt to an output that is well-formed and grounded, with a score for every element.

`grammar` says what may be written, `state` where an output stands in it, `generate` lets a model write it,
`confidence` scores what it wrote.
"""

from ucuie.decode.confidence import score_records
from ucuie.decode.generate import Generator
from ucuie.decode.grammar import Chunking, build_grammar, chunk_text
from ucuie.decode.requests import Choice, Output, Request
from ucuie.decode.state import (
    GrammarError,
    GrammarFactory,
    GrammarState,
    Mask,
    TargetError,
    accepts,
    allowed_tokens,
    choices,
    is_allowed,
)

__all__ = [
    "Choice",
    "Chunking",
    "Generator",
    "GrammarError",
    "GrammarFactory",
    "GrammarState",
    "Mask",
    "Output",
    "Request",
    "TargetError",
    "accepts",
    "allowed_tokens",
    "build_grammar",
    "choices",
    "chunk_text",
    "is_allowed",
    "score_records",
]
