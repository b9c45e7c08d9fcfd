"""SpERT JSON: a list of sentences with tokens, entities and relations between entity indices."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ucuie.data.draft import Draft, Fault, entity, tuple_record
from ucuie.data.readers.items import TokenOptions, read_items
from ucuie.data.tokens import join_tokens


class SpertOptions(TokenOptions):
    """Which annotation becomes records."""

    records: Literal["relations", "entities"] = "relations"


def read_spert(paths: Sequence[Path], options: SpertOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence, with its relations or its entities."""
    return read_items(paths, partial(_draft, options))


def _draft(options: SpertOptions, place: str, sentence: dict[str, Any]) -> Draft:
    joined = join_tokens(sentence["tokens"], options.spacing)
    text = joined.text
    entities = sentence["entities"]
    spans = [joined.span(item["start"], item["end"]) for item in entities]
    if options.records == "entities":
        found = [entity(item["type"], text, span) for item, span in zip(entities, spans, strict=True)]
        return Draft(place, text, tuple(found))
    return Draft(
        place,
        text,
        tuple(
            tuple_record(
                relation["type"],
                text,
                [("subject", spans[relation["head"]]), ("object", spans[relation["tail"]])],
            )
            for relation in sentence["relations"]
        ),
    )
