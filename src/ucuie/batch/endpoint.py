"""Slices to a model behind an OpenAI-compatible server: many requests at a time, from this process.

What is wrong with one text becomes the error of its row. What is wrong with the server ends the run, since it
would go on for all rows; what was finished stays.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice

from ucuie.batch.question import Question, ReadRows
from ucuie.batch.work import Slice
from ucuie.errors import TextError
from ucuie.extract.remote.client import EndpointError
from ucuie.extract.remote.extractor import NOT_ANSWERED, RemoteExtractor
from ucuie.extract.result import Extraction

logger = logging.getLogger(__name__)

SLICE_ROWS = 32


class EndpointEngine:
    """Answers slices with what the server of an extractor says.

    Raises:
        ConfigError: a model behind an endpoint cannot be asked that.
    """

    def __init__(self, extractor: RemoteExtractor, question: Question) -> None:
        self._extractor = extractor
        self._question = question
        question.check(extractor)

    def answer(self, slices: Sequence[Slice]) -> Iterator[tuple[int, list[bytes]]]:
        """For each slice, by its position and in order, its lines.

        Raises:
            EndpointError: the server gives no answers; says what to do.
        """
        read = [self._question.read(one.rows, self._extractor.model_name) for one in slices]
        try:
            yield from enumerate(self._lines(read))
        except EndpointError as error:
            raise EndpointError(
                f"{error}; what is finished stays, and the same command goes on from there"
            ) from error

    def _lines(self, read: Sequence[ReadRows]) -> Iterator[list[bytes]]:
        position = 0
        while position < len(read):
            queries = (query for one in read[position:] for query in one.queries.values())
            # One stream for all slices, so that the server is never without work where one ends.
            with closing(self._extractor.answer(queries)) as stream:
                try:
                    for one in read[position:]:
                        yield one.lines([_answer(answer) for answer in islice(stream, len(one.queries))])
                        position += 1
                    continue
                except EndpointError:
                    raise
                except Exception:  # of any class: a text may be the one that something here fails at
                    logger.debug("one by one, from here", exc_info=True)
            yield self._one_by_one(read[position])
            position += 1

    def _one_by_one(self, read: ReadRows) -> list[bytes]:
        answers: list[Extraction | Exception] = []
        for query in read.queries.values():
            try:
                answers += map(_answer, self._extractor.answer([query]))
            except EndpointError:
                raise
            except Exception as error:  # of any class, as above
                answers.append(error)
        return read.lines(answers)


def _answer(extraction: Extraction) -> Extraction | TextError:
    """The extraction; where the server answered nothing at all of a text, what it said."""
    unanswered = [one for one in extraction.dropped if one.reason == NOT_ANSWERED]
    if extraction.records or not unanswered:
        return extraction
    return TextError(f"{NOT_ANSWERED}: {unanswered[0].value}")
