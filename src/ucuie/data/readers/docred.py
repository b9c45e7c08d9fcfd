"""DocRED JSON: documents whose entities have several mentions and whose relations join entities.

A relation becomes one record, between the two mentions that stand nearest to each other.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, product
from pathlib import Path
from typing import Any

from ucuie.data.draft import Draft, Fault, tuple_record
from ucuie.data.readers.items import TokenOptions, read_items
from ucuie.data.tokens import join_tokens
from ucuie.schema import Span


def read_docred(paths: Sequence[Path], options: TokenOptions) -> Iterator[Draft | Fault]:
    """A draft for each document, all its sentences one text."""

    def draft(place: str, document: dict[str, Any]) -> Draft:
        sentences = document["sents"]
        joined = join_tokens(list(chain.from_iterable(sentences)), options.spacing)
        starts = [0, *accumulate(map(len, sentences))]
        entities = [
            [
                joined.span(
                    starts[mention["sent_id"]] + mention["pos"][0],
                    starts[mention["sent_id"]] + mention["pos"][1],
                )
                for mention in mentions
            ]
            for mentions in document["vertexSet"]
        ]
        records = []
        for label in document["labels"]:
            subject, object_ = _nearest(entities[label["h"]], entities[label["t"]])
            records.append(tuple_record(label["r"], joined.text, [("subject", subject), ("object", object_)]))
        return Draft(place, joined.text, tuple(records))

    return read_items(paths, draft)


def _nearest(subjects: Sequence[Span], objects: Sequence[Span]) -> tuple[Span, Span]:
    return min(product(subjects, objects), key=lambda pair: (abs(pair[0][0] - pair[1][0]), pair))
