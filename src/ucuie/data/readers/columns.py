"""CoNLL-style columns: one token per line with its tag or tags, a blank line between sentences.

Reads IOB1, IOB2, BIOES, BILOU and BMES alike, tags in any column, several layers of tags (nested
entities), and sentences spread over parallel files with one label each.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ucuie.data.draft import Draft, Fault, entity
from ucuie.data.sources import read_lines
from ucuie.data.tokens import Spacing, join_tokens
from ucuie.schema import Span


class ColumnOptions(BaseModel):
    """How the columns stand.

    Args:
        token_column: index of the token; negative counts from the end.
        tag_columns: indices of the tags, one for each layer.
        separator: what stands between columns; None is any run of blanks or tabs.
        spacing: how tokens become text.
        document_mark: a token whose line is left out (`-DOCSTART-`); None keeps every line.
        is_parallel: the files hold the same sentences with different tags; their entities are united.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_column: int = 0
    tag_columns: tuple[int, ...] = (-1,)
    separator: str | None = "\t"
    spacing: Spacing = "natural"
    document_mark: str | None = "-DOCSTART-"
    is_parallel: bool = False


@dataclass(frozen=True)
class _Sentence:
    place: str
    tokens: list[str]
    layers: list[list[str]]


def read_columns(paths: Sequence[Path], options: ColumnOptions) -> Iterator[Draft | Fault]:
    """A draft for each sentence, its entities from all layers of tags."""
    if options.is_parallel:
        files = [list(_sentences(path, options)) for path in paths]
        if len({len(sentences) for sentences in files}) > 1:
            yield Fault(paths[0].name, f"parallel files differ in length: {[len(file) for file in files]}")
            return
        for sentences in zip(*files, strict=True):
            yield _united(sentences, options)
        return
    for path in paths:
        for sentence in _sentences(path, options):
            yield sentence if isinstance(sentence, Fault) else _draft(sentence, options)


def _sentences(path: Path, options: ColumnOptions) -> Iterator[_Sentence | Fault]:
    """The sentences of a file; the last one ends with the file, blank line or not."""
    sentence = _Sentence(path.name, [], [])
    fault: Fault | None = None
    for number, line in (*read_lines(path), (0, "")):
        if line.strip():
            columns = line.split(options.separator)
            if not sentence.tokens and fault is None:
                sentence = _Sentence(f"{path.name} line {number}", [], [[] for _ in options.tag_columns])
            try:
                token = columns[options.token_column]
                tags = [columns[column] for column in options.tag_columns]
            except IndexError:
                fault = fault or Fault(
                    f"{path.name} line {number}", f"only {len(columns)} columns in {line!r}"
                )
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


def _united(sentences: Sequence[_Sentence | Fault], options: ColumnOptions) -> Draft | Fault:
    first = sentences[0]
    layers: list[list[str]] = []
    for sentence in sentences:
        if isinstance(sentence, Fault):
            return sentence
        if isinstance(first, _Sentence) and sentence.tokens != first.tokens:
            return Fault(sentence.place, f"the tokens differ from {first.place}")
        layers += sentence.layers
    assert isinstance(first, _Sentence)
    return _draft(_Sentence(first.place, first.tokens, layers), options)


def _draft(sentence: _Sentence, options: ColumnOptions) -> Draft | Fault:
    joined = join_tokens(sentence.tokens, options.spacing)
    if not joined.text:
        return Fault(sentence.place, "no token holds a character")
    records, changes = [], []
    for layer in sentence.layers:
        for label, (start, end) in decode_tags(layer):
            try:
                records.append(entity(label, joined.text, joined.span(start, end)))
            except ValueError:
                changes.append("entity without a character left out")
    return Draft(sentence.place, joined.text, tuple(records), changes=tuple(changes))


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
