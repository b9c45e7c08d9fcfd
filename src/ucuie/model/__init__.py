"""Models on disk: where they are, what is in a folder, how it becomes a model again.

`source` finds one, `folder` loads it, `saving` writes it; `info`, `card` and `calibration` are what a folder
holds; `backbone` and `known_backbones` are the language model underneath, which `package_index` fetches into
the user's cache; `hub` sends and fetches whole folders.
"""
