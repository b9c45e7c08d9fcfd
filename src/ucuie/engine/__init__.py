"""The engine: from prompts to outputs that are well-formed and grounded, with a score for every element.

`generate` lets a model write, held to a grammar by `grammar_state`, one output after the other in the rows of
`writer`; `cache` keeps what was computed, `lean`, `ragged`, `fused` and `products` compute it in fewer
operations; `confidence` scores what was written, `explanation` says which experts wrote it.
"""
