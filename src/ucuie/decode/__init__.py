"""Decoding: from a prompt to well-formed, grounded records, each with a confidence.

`grammar` says what may be written, `generate` lets the model write it, `confidence` scores it.
"""
