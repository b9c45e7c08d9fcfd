"""Extraction with a language model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, a cloud.

`extractor` is the public face. `windows` asks for a window of a text: `messages` words the question,
`constraints` finds out what the server obeys and holds the answer to it, `answers` reads it. `client` asks
the server, in a `session` of requests.
"""

from ucuie.extract.remote.extractor import RemoteExtractor
from ucuie.extract.remote.windows import NOT_ANSWERED

__all__ = ["NOT_ANSWERED", "RemoteExtractor"]
