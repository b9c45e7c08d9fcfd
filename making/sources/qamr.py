r"""QAMR: questions that people wrote about sentences of Wikipedia and Wikinews, with their answers.

`wiki-sentences.tsv` has an id and tokens on a line, `filtered/*.tsv` a question (the sentences of ptb.tsv are
not free and not there):

    Wiki1k:wikipedia:16016:90:8 <TAB> keywords <TAB> writer <TAB> number <TAB> keyword
        <TAB> How many tirthankara are there? <TAB> 4 <TAB> 100:3 <TAB> 93:3   (answer of the writer, then of
        two validators: tokens, or "Invalid")

The question is the name of a frame, the answer its filler. A question counts where all answers overlap and it
has a word of the sentence besides the answer; the answers of an example's questions do not overlap.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from making.sources.numbering import Examples, Found, Left, numbered, share
from making.sources.source import Source
from ucuie.data.draft import contiguous_pieces, entity
from ucuie.data.tokens import join_tokens
from ucuie.schema import Frame, Span

NAME = "qamr"
_MAX_EXAMPLES_OF_A_SENTENCE = 4
_MIN_QUESTIONS, _MAX_QUESTIONS = 3, 6
_MIN_QUESTION_WORDS, _MAX_QUESTION_WORDS = 4, 14
_MAX_ANSWER_TOKENS = 10
_OPENINGS = frozenset({"the", "a", "an", "of", "in", "on", "at", "by"})
_BEGINNING = re.compile(
    r"(?:(?:what|which) (?!and |or )|who|where|when|how|why|(?:in|on|at|by|to|for|from) wh)", re.IGNORECASE
)


@dataclass(frozen=True)
class _Question:
    words: str
    answer: Span
    """Tokens of the sentence."""


def read(folder: Path) -> Examples:
    """Up to some examples of a sentence, each with other questions."""
    return numbered(NAME, _found(folder), num_repeats=_MAX_EXAMPLES_OF_A_SENTENCE)


def _found(folder: Path) -> Iterator[Found | Left]:
    (path,) = folder.rglob("wiki-sentences.tsv")
    lines = (line.split("\t") for line in path.read_text("utf-8").splitlines())
    tokens = {identifier: sentence.split(" ") for identifier, sentence in lines}
    questions: dict[str, list[_Question]] = defaultdict(list)
    for path in sorted(folder.rglob("filtered/*.tsv")):
        for line in path.read_text("utf-8").splitlines():
            identifier, _, _, _, _, words, *answers = line.split("\t")
            if identifier not in tokens:
                yield Left("question on a sentence that is not there")
            elif (question := _question(words, answers, tokens[identifier])) is None:
                yield Left("question that is long, or whose answer is in pieces, long or disputed")
            else:
                questions[identifier].append(question)
    for identifier, asked in questions.items():
        joined = join_tokens(tokens[identifier])
        for group in _groups(identifier, asked):
            frames = tuple(Frame(name=question.words) for question in group)
            records = tuple(
                entity(question.words, joined.text, joined.span(*question.answer)) for question in group
            )
            yield Found("NER", joined.text, frames, records)


def _question(words: str, answers: Sequence[str], tokens: Sequence[str]) -> _Question | None:
    """The question with the answer that most gave, or the writer's; None where it is of little use."""
    indices = [tuple(map(int, re.findall(r"\d+", answer.rpartition(":")[2]))) for answer in answers]
    answer = max(indices, key=indices.count)
    pieces = contiguous_pieces(answer)
    is_disputed = any(not set(answer) & set(other) for other in indices)
    if len(pieces) != 1 or is_disputed or len(answer) > _MAX_ANSWER_TOKENS:
        return None
    words = " ".join(words.split()).rstrip("?. ")
    if not _MIN_QUESTION_WORDS <= len(words.split()) <= _MAX_QUESTION_WORDS or not _BEGINNING.match(words):
        return None
    start, end = pieces[0]
    context = {token.lower() for token in (*tokens[:start], *tokens[end:]) if len(token) > 3}
    if not context & set(words.lower().split()):
        return None
    # Only the first word of a question is written in upper case for its place alone.
    return _Question(words[0].lower() + words[1:] + "?", _without_ends(tokens, pieces[0]))


def _without_ends(tokens: Sequence[str], span: Span) -> Span:
    """The answer without an article or preposition at its start."""
    start, end = span
    while start < end - 1 and tokens[start].lower() in _OPENINGS:
        start += 1
    return start, end


def _groups(identifier: str, questions: Iterable[_Question]) -> Iterator[list[_Question]]:
    """Questions of different answers and words, in groups for one example each."""
    remaining = sorted(set(questions), key=lambda one: share(identifier + one.words))
    for number in range(_MAX_EXAMPLES_OF_A_SENTENCE):
        size = _MIN_QUESTIONS + int(share(f"{identifier} {number}") * (_MAX_QUESTIONS - _MIN_QUESTIONS + 1))
        group: list[_Question] = []
        for question in remaining:
            is_other = all(
                question.words != one.words
                and (question.answer[1] <= one.answer[0] or one.answer[1] <= question.answer[0])
                for one in group
            )
            if is_other and len(group) < size:
                group.append(question)
        if len(group) < _MIN_QUESTIONS:
            return
        yield group
        remaining = [question for question in remaining if question not in group]


SOURCES = (
    Source(
        name=NAME,
        title="QAMR",
        licence="MIT",
        attribution="uwnlp/qamr (956b0eb)",
        read=read,
        archive="qamr.tar.xz",
        cap=None,
        absent="source",
    ),
)
