"""Decoding: from a prompt to an output that is well-formed and grounded, with a score for every element.

`grammar` says what may be written, `gbnf` says it to engines elsewhere, `state` where an output stands in it,
`generate` lets a model write it, `confidence` scores what it wrote. Grammars are made without loading torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ucuie.decode.confidence import score_records as score_records
    from ucuie.decode.generate import Generator as Generator
    from ucuie.decode.grammar import Chunking as Chunking
    from ucuie.decode.grammar import build_grammar as build_grammar
    from ucuie.decode.grammar import chunk_text as chunk_text
    from ucuie.decode.requests import Choice as Choice
    from ucuie.decode.requests import Output as Output
    from ucuie.decode.requests import Request as Request
    from ucuie.decode.state import GrammarError as GrammarError
    from ucuie.decode.state import GrammarFactory as GrammarFactory
    from ucuie.decode.state import GrammarState as GrammarState
    from ucuie.decode.state import Mask as Mask
    from ucuie.decode.state import TargetError as TargetError
    from ucuie.decode.state import accepts as accepts
    from ucuie.decode.state import allowed_tokens as allowed_tokens
    from ucuie.decode.state import choices as choices
    from ucuie.decode.state import is_allowed as is_allowed

_MODULES = {
    "Choice": "requests",
    "Chunking": "grammar",
    "Generator": "generate",
    "GrammarError": "state",
    "GrammarFactory": "state",
    "GrammarState": "state",
    "Mask": "state",
    "Output": "requests",
    "Request": "requests",
    "TargetError": "state",
    "accepts": "state",
    "allowed_tokens": "state",
    "build_grammar": "grammar",
    "choices": "state",
    "chunk_text": "grammar",
    "is_allowed": "state",
    "score_records": "confidence",
}

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    """Imports what is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module 'ucuie.decode' has no attribute {name!r}")
    return getattr(import_module(f"ucuie.decode.{_MODULES[name]}"), name)
