"""Long texts: windows give what their merged parts give, with right offsets, in order, without a cut."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_extractor import answers

from tiny_model import CONTEXT, tiny_model, tokenizer
from ucuie import Extractor, Schema
from ucuie.engine.generate import Generator
from ucuie.engine.requests import Request
from ucuie.errors import ConfigError
from ucuie.extract.document import RAN_ON
from ucuie.extract.prompts import WINDOW_TOKENS, Prompts, elements_within
from ucuie.extract.query import Query
from ucuie.extract.result import Extraction
from ucuie.language.encode import PromptEncoder
from ucuie.language.merging import RecordMerger
from ucuie.language.pool import InstructionPool
from ucuie.language.windows import split_windows
from ucuie.model.folder import LoadedModel
from ucuie.model.info import ModelInfo
from ucuie.schema import Filler, Record, record_faults

PROSE = "Ada Lovelace lived in London. She met Charles in Turin, and he lived there! Was Ada there? "
RELATIONS = Schema.of({"live in": ["subject", "object"], "met": ["subject", "object"]})
PERSON = Schema.of(["person", "city"])


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(tiny_model(), max_new_tokens=40, window_tokens=40, batch_size=4)


@pytest.fixture(scope="module")
def unlimited() -> Extractor:
    return Extractor(tiny_model(), batch_size=4)


def check(extraction: Extraction, schema: Schema) -> None:
    assert record_faults(extraction.records, extraction.text, schema) == []


@pytest.mark.parametrize("schema", [PERSON, RELATIONS], ids=["entities", "relations"])
def test_a_long_text_has_the_merged_records_of_its_windows(extractor: Extractor, schema: Schema) -> None:
    text = PROSE * 6
    encoder = PromptEncoder(tokenizer())
    windows = list(split_windows(text, encoder.token_starts, 40))
    assert len(windows) > 6
    merger = RecordMerger(schema)
    dropped = []
    for start, end in windows:
        alone = extractor.extract(text[start:end], schema)
        merger.settle(start)
        merger.add((start, end), alone.records)
        dropped += alone.dropped
    whole = extractor.extract(text, schema)
    check(whole, schema)
    expected = whole.model_copy(update={"records": merger.finish(), "dropped": tuple(dropped)})
    assert answers([whole]) == answers([expected])
    assert len(whole.records) > 0


def test_texts_of_all_lengths_share_batches_and_come_in_order(extractor: Extractor) -> None:
    texts = [PROSE * 4, "Ada.", PROSE * 7, "London " * 5, PROSE]
    together = extractor.extract_batch(texts, PERSON)
    assert [extraction.text for extraction in together] == texts
    assert answers(together) == answers([extractor.extract(text, PERSON) for text in texts])


def test_windows_of_several_texts_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = Extractor(tiny_model(), max_new_tokens=4, window_tokens=40, batch_size=6)
    asked = watched_requests(monkeypatch)
    num_windows = len(list(split_windows(PROSE, PromptEncoder(tokenizer()).token_starts, 40)))
    extractor.extract_batch([PROSE] * 4, PERSON)
    assert list(map(len, asked)) == [6, 4 * num_windows - 6]


def test_a_long_text_is_asked_for_and_answered_bit_by_bit() -> None:
    extractor = Extractor(tiny_model(), max_new_tokens=4, window_tokens=40, batch_size=2)
    taken = []

    def queries() -> Iterator[Query]:
        for number, text in enumerate(["Ada.", PROSE * 500, "never asked for"]):
            taken.append(number)
            yield Query(str(number), text, PERSON, "NER")

    stream = extractor.answer(queries())
    assert next(stream).text == "Ada."
    assert taken == [0, 1]


HOSTILE = {
    "nul": "\0" * 260,
    "word": "a" * 1_500,
    "newlines": "\n" * 1_500 + "x",
    "cjk": "东京是日本的首都" * 60,
    "family": "👨‍👩‍👧‍👦" * 60,
    "flags": "🇩🇪" * 150,
    "accents": "e" + "\u0301" * 600,
    "arabic": "مرحبا بالعالم من باريس. " * 30,
    "stops": ". " * 300,
    "delimiters": "(a) \\ Null) " * 90,
    "special tokens": "</s><s>" * 120,
    "blank accents": " \u0301" * 400,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_long_texts_have_right_offsets(extractor: Extractor, text: str) -> None:
    check(extractor.extract(text, PERSON), PERSON)


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_long_texts_are_answered_without_a_limit(unlimited: Extractor, text: str) -> None:
    extraction = unlimited.extract(text, RELATIONS)
    check(extraction, RELATIONS)
    assert not extraction.truncated


PIECES = ["Ada ", "lived in ", "London. ", "我。", "🙂", "\u0301", "\u200d", "\n\n", ", ", "x" * 30, "\0"]


@settings(max_examples=25, deadline=None)
@given(text=st.lists(st.sampled_from(PIECES), min_size=1, max_size=60).map("".join), size=st.integers(1, 60))
def test_every_span_stands_where_it_is_said_to(text: str, size: int) -> None:
    text = f"Ada {text}"
    extractor = Extractor(MODEL, max_new_tokens=12, window_tokens=size)
    extraction = extractor.extract(text, RELATIONS)
    check(extraction, RELATIONS)
    assert extraction.text == text


MODEL = tiny_model()


def test_without_a_limit_nothing_is_truncated(unlimited: Extractor) -> None:
    extractions = unlimited.extract_batch([PROSE, PROSE * 6, "x"], RELATIONS)
    assert not any(extraction.truncated for extraction in extractions)


def test_a_limit_truncates_and_says_so(extractor: Extractor) -> None:
    assert extractor.extract(PROSE * 6, RELATIONS).truncated


def parts_of(text: str) -> list[Any]:
    """The windows of a text for a model of the tiny context."""
    prompts = Prompts(PromptEncoder(tokenizer(), pool=InstructionPool.load()), CONTEXT, None)
    [document] = prompts.documents(Query("1", text, PERSON, "NER"))
    return list(document.parts())


def test_an_output_too_long_for_the_context_divides_its_window(unlimited: Extractor) -> None:
    (part,) = parts_of(PROSE * 2)
    assert part.divide()
    pieces = [piece.window for piece in part.leaves()]
    assert len(pieces) == 2
    assert pieces[0][0] == 0
    assert pieces[1][1] == len((PROSE * 2).rstrip())
    assert pieces[1][0] < pieces[0][1]
    sizes = [len(piece.request.text_ids) for piece in part.leaves()]
    assert max(sizes) < len(part.request.text_ids)


def test_a_single_character_is_not_divided(unlimited: Extractor) -> None:
    for text in ("x", "🙂"):
        (part,) = parts_of(text)
        assert not part.divide()
        assert list(part.leaves()) == [part]


SPEECH = Schema.of(
    {
        "frames": [
            {
                "name": "Speech",
                "slots": [
                    {"name": name, "required": True}
                    for name in ("Speaker", "Place", "Time", "Audience", "Topic")
                ],
            }
        ]
    }
)
"""A model at random goes on for long with it."""


def watched_requests(monkeypatch: pytest.MonkeyPatch) -> list[list[Request]]:
    """The requests that generators get, call by call."""
    asked: list[list[Request]] = []
    stream = Generator.stream

    def watched(generator: Generator, requests: list[Request]) -> Any:
        asked.append(requests)
        return stream(generator, requests)

    monkeypatch.setattr(Generator, "stream", watched)
    return asked


def test_a_window_whose_output_is_too_long_is_asked_again_in_pieces(
    unlimited: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = watched_requests(monkeypatch)
    extraction = unlimited.extract("Charles, Turin. " * 13, SPEECH)
    assert list(map(len, asked)) == [1, 2, 4]
    assert not extraction.truncated
    assert RAN_ON not in {dropped.reason for dropped in extraction.dropped}
    assert extraction.records[-1].slots[0].filler is not None
    check(extraction, SPEECH)


def test_a_model_that_goes_round_in_circles_is_reported(unlimited: Extractor) -> None:
    extraction = unlimited.extract("London. Ada! " * 25, SPEECH)
    assert RAN_ON in {dropped.reason for dropped in extraction.dropped}
    assert not extraction.truncated
    check(extraction, SPEECH)


def test_judging_names_each_type_of_a_long_text_once(extractor: Extractor) -> None:
    extraction = extractor.extract(PROSE * 6, RELATIONS, task="judging")
    names = [record.frame for record in extraction.records]
    assert len(names) == len(set(names)) > 0


def element(frame: str, text: str, start: int) -> Record:
    return Record(frame=frame, filler=Filler(text=text, start=start, end=start + len(text)))


def test_elements_of_a_window_are_those_that_stand_in_it() -> None:
    text = "Ada met Bob. Ada left."
    elements = [element("person", "Ada", 0), element("person", "Bob", 8), element("person", "Ada", 13)]
    assert elements_within(elements, text[:12], (0, 12)) == tuple(elements[:2])
    assert elements_within(elements, text[13:], (13, 22)) == (element("person", "Ada", 0),)
    assert elements_within(elements[:2], text[13:], (13, 22)) == (element("person", "Ada", 0),)
    assert elements_within(elements, "left.", (17, 22)) == ()


def test_elements_of_a_long_text_are_given_window_by_window(extractor: Extractor) -> None:
    text = PROSE * 6
    elements = tuple(
        element("subject", "Ada", start) for start in range(len(text)) if text.startswith("Ada", start)
    )
    query = Query("1", text, RELATIONS, "associating", elements)
    (extraction,) = extractor.answer([query])
    check(extraction, RELATIONS)
    assert {own.text for record in extraction.records for own in record.fillers()} <= {"Ada"}


def test_more_elements_than_fit_beside_the_text_divide_it(unlimited: Extractor) -> None:
    text = " ".join(f"name{number}" for number in range(60))
    elements = tuple(element("subject", f"name{number}", text.index(f"name{number}")) for number in range(60))
    (extraction,) = unlimited.answer([Query("1", text, RELATIONS, "associating", elements)])
    check(extraction, RELATIONS)


@contextmanager
def interrupted_at(model: LoadedModel, forward: int) -> Iterator[None]:
    """Ctrl-C during a forward of the model."""
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == forward:
            raise KeyboardInterrupt

    hook = model.model.get_base_model().get_input_embeddings().register_forward_pre_hook(count)
    yield
    hook.remove()
    assert calls >= forward


def test_an_interrupted_extractor_stays_usable() -> None:
    model = tiny_model()
    extractor = Extractor(model, max_new_tokens=10, window_tokens=40, batch_size=2, capabilities=("judging",))
    before = extractor.extract(PROSE * 3, PERSON)
    stream = extractor.extract_iter(["Ada.", "Bob.", PROSE * 50], PERSON)
    with interrupted_at(model, 20):
        assert [next(stream).text, next(stream).text] == ["Ada.", "Bob."]
        with pytest.raises(KeyboardInterrupt):
            next(stream)
    assert answers([extractor.extract(PROSE * 3, PERSON)]) == answers([before])


def test_an_interrupt_comes_after_all_that_was_finished() -> None:
    model = tiny_model()
    extractor = Extractor(model, max_new_tokens=10, batch_size=2)
    texts = [f"{name} met Ada in Turin." for name in ("Bob", "Eve", "Ida", "Max", "Tom", "Una", "Lea", "Kai")]
    whole = extractor.extract_batch(texts, PERSON)
    stream = extractor.extract_iter(texts, PERSON)
    got = [next(stream), next(stream)]
    # The rest is one chunk; by this forward some of it is finished, and some is not.
    with interrupted_at(model, 12), pytest.raises(KeyboardInterrupt):
        got.extend(stream)
    assert 2 < len(got) < len(texts)
    assert answers(got) == answers(whole[: len(got)])


@pytest.mark.parametrize("option", ["max_new_tokens", "window_tokens"])
def test_a_limit_that_allows_nothing_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} is 0"):
        Extractor(tiny_model(), **{option: 0})


def test_a_text_that_fits_is_read_as_a_whole(unlimited: Extractor) -> None:
    (part,) = parts_of(PROSE * 3)
    assert part.text == PROSE * 3
    assert len(part.request.text_ids) > WINDOW_TOKENS


def test_the_length_of_its_training_texts_decides_unless_another_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info = ModelInfo(
        backbone="backbone",
        backbone_fingerprint="",
        tokenizer_sha256="",
        instruction_pool_hash="",
        num_parameters=1,
        window_tokens=30,
    )
    trained_on = replace(tiny_model(), info=info)
    asked = watched_requests(monkeypatch)

    def longest(**options: int) -> int:
        asked.clear()
        Extractor(trained_on, max_new_tokens=4, **options).extract(PROSE * 3, PERSON)
        return max(len(request.text_ids) for requests in asked for request in requests)

    assert longest() <= 32 < longest(window_tokens=50) <= 52


def test_windows_have_the_size_that_is_asked_for_where_nothing_limits_the_context() -> None:
    prompts = Prompts(PromptEncoder(tokenizer(), pool=InstructionPool.load()), None, 100)
    [document] = prompts.documents(Query("1", PROSE * 30, PERSON, "NER"))
    assert WINDOW_TOKENS + 2 < max(len(part.request.text_ids) for part in document.parts()) <= 102


def test_windows_of_a_longer_text_have_the_size_of_sentences(unlimited: Extractor) -> None:
    parts = parts_of(PROSE * 30)
    assert sum(len(part.text) for part in parts) > len(PROSE * 30)
    # The blank before and the line end behind a text are tokens too.
    assert max(len(part.request.text_ids) for part in parts) <= WINDOW_TOKENS + 2
