"""Extraction with a language model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, a cloud.

`extractor` is the public face: `messages` words the question about a window of a text, `constraints` finds
out what the server obeys and holds the answer to it, `answers` reads it. `client` asks the server, in a
`session` of requests.
"""

from ucuie.extract.remote.extractor import NOT_ANSWERED, RemoteExtractor

__all__ = ["NOT_ANSWERED", "RemoteExtractor"]
