"""CoNLL-style columns: one token per line with its tag or tags, a blank line between sentences.

Reads IOB1, IOB2, BIOES, BILOU and BMES alike, tags in any column, several layers of tags (nested
entities), and sentences spread over parallel files with one label each.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, zip_longest
from pathlib import Path
from typing import NamedTuple

from ucuie.data.draft import Draft, Fault, Readings, entity
from ucuie.data.readers.items import TokenOptions
from ucuie.data.sources import encoding_fault, read_blocks
from ucuie.data.tokens import entities_of, join_tokens
from ucuie.errors import show
from ucuie.schema import Example, Span

_TAG = re.compile(r"O|[BIMEWSLU]-.+")
_TAG_BREAK = re.compile(r"[\t\n\r]")
_BLANKS = re.compile("[ \t]+")


class ColumnOptions(TokenOptions):
    """The order and meaning of the columns.

    Args:
        token_column: index of the token; negative counts from the end.
        tag_columns: indices of the tags, one for each layer.
        separator: what stands between columns; None is any run of blanks (U+0020) or tabs, which also divides
            a line that does not hold the separator.
        document_mark: a token whose line is left out (`-DOCSTART-`); None keeps every line.
        is_parallel: the files hold the same sentences with different tags; their entities are united.
        unites_repetitions: a sentence stands once for each layer of tags, one after the other.
    """

    token_column: int = 0
    tag_columns: tuple[int, ...] = (-1,)
    separator: str | None = "\t"
    document_mark: str | None = "-DOCSTART-"
    is_parallel: bool = False
    unites_repetitions: bool = False


class _Sentence(NamedTuple):
    place: str
    tokens: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]


def read_columns(paths: Sequence[Path], options: ColumnOptions) -> Readings:
    """A draft for each sentence, its entities from all layers of tags."""
    files = [_sentences(path, options) for path in paths]
    groups: Iterable[Sequence[_Sentence | Fault]]
    if options.is_parallel:
        absent = Fault(paths[0].name, "a parallel file has fewer sentences")
        groups = zip_longest(*files, fillvalue=absent)
    elif options.unites_repetitions:
        groups = (list(group) for _, group in groupby(chain(*files), key=_tokens))
    else:
        groups = ([sentence] for sentence in chain(*files))
    for group in groups:
        yield _united(group, options)


def _tokens(sentence: _Sentence | Fault) -> tuple[str, ...]:
    return () if isinstance(sentence, Fault) else sentence.tokens


def _sentences(path: Path, options: ColumnOptions) -> Iterator[_Sentence | Fault]:
    width = 0
    for block in read_blocks(path):
        rows = []
        try:
            for place, line in block:
                columns = _columns_of(line, options.separator)
                token, *tags = _token_and_tags(columns, options)
                if token == options.document_mark:
                    continue
                width = width or len(columns)
                if len(columns) != width:
                    raise ValueError(f"{len(columns)} columns in {show(line)}, {width} in those before")
                rows.append((place, token, *tags))
        except ValueError as error:
            yield Fault(place, str(error))
            continue
        if rows:
            places, tokens, *layers = zip(*rows, strict=True)
            yield _Sentence(places[0], tokens, tuple(layers))


def _columns_of(line: str, separator: str | None) -> list[str]:
    if "\r" in line:
        raise ValueError(f"{show(line)} holds a carriage return; lines end with LF or CR LF")
    if separator is not None and separator in line:
        return line.split(separator)
    return _BLANKS.split(line.strip(" \t"))


def _token_and_tags(columns: Sequence[str], options: ColumnOptions) -> list[str]:
    """The token and its tags; a ValueError says which column is missing, or what is no tag."""
    places = (options.token_column, *options.tag_columns)
    indices = [place if place >= 0 else len(columns) + place for place in places]
    if len(set(indices)) < len(places) or not all(0 <= index < len(columns) for index in indices):
        count = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
        raise ValueError(f"only {count} in {show((options.separator or ' ').join(columns))}")
    token, *tags = (columns[index] for index in indices)
    for tag in tags:
        if token != options.document_mark and not _TAG.fullmatch(tag):
            raise ValueError(
                encoding_fault(tag) or f"{show(tag)} is not a tag such as O, B-person or I-person"
            )
    return [token, *tags]


def _united(sentences: Sequence[_Sentence | Fault], options: ColumnOptions) -> Draft | Fault:
    """One draft for sentences with the same tokens, with the entities of all of them."""
    layers: list[tuple[str, ...]] = []
    first = sentences[0]
    for sentence in sentences:
        if isinstance(sentence, Fault):
            return sentence
        if sentence.tokens != _tokens(first):
            return Fault(sentence.place, f"the tokens differ from the parallel sentence at {first.place}")
        layers += sentence.layers
    joined = join_tokens(_tokens(first), options.spacing)
    if not joined.text:
        return Fault(first.place, "no token holds a character")
    records, changes = [], []
    for label, (start, end) in chain.from_iterable(map(decode_tags, layers)):
        try:
            records.append(entity(label, joined.text, joined.span(start, end)))
        except ValueError:
            changes.append("entity without a character left out")
    return Draft(first.place, joined.text, tuple(records), changes=tuple(changes))


def decode_tags(tags: Iterable[str]) -> list[tuple[str, Span]]:
    """(label, token range) of each entity that a layer of tags marks.

    An inside tag that continues nothing of its label opens an entity, as in conlleval.
    """
    entities: list[tuple[str, Span]] = []
    label, start = "", 0
    for index, tag in enumerate((*tags, "O")):
        prefix, _, tag_label = tag.partition("-")
        if label and not (prefix in ("I", "M", "E", "L") and tag_label == label):
            entities.append((label, (start, index)))
            label = ""
        if tag_label and not label:
            label, start = tag_label, index
        if label and prefix in ("E", "L", "S", "U"):
            entities.append((label, (start, index + 1)))
            label = ""
    return entities


def write_columns(example: Example) -> tuple[str, list[str]]:
    """One word and its IOB2 tag in a line, ended by a blank line, and what these lines cannot hold.

    Blanks between words are not kept; of entities that overlap the first stays.
    """
    words, entities, lost = entities_of(example)
    tags = ["O"] * len(words)
    for label, (start, end) in entities:
        if any(tag != "O" for tag in tags[start:end]):
            lost.append("entity inside or across another")
        else:
            tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    lost += ["name written otherwise"] * len({label for label, _ in entities if _TAG_BREAK.search(label)})
    words_and_tags = ((example.text[slice(*word)], tag) for word, tag in zip(words, tags, strict=True))
    lines = [f"{word}\t{_TAG_BREAK.sub(' ', tag)}\n" for word, tag in words_and_tags]
    return "".join(lines) + "\n", lost
