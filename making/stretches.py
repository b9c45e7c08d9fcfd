"""The beginnings of documents as short texts, for sets that annotate whole documents."""

from dataclasses import replace

from ucuie.language.windows import sentence_ends
from ucuie.schema import Example


def first_stretch(example: Example, max_words: int) -> Example:
    """The first sentences of a document, at most `max_words` unless the first is longer, and their records.

    Only the beginning: a relation of two entities is annotated once, mostly at their first mentions, so that
    later sentences have relations that no record shows. Records that reach further are left out, none is cut.
    """
    end = 0
    for one in sentence_ends(example.text):
        if end and len(example.text[:one].split()) > max_words:
            break
        end = one
    text = example.text[:end].rstrip()
    records = tuple(
        record for record in example.records if all(filler.end <= len(text) for filler in record.fillers())
    )
    return replace(example, text=text, records=records)
