"""Extraction with a language model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, a cloud.

`extractor` is the public face. `documents` takes a text apart and puts what was found together, `windows`
asks for a part of it: `messages` words the question, `constraints` says what its answer is held to, `answers`
reads it. `probe` finds out what a server can do; `client` asks it, in a `session` of requests.
"""

from ucuie.extract.remote.extractor import RemoteExtractor
from ucuie.extract.remote.windows import NOT_ANSWERED

__all__ = ["NOT_ANSWERED", "RemoteExtractor"]
