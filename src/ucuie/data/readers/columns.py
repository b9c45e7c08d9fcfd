"""CoNLL-style columns: one token per line with its tag or tags, a blank line between sentences.

Reads IOB1, IOB2, BIOES, BILOU and BMES alike, tags in any column, several layers of tags (nested
entities), and sentences spread over parallel files with one label each.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, zip_longest
from pathlib import Path

from ucuie.data.draft import Draft, Fault, entity
from ucuie.data.readers.items import TokenOptions
from ucuie.data.sources import encoding_fault, read_lines
from ucuie.data.tokens import entities_of, join_tokens
from ucuie.errors import show
from ucuie.schema import Example, Span

_TAG = re.compile(r"O|[BIMEWSLU]-.+")


class ColumnOptions(TokenOptions):
    """The order and meaning of the columns.

    Args:
        token_column: index of the token; negative counts from the end.
        tag_columns: indices of the tags, one for each layer.
        separator: what stands between columns; None is any run of blanks or tabs, which also divides a line
            that does not hold the separator.
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


@dataclass(frozen=True)
class _Sentence:
    place: str
    tokens: list[str]
    layers: list[list[str]]


def read_columns(paths: Sequence[Path], options: ColumnOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence, its entities from all layers of tags."""
    files = [_sentences(path, options) for path in paths]
    if options.is_parallel:
        groups: Iterable[Sequence[_Sentence | Fault]] = zip_longest(
            *files, fillvalue=Fault(paths[0].name, "a parallel file has fewer sentences")
        )
    elif options.unites_repetitions:
        groups = (list(group) for _, group in groupby(chain(*files), key=_tokens))
    else:
        groups = ([sentence] for sentence in chain(*files))
    for group in groups:
        yield _united(group, options)


def _tokens(sentence: _Sentence | Fault) -> tuple[str, ...]:
    return () if isinstance(sentence, Fault) else tuple(sentence.tokens)


def _sentences(path: Path, options: ColumnOptions) -> Iterator[_Sentence | Fault]:
    """The sentences of a file; the last one ends with the file, blank line or not."""
    sentence = _Sentence(path.name, [], [])
    fault: Fault | None = None
    for number, line in (*read_lines(path), (0, "")):
        if line.strip():
            has_separator = options.separator is not None and options.separator in line
            columns = line.split(options.separator if has_separator else None)
            if not sentence.tokens and fault is None:
                sentence = _Sentence(f"{path.name} line {number}", [], [[] for _ in options.tag_columns])
            try:
                token, *tags = _columns(columns, options)
            except ValueError as error:
                fault = fault or Fault(f"{path.name} line {number}", str(error))
                continue
            if token != options.document_mark:
                sentence.tokens.append(token)
                for layer, tag in zip(sentence.layers, tags, strict=True):
                    layer.append(tag)
        elif fault is not None:
            yield fault
            sentence, fault = _Sentence(path.name, [], []), None
        elif sentence.tokens:
            yield sentence
            sentence = _Sentence(path.name, [], [])


def _columns(columns: Sequence[str], options: ColumnOptions) -> list[str]:
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
    layers: list[list[str]] = []
    for sentence in sentences:
        if isinstance(sentence, Fault):
            return sentence
        if _tokens(sentence) != _tokens(sentences[0]):
            return Fault(
                sentence.place, f"the tokens differ from the parallel sentence at {sentences[0].place}"
            )
        layers += sentence.layers
    assert isinstance(sentences[0], _Sentence)
    return _draft(sentences[0].place, sentences[0].tokens, layers, options)


def _draft(
    place: str, tokens: Sequence[str], layers: Iterable[Sequence[str]], options: ColumnOptions
) -> Draft | Fault:
    joined = join_tokens(tokens, options.spacing)
    if not joined.text:
        return Fault(place, "no token holds a character")
    records, changes = [], []
    for layer in layers:
        for label, (start, end) in decode_tags(layer):
            try:
                records.append(entity(label, joined.text, joined.span(start, end)))
            except ValueError:
                changes.append("entity without a character left out")
    return Draft(place, joined.text, tuple(records), changes=tuple(changes))


def decode_tags(tags: Iterable[str]) -> list[tuple[str, Span]]:
    """(label, token range) of each entity that a layer of tags marks.

    An inside tag that continues nothing of its label opens an entity, as in conlleval.
    """
    entities: list[tuple[str, Span]] = []
    label, start = "", 0
    index = -1
    for index, tag in enumerate(tags):
        prefix, _, tag_label = tag.partition("-")
        continues = prefix in ("I", "M", "E", "L") and tag_label == label
        if label and not continues:
            entities.append((label, (start, index)))
            label = ""
        if tag_label and not continues:
            label, start = tag_label, index
        if label and prefix in ("E", "L", "S", "U"):
            entities.append((label, (start, index + 1)))
            label = ""
    if label:
        entities.append((label, (start, index + 1)))
    return entities


def encode_tags(num_tokens: int, entities: Iterable[tuple[str, Span]]) -> list[str]:
    """IOB2 tags for entities that do not overlap; of overlapping ones the first stays."""
    tags = ["O"] * num_tokens
    for label, (start, end) in entities:
        if all(tag == "O" for tag in tags[start:end]):
            tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return tags


def write_columns(example: Example) -> tuple[str, list[str]]:
    """One word and its IOB2 tag in a line, ended by a blank line, and what these lines cannot hold.

    Blanks between words are not kept; of entities that overlap the first stays.
    """
    words, entities, lost = entities_of(example)
    tags = encode_tags(len(words), entities)
    lost += ["entity inside or across another"] * (len(entities) - sum(tag.startswith("B-") for tag in tags))
    lines = [f"{example.text[slice(*word)]}\t{tag}\n" for word, tag in zip(words, tags, strict=True)]
    return "".join(lines) + "\n", lost
