"""Ten thousand unkind pairs of schema and text: grounded records, right offsets, in bounded time."""

import random
import time
from collections.abc import Iterator

import pytest

from decode_cases import PIECES
from tiny_model import tiny_model
from ucuie import Extractor
from ucuie.errors import SchemaError, TextError
from ucuie.extract.extractor import NO_ALTERNATIVES, task_named
from ucuie.extract.options import AnswerOptions
from ucuie.extract.query import Query
from ucuie.extract.result import Extraction
from ucuie.language.align import TOO_OFTEN
from ucuie.schema import Filler, Frame, Record, Schema, Slot, record_faults

NUM_PAIRS, NUM_PARTS = 1_000, 5
"""Pairs of each part, and parts of each of the two ways to read a text; the first is in `make test`."""
TEXTS_OF_A_SCHEMA = 40
HUGE_EVERY = 25
"""So many schemas have one among them of several hundred types."""
CONTEXT = 16_384
MAX_NEW_TOKENS = 48
MAX_MINUTES = 3
"""Of processor time for the pairs of a part: more than ten times what they take."""
TASKS = (None, None, None, "judging", "locating", "associating")

MORE_PIECES = [
    *PIECES,
    *(chr(code) for code in (*range(1, 32), 127, 0x85, 0x2028, 0x2029, 0xFFFD, 0xFFFF)),
    *("🙂", "👩🏽\u200d🚀", "🇩🇪", "\U0010ffff", "𝒳", "東京", "北京市", "قال", "\u202eabc\u202c", "שלום", "นี้"),
    *("a\u0300\u0301\u0302", "\u0308", "\u200d", "\ufe0f", "İ", "ﬁ", "Ǆ"),
    *(
        "<|im_start|>",
        "<|endoftext|>",
        "[INST]",
        "<pad>",
        "</s><s>",
        "\nText: ",
        "Elements: {}",
        "Null)",
        "\\)",
    ),
    *("{(a: b): []}", ")], (", "): [", "}", "{}", "\\\\", "Null: Null"),
]


def random_text(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.01:
        return rng.choice(["", " ", "\n\t", "\u3000", "a\ud800b", "\udfff"])
    if kind < 0.03:
        return rng.choice(
            ["x" * 400, "\x00" * 60, "((" * 50, "\\" * 80, "🙂" * 50, "e\u0301" * 70, "a b " * 90]
        )
    pieces = [rng.choice(MORE_PIECES) + rng.choice(["", " "]) for _ in range(rng.randint(1, 14))]
    if rng.random() < 0.3:  # said again
        pieces += rng.sample(pieces, k=rng.randint(1, len(pieces)))
    return "".join(pieces)


def random_names(rng: random.Random, most: int) -> list[str]:
    drawn = (
        "".join(rng.choices(MORE_PIECES, k=rng.randint(1, 3))).strip() for _ in range(rng.randint(0, most))
    )
    return list(dict.fromkeys(filter(None, drawn)))


def random_schema(rng: random.Random, *, is_huge: bool) -> Schema:
    if is_huge:
        names = [
            f"{name} {number}"
            for number, name in enumerate(rng.choices(MORE_PIECES, k=rng.randint(200, 600)))
        ]
        return Schema.of({name: ["a", "b"] for name in names} if rng.random() < 0.3 else names)
    frames = [
        Frame(
            name=name,
            slots=tuple(Slot(name=slot, required=rng.random() < 0.3) for slot in random_names(rng, 3)),
        )
        for name in random_names(rng, 5) or ["name"]
    ]
    return Schema(frames=tuple(frames))


def random_elements(rng: random.Random, text: str, schema: Schema) -> tuple[Record, ...]:
    """Spans of the text, some of them of one place."""
    names = [name for frame in schema.frames for name in (frame.name, *frame.slot_names)]
    places = [sorted(rng.sample(range(len(text) + 1), k=2)) for _ in range(rng.randint(0, 3)) if text]
    return tuple(
        Record(frame=rng.choice(names), filler=Filler(text=text[start:end], start=start, end=end))
        for start, end in places
    )


def random_query(rng: random.Random, number: int, schema: Schema, text: str) -> Query:
    task = task_named(rng.choice(TASKS), schema)
    elements = None
    if task == "associating" and not is_refused(text):
        elements = random_elements(rng, text, schema)
    options = AnswerOptions.of(end_bias=rng.choice([0.0, -3.0, -6.0]), n_best=rng.choice([1, 1, 1, 1, 3]))
    return Query(str(number), text, schema, task, elements, options)


def random_queries(rng: random.Random) -> Iterator[Query]:
    for index in range(NUM_PAIRS // TEXTS_OF_A_SCHEMA):
        schema = random_schema(rng, is_huge=index % HUGE_EVERY == HUGE_EVERY - 1)
        for number in range(TEXTS_OF_A_SCHEMA):
            yield random_query(rng, index * TEXTS_OF_A_SCHEMA + number, schema, random_text(rng))


def is_refused(text: str) -> bool:
    return not text.strip() or any("\ud800" <= character <= "\udfff" for character in text)


def check(query: Query, extraction: Extraction) -> None:
    assert (extraction.id, extraction.text) == (query.id, query.text)
    for answer in (extraction, *(extraction.alternatives or ())):
        assert record_faults(answer.records, query.text, query.asked) == []
        for record in answer.records:
            assert record.score is not None
            assert 0 <= record.score <= 1
        # What the grammar wrote to its end has a place in schema and text.
        if answer is not extraction or not extraction.truncated:
            assert {piece.reason for piece in answer.dropped} <= {TOO_OFTEN, NO_ALTERNATIVES}


@pytest.mark.parametrize(
    "part",
    [pytest.param(part, marks=pytest.mark.long if part else pytest.mark.slow) for part in range(NUM_PARTS)],
)
@pytest.mark.parametrize("window_tokens", [None, 24], ids=["whole", "windows"])
def test_whatever_is_asked_of_whatever_text_is_answered(window_tokens: int | None, part: int) -> None:
    """Half of the pairs each: texts as a whole, and most of them in windows."""
    extractor = fuzzed_extractor(window_tokens)
    rng = random.Random(f"{window_tokens} {part}")
    start = time.process_time()
    queries = list(random_queries(rng))
    faults = extractor.faults(queries)
    assert [is_refused(query.text) for query in queries] == [index in faults for index in range(len(queries))]
    assert all(isinstance(fault, TextError) for fault in faults.values())
    asked = [query for index, query in enumerate(queries) if index not in faults]
    num_records, num_cut = 0, 0
    for query, extraction in zip(asked, extractor.answer(asked), strict=True):
        check(query, extraction)
        num_records += len(extraction.records)
        num_cut += extraction.truncated
    # Of the test itself: answers with records, cut and whole ones are all common.
    assert num_records > len(asked) / 10
    assert len(asked) / 20 < num_cut < len(asked) * 9 / 10
    assert time.process_time() - start < MAX_MINUTES * 60


@pytest.mark.parametrize("source", [[], {}, {"frames": []}, "[]"], ids=str)
def test_a_schema_without_types_is_refused(source: object) -> None:
    with pytest.raises(SchemaError, match="no frames"):
        Schema.of(source)


def fuzzed_extractor(window_tokens: int | None) -> Extractor:
    tiny = tiny_model()
    tiny.model.config.max_position_embeddings = CONTEXT
    return Extractor(tiny, max_new_tokens=MAX_NEW_TOKENS, window_tokens=window_tokens)
