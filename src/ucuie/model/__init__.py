"""Models on disk: where they are, what is in a folder, how it becomes a model again.

`source` finds one, `folder` loads it, `saving` writes it; `info`, `card`, `calibration` and `storage` are
what a folder holds; `backbone`, `gguf_files` and `known_backbones` are the language model underneath, which
`package_index` fetches into the user's `cache`; `hub` sends and fetches whole folders.
"""
