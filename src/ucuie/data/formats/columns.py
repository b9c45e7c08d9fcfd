"""CoNLL columns as a format users write: one word and its IOB2 tag in a line."""

from ucuie.data.formats.corpora import NOT_AN_ENTITY, word_range, words_of
from ucuie.data.readers.columns import encode_tags
from ucuie.schema import Example


def write_columns(example: Example) -> tuple[str, list[str]]:
    """The lines of the example, ended by a blank one, and what they cannot hold.

    Blanks between words are not kept; of entities that overlap the first stays.
    """
    words = words_of(example)
    entities = []
    lost = []
    for record in example.records:
        if record.filler is None or record.slots:
            lost.append(NOT_AN_ENTITY)
        else:
            entities.append((record.frame, word_range(words, record.filler)))
    tags = encode_tags(len(words), entities)
    lost += ["entity inside or across another"] * (len(entities) - sum(tag.startswith("B-") for tag in tags))
    lines = [f"{example.text[slice(*word)]}\t{tag}\n" for word, tag in zip(words, tags, strict=True)]
    return "".join(lines) + "\n", lost
