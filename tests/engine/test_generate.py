"""Generation equals the slow obvious loop, alone and in batches, and is always well-formed and grounded."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel
from writing_cases import LANGUAGE, TEXT, fuzzed_requests, make_model, make_request, random_text

from decode_cases import StubModel
from ucuie.engine import writer as repetition
from ucuie.engine.cache import Prefix, PrefixCache
from ucuie.engine.confidence import score_records
from ucuie.engine.generate import Generator
from ucuie.engine.grammar_state import allowed_tokens
from ucuie.engine.ragged import ATTENTION
from ucuie.engine.requests import Output, Request
from ucuie.engine.writer import Writer
from ucuie.errors import ModelError, TextError
from ucuie.language.align import align
from ucuie.language.linearize import parse
from ucuie.schema import Schema

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SLOT = re.compile(r"\((?:\\.|[^\\)])*\)")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


class WatchedCache(PrefixCache):
    """Notes what it is given."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self.added: list[Prefix] = []

    def add(self, key: Any, prefix: Prefix) -> None:
        self.added.append(prefix)
        super().add(key, prefix)


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch) -> list[WatchedCache]:
    """Those of the generators, in the order in which these are made."""
    made: list[WatchedCache] = []

    def make(max_bytes: int) -> WatchedCache:
        made.append(WatchedCache(max_bytes))
        return made[-1]

    monkeypatch.setattr("ucuie.engine.generate.PrefixCache", make)
    return made


def write_slowly(
    model: nn.Module, request: Request, max_new_tokens: int
) -> tuple[tuple[int, ...], list[np.ndarray]]:
    """No cache, no batch, no shared instruction: one forward over everything for each choice."""
    state = LANGUAGE.grammars.start(request.grammar)
    prompt = [*request.instruction_ids, *request.text_ids]
    is_instruction = [True] * len(request.instruction_ids)
    tokens, log_probabilities = [], []
    while True:
        forced, mask = state.advance()
        tokens += forced
        if mask is None or len(tokens) >= max_new_tokens:
            return tuple(tokens[:max_new_tokens]), log_probabilities
        input_ids = torch.tensor([prompt + tokens])
        instruction_mask = torch.zeros_like(input_ids, dtype=torch.bool)
        instruction_mask[0, : len(is_instruction)] = True
        extra = {"instruction_mask": instruction_mask} if hasattr(model, "peft_config") else {}
        with torch.no_grad():
            logits = model(input_ids=input_ids, **extra).logits[0, -1]
        allowed = allowed_tokens(mask)
        scores = logits[allowed].log_softmax(dim=-1)
        log_probabilities.append(scores.numpy())
        best = [int(allowed[place]) for place in scores.argsort(descending=True, stable=True)]
        fresh = [token for token in best if not is_repetition(tokens, token)]
        tokens.append((fresh or best)[0])
        state.consume(tokens[-1:])


def is_repetition(before: list[int], last: int) -> bool:
    """Whether the last token begins a fifth copy of some elements, or another slot after one said twice."""
    output = LANGUAGE.grammars.decode([*before, last])
    written = len(LANGUAGE.grammars.decode(before))
    if "), " in output[written - 2 :] + " " and SLOT.search(output):
        slots = output[: output.rindex("),") + 1].rpartition("): [")[2]
        *earlier, newest = [None, *SLOT.findall(slots)]
        if newest in earlier and slots.endswith(newest):
            return True
    for length in range(1, len(before) // 4 + 1):
        block = before[-length:]
        said = LANGUAGE.grammars.decode(block)
        if before[-4 * length :] == block * 4 and last == block[0] and "(" in said and ")" in said:
            return True
    return False


def assert_same(output: Output, tokens: Sequence[int], log_probabilities: Sequence[np.ndarray]) -> None:
    assert output.tokens == tokens
    for choice, expected in zip(output.choices, log_probabilities, strict=True):
        np.testing.assert_allclose(choice.log_probabilities, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["model", "adapted"])
def test_batches_equal_singles_equal_the_uncached_loop(kind: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(kind)
    cases = fuzzed_requests(3, 5)
    requests = [make_request(text, schema) for schema, text in cases]
    random.Random(0).shuffle(requests)
    together = Generator(model, LANGUAGE.grammars, max_new_tokens=40, batch_size=4).generate(requests)
    alone = Generator(model, LANGUAGE.grammars, max_new_tokens=40)
    for one, output in zip(requests, together, strict=True):
        slow = write_slowly(model, one, 40)
        assert_same(output, *slow)
        assert_same(alone.generate([one])[0], *slow)


@pytest.mark.slow
def test_texts_under_three_schemas_equal_the_uncached_loop(
    adapted: PeftModel, caches: list[WatchedCache]
) -> None:
    """Batched, cached, refilled and drafted, with all schemas in each batch."""
    requests = [make_request(text, schema) for schema, text in fuzzed_requests(3, 25)]
    random.Random(0).shuffle(requests)
    generator = Generator(adapted, LANGUAGE.grammars, max_new_tokens=60, batch_size=16, num_drafts=4)
    for one, output in zip(requests, generator.generate(requests), strict=True):
        assert_same(output, *write_slowly(adapted, one, 60))
    assert generator.work.accepted > 0
    assert len(caches[0]) == 3


def test_every_output_is_well_formed_grounded_and_scored(model: PreTrainedModel) -> None:
    cases = fuzzed_requests(10, 20)
    requests = [make_request(text, schema) for schema, text in cases]
    outputs = Generator(model, LANGUAGE.grammars, max_new_tokens=40).generate(requests)
    assert len(outputs) == 200
    assert 0 < sum(output.truncated for output in outputs) < 200
    for (schema, text), output in zip(cases, outputs, strict=True):
        parsed = parse(output.text)
        assert output.truncated or not parsed.dropped
        alignment = align(parsed.frames, text, schema)
        records = score_records(output, parsed.frames, alignment, LANGUAGE.grammars)
        for record in records:
            assert 0 <= record.score <= 1
            for filler in record.fillers():
                assert text[filler.start : filler.end] == filler.text
                assert record.score <= filler.score + 1e-9 <= 1 + 1e-9


class TableModel(StubModel):
    """The last token decides."""

    def __init__(self, context: int | None = None) -> None:
        super().__init__(context)
        generator = torch.Generator().manual_seed(0)
        vocab_size = LANGUAGE.grammars.vocab_size
        self.table = torch.randn(vocab_size, vocab_size, generator=generator)

    def logits(self, tokens: Tensor) -> Tensor:
        return self.table[tokens]


def test_each_forward_answers_a_choice_and_the_instruction_is_fed_once() -> None:
    model = TableModel().eval()
    generator = Generator(model, LANGUAGE.grammars, max_new_tokens=50)
    requests = [make_request(text) for text in (TEXT, "Obama spoke.", "the")]
    outputs = generator.generate(requests)
    most_choices = max(len(output.choices) for output in outputs)
    assert len(model.steps) == most_choices
    generator.generate(requests)
    assert len(model.steps) == 2 * most_choices
    assert model.instructions == [requests[0].instruction_ids]
    assert generator.work.forwards == 1 + 2 * most_choices
    assert generator.work.choices == 2 * sum(len(output.choices) for output in outputs)
    assert generator.work.tokens_written == 2 * sum(len(output.tokens) for output in outputs)
    assert generator.work.tokens_read == len(requests[0].instruction_ids) + sum(
        len(tokens) for tokens, _ in model.steps
    )


def test_only_tokens_are_read_each_once_at_its_place() -> None:
    model = TableModel().eval()
    one = make_request()
    [output] = Generator(model, LANGUAGE.grammars, max_new_tokens=50, num_drafts=0).generate([one])
    read = [token for tokens, _ in model.steps for token in tokens]
    assert read == [*one.text_ids, *output.tokens][: len(read)]
    positions = [position for _, places in model.steps for position in places]
    start = len(one.instruction_ids)
    assert positions == list(range(start, start + len(read)))


def test_a_finished_output_makes_room_for_the_next_text_at_once() -> None:
    model = TableModel().eval()
    requests = [make_request(text) for text in (TEXT, "Obama spoke.", "the", "e", "Monday.")]
    generator = Generator(model, LANGUAGE.grammars, max_new_tokens=50, batch_size=2)
    lengths = [len(output.choices) for output in generator.generate(requests)]
    left, running, num_steps = lengths[:], [], 0
    while left or running:
        while left and len(running) < 2:
            running.append(left.pop(0))
        running = [count - 1 for count in running if count > 1]
        num_steps += 1
    assert len(model.steps) == num_steps
    assert num_steps < sum(lengths)


def test_outputs_stream_while_requests_come_in() -> None:
    taken = []

    def requests() -> Iterator[Request]:
        for text in ("the", TEXT, "e", "Obama spoke."):
            taken.append(text)
            yield make_request(text)

    generator = Generator(TableModel().eval(), LANGUAGE.grammars, max_new_tokens=50, batch_size=1)
    stream = generator.stream(requests())
    first, _ = next(stream)
    assert first == 0
    assert len(taken) < 4
    assert [index for index, _ in stream] == [1, 2, 3]


def test_an_interrupted_stream_leaves_the_generator_usable(model: PreTrainedModel) -> None:
    requests = [make_request(text) for text in (TEXT, "Obama spoke.", "the")]
    generator = Generator(model, LANGUAGE.grammars, max_new_tokens=50, batch_size=2)
    expected = [output.tokens for output in generator.generate(requests)]

    def interrupted() -> Iterator[Request]:
        yield from requests
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(generator.stream(interrupted()))
    assert model.config._attn_implementation != ATTENTION
    assert [output.tokens for output in generator.generate(requests)] == expected


def test_a_model_whose_attention_is_its_own_is_refused() -> None:
    model = TableModel().eval()
    model._supports_attention_backend = False
    with pytest.raises(ModelError, match="attention of TableModel"):
        Generator(model, LANGUAGE.grammars)


@pytest.mark.parametrize("kind", ["model", "adapted"])
def test_drafts_change_nothing_but_the_number_of_forwards(kind: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(kind)
    requests = [make_request(text, schema) for schema, text in fuzzed_requests(4, 10)]
    plain = Generator(model, LANGUAGE.grammars, max_new_tokens=60)
    drafting = Generator(model, LANGUAGE.grammars, max_new_tokens=60, num_drafts=4, batch_size=7)
    for one, other in zip(plain.generate(requests), drafting.generate(requests), strict=True):
        assert_same(other, one.tokens, [choice.log_probabilities for choice in one.choices])
    assert 0 < drafting.work.accepted < drafting.work.drafted


def test_an_output_written_alone_is_drafted_and_the_same(model: PreTrainedModel) -> None:
    requests = [make_request(text, schema) for schema, text in fuzzed_requests(5, 6)]
    plain = Generator(model, LANGUAGE.grammars, max_new_tokens=60, num_drafts=0)
    usual = Generator(model, LANGUAGE.grammars, max_new_tokens=60)
    for request in requests:
        (one,), (other,) = plain.generate([request]), usual.generate([request])
        assert_same(other, one.tokens, [choice.log_probabilities for choice in one.choices])
    assert usual.work.accepted > 0
    assert usual.work.forwards < plain.work.forwards
    assert plain.work.drafted == 0


def beams_slowly(model: nn.Module, request: Request, width: int, max_new_tokens: int) -> list[Writer]:
    """Every way to go on from every beam, each computed from the beginning."""
    start = Writer(LANGUAGE.grammars, request, max_new_tokens)
    alive, finished = [start], []
    while alive:
        found = []
        for writer in alive:
            input_ids = torch.tensor([[*request.instruction_ids, *request.text_ids, *writer.tokens]])
            with torch.no_grad():
                logits = model(input_ids=input_ids).logits[0, -1].numpy()
            found += [
                (writer.log_probability + choice.log_probability, writer, choice)
                for choice in writer.candidates(logits, width)
            ]
        found.sort(key=lambda entry: -entry[0])
        alive = []
        for _, writer, choice in found[:width]:
            writer = writer.fork()
            writer.write(choice)
            (finished if writer.is_finished else alive).append(writer)
        finished = sorted(finished, key=lambda writer: -writer.log_probability)[:width]
        if len(finished) == width:
            alive = [writer for writer in alive if writer.log_probability > finished[-1].log_probability]
    return finished


def test_beams_equal_the_slow_search(model: PreTrainedModel) -> None:
    requests = [
        replace(make_request(text, schema), num_beams=1 + index % 3)
        for index, (schema, text) in enumerate(fuzzed_requests(3, 5))
    ]
    generator = Generator(model, LANGUAGE.grammars, max_new_tokens=25, batch_size=7)
    for one, output in zip(requests, generator.generate(requests), strict=True):
        expected = beams_slowly(model, one, one.num_beams, 25)
        assert [found.tokens for found in (output, *output.alternatives)] == [
            tuple(writer.tokens) for writer in expected
        ]
        likelihoods = [found.log_probability for found in (output, *output.alternatives)]
        assert likelihoods == sorted(likelihoods, reverse=True)


@pytest.mark.parametrize("num_beams", [0, 9])
def test_more_beams_than_slots_are_refused(model: PreTrainedModel, num_beams: int) -> None:
    with pytest.raises(ValueError, match=f"{num_beams} beams"):
        Generator(model, LANGUAGE.grammars, batch_size=8).generate(
            [replace(make_request(), num_beams=num_beams)]
        )


def test_long_texts_are_fewer_at_the_same_time(model: PreTrainedModel) -> None:
    requests = [make_request("Obama spoke. " * 20)] * 6
    roomy = Generator(model, LANGUAGE.grammars, max_new_tokens=5, batch_size=6)
    tight = Generator(model, LANGUAGE.grammars, max_new_tokens=5, batch_size=6, cache_bytes=1)
    assert [one.tokens for one in roomy.generate(requests)] == [
        one.tokens for one in tight.generate(requests)
    ]
    assert tight.work.forwards > 3 * roomy.work.forwards


def test_an_output_without_choices_needs_no_model() -> None:
    model = TableModel().eval()
    [output] = Generator(model, LANGUAGE.grammars).generate([make_request(elements=[])])
    assert output.text == "{}"
    assert not output.choices
    assert not model.steps


@pytest.mark.parametrize("budget", range(1, 12))
def test_the_budget_cuts_and_says_so(model: PreTrainedModel, budget: int) -> None:
    whole = Generator(model, LANGUAGE.grammars, max_new_tokens=200).generate([make_request()])[0]
    cut = Generator(model, LANGUAGE.grammars, max_new_tokens=budget).generate([make_request()])[0]
    assert cut.tokens == whole.tokens[:budget]
    assert cut.truncated
    assert parse(whole.text).frames[: len(parse(cut.text).frames)] == parse(cut.text).frames


def test_a_budget_that_fits_exactly_cuts_nothing() -> None:
    model = TableModel().eval()
    text = "e"
    [whole] = Generator(model, LANGUAGE.grammars, max_new_tokens=400).generate([make_request(text)])
    assert not whole.truncated
    [same] = Generator(model, LANGUAGE.grammars, max_new_tokens=len(whole.tokens)).generate(
        [make_request(text)]
    )
    assert (same.tokens, same.truncated) == (whole.tokens, False)


def test_an_output_is_cut_at_eight_times_the_length_of_its_prompt() -> None:
    request = replace(make_request("e" * 9), end_bias=100.0)
    generator = Generator(TableModel().eval(), LANGUAGE.grammars, max_new_tokens=10**6)
    longest = 8 * (len(request.instruction_ids) + len(request.text_ids))
    [output] = generator.generate([request])
    assert generator.budget(request) == longest
    assert len(output.tokens) <= longest


def test_the_end_of_the_context_cuts_like_the_budget() -> None:
    long = make_request()
    prompt_length = len(long.instruction_ids) + len(long.text_ids)
    [output] = Generator(TableModel(prompt_length + 7).eval(), LANGUAGE.grammars).generate([long])
    assert len(output.tokens) == 7
    assert output.truncated


def test_a_text_without_room_for_an_output_is_refused_with_the_numbers() -> None:
    long = make_request()
    prompt_length = len(long.instruction_ids) + len(long.text_ids)
    model = TableModel(prompt_length + 1).eval()
    with pytest.raises(TextError, match=rf"{len(long.text_ids)} tokens .* context of {prompt_length + 1}"):
        Generator(model, LANGUAGE.grammars).generate([make_request("e"), long])
    assert not model.steps
    assert not model.instructions


def test_no_requests_give_no_outputs(model: PreTrainedModel) -> None:
    assert Generator(model, LANGUAGE.grammars).generate([]) == []


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.eval"):
        Generator(TableModel(), LANGUAGE.grammars)


def test_only_the_last_instructions_are_kept(model: PreTrainedModel, caches: list[WatchedCache]) -> None:
    small = Generator(model, LANGUAGE.grammars, max_new_tokens=2, cache_bytes=1)
    small.generate([make_request(schema=Schema.of([f"type {index}"])) for index in range(9)])
    assert len(caches[0]) == 1
    some = Generator(model, LANGUAGE.grammars, max_new_tokens=2, cache_bytes=20 * caches[0].num_bytes)
    schemas = [Schema.of([f"type {index}"]) for index in range(30)]
    some.generate([make_request(schema=schema) for schema in schemas])
    assert 5 < len(caches[1]) <= 11
    forwards = some.work.forwards
    some.generate([make_request("the", schema=schemas[-1])])
    reads = some.work.forwards - forwards
    some.generate([make_request("the", schema=schemas[0])])
    assert some.work.forwards - forwards == 2 * reads + 1


def test_gates_are_those_of_the_whole_instruction(adapted: PeftModel, caches: list[WatchedCache]) -> None:
    generator = Generator(adapted, LANGUAGE.grammars, max_new_tokens=2)
    one = make_request()
    generator.generate([one])
    [prefix] = caches[0].added
    tokens = torch.tensor([one.instruction_ids + one.text_ids])
    is_instruction = torch.arange(tokens.shape[1])[None] < len(one.instruction_ids)
    expected = adapted.base_model.compute_gates(tokens, instruction_mask=is_instruction)
    torch.testing.assert_close(prefix.gates, expected)


def test_a_hard_router_goes_by_the_labels_of_the_request(caches: list[WatchedCache]) -> None:
    model = make_model(router="hard")
    generator = Generator(model, LANGUAGE.grammars, max_new_tokens=20)
    labels = [(1.0, 1.0, 0.0), (1.0, 1.0, 1.0)]
    outputs = generator.generate([replace(make_request(), capability_labels=label) for label in labels])
    assert [tuple(prefix.gates[0, 0].tolist()) for prefix in caches[0].added] == labels
    assert outputs[0].choices[0].log_mass != outputs[1].choices[0].log_mass


def most_equal_frames_in_a_row(max_new_tokens: int) -> int:
    requests = [
        make_request("Obama spoke. " * 30, Schema.of(source)) for source in (["a"], ["a", "b"], {"a": ["b"]})
    ]
    model = TableModel().eval()
    outputs = Generator(model, LANGUAGE.grammars, max_new_tokens=max_new_tokens).generate(requests)
    runs = (groupby(map(str, parse(output.text).frames)) for output in outputs)
    return max(len(list(frames)) for run in runs for _, frames in run)


def test_a_model_in_a_loop_is_led_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert most_equal_frames_in_a_row(800) <= 4
    monkeypatch.setattr(repetition, "MAX_COPIES", 10**6)
    assert most_equal_frames_in_a_row(800) > 20


def test_a_slot_said_twice_is_the_last_of_its_frame() -> None:
    rng = random.Random(5)
    requests = [make_request(random_text(rng), Schema.of({"a": ["b", "c"]})) for _ in range(60)]
    outputs = Generator(TableModel().eval(), LANGUAGE.grammars, max_new_tokens=400).generate(requests)
    frames = [frame for output in outputs for frame in parse(output.text).frames]
    repeated = [frame for frame in frames if len(set(frame.slots)) < len(frame.slots)]
    assert repeated
    assert all(len(set(frame.slots[:-1])) == len(frame.slots[:-1]) for frame in repeated)
