"""Extraction over HTTP: an API, and a playground page on top of it, both offline."""
