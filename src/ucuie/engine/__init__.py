"""The engine: from prompts to outputs that are well-formed and grounded, with a score for every element.

`generate` lets a model write, held to a grammar by `grammar_state`, one output after the other in the rows of
`writer`; `forward` asks the model, by `lean`, `ragged`, `fused` and `products` in few operations, and
`cache` keeps what was computed; `confidence` scores what was written, `explanation` says by which experts.
"""
