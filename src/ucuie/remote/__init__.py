"""Extraction with a language model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, a cloud.

`client` asks the server, `constraints` finds out what it can be held to, `messages` words the question,
`answers` reads what comes back, `extractor` puts them together.
"""

from ucuie.remote.constraints import CONSTRAINTS, Constraint
from ucuie.remote.extractor import NOT_ANSWERED, RemoteExtractor

__all__ = ["CONSTRAINTS", "NOT_ANSWERED", "Constraint", "RemoteExtractor"]
