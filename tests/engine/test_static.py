"""Steps of fixed shape say what the engine's other steps say, recorded or not."""

import logging
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx
from writing_cases import LANGUAGE, fuzzed_requests, make_request

from ucuie.engine import static
from ucuie.engine.cache import Prefix, SlotCache, SpareMemory
from ucuie.engine.generate import Generator
from ucuie.engine.ragged import StepRow
from ucuie.engine.static import Shape, StaticSteps

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
CPU = torch.device("cpu")


def make_generator(model, *, is_static, **options):
    return Generator(model, LANGUAGE.grammars, max_new_tokens=40, cuda_graphs=is_static, **options)


def make_requests(num_schemas=3, texts_each=5, *, num_beams=(1,)):
    requests = [
        replace(make_request(text, schema), num_beams=num_beams[index % len(num_beams)])
        for index, (schema, text) in enumerate(fuzzed_requests(num_schemas, texts_each))
    ]
    random.Random(0).shuffle(requests)
    return requests


def assert_equal(one, other, *, atol=1e-5):
    assert one.tokens == other.tokens
    for choice, same in zip(one.choices, other.choices, strict=True):
        np.testing.assert_array_equal(choice.allowed, same.allowed)
        np.testing.assert_allclose(choice.log_probabilities, same.log_probabilities, atol, atol)
        np.testing.assert_allclose(choice.log_mass, same.log_mass, atol, atol)
    for alternative, expected in zip(one.alternatives, other.alternatives, strict=True):
        assert_equal(alternative, expected)


UNRECORDABLE = (
    "lift_fresh",
    "_local_scalar_dense",
    "nonzero",
    "unique",
    "repeat_interleave.Tensor",
    "bernoulli",
)
"""Operations that send something from Python, wait for a number, or have a shape that depends on one."""


def traced(forward):
    """What a CUDA graph is, without a GPU: the operations of one forward, and no Python between them.

    Tensors that it did not make itself stay where they are.
    """
    forward()
    replay = make_fx(forward)()
    operations = {str(node.target) for node in replay.graph.nodes}
    assert any("index_put" in name for name in operations)
    assert not {name for name in operations if any(bad in name for bad in UNRECORDABLE)}
    return replay


def with_recorder(recorder, model, **options):
    generator = make_generator(model, is_static=True, **options)
    generator._static = StaticSteps(
        generator._read_static, generator._static.cache, CPU, recorder=lambda: recorder
    )
    return generator


OPTIONS = {
    "copied weights": {},
    "no copies": {"may_copy": False},
    "drafts": {"num_drafts": 3},
    "few at a time": {"cache_bytes": 1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("kind", ["model", "adapted", "other"])
def test_static_steps_write_what_other_steps_write(kind, options, request: pytest.FixtureRequest):
    model = request.getfixturevalue(kind)
    requests = make_requests(num_beams=(1, 1, 3))
    options = {"batch_size": 5} | options
    expected = make_generator(model, is_static=False, **options).generate(requests)
    generator = make_generator(model, is_static=True, **options)
    for output, same in zip(generator.generate(requests), expected, strict=True):
        assert_equal(output, same)
    shapes = {shape for shape, *_ in generator._static._steps}
    assert len(shapes) > 3
    assert {shape.width for shape in shapes} > {1, 2}


@pytest.mark.parametrize("kind", ["model", "adapted", "other"])
@pytest.mark.parametrize("may_copy", [True, False])
def test_a_recorded_step_needs_no_python(kind, may_copy, request: pytest.FixtureRequest):
    model = request.getfixturevalue(kind)
    requests = make_requests(2, 2)
    options = {"batch_size": 2, "may_copy": may_copy}
    expected = make_generator(model, is_static=False, **options).generate(requests)
    generator = with_recorder(traced, model, **options)
    for _ in range(2):
        for output, same in zip(generator.generate(requests), expected, strict=True):
            assert_equal(output, same)
    assert generator._static._steps


def test_capabilities_that_are_switched_take_steps_of_their_own(adapted):
    generator = with_recorder(traced, adapted, batch_size=2)
    plain = make_generator(adapted, is_static=False, batch_size=2)
    requests = make_requests(1, 2)
    for names in (
        ["judging", "locating", "associating"],
        ["locating"],
        ["judging", "locating", "associating"],
    ):
        with adapted.base_model.capabilities(*names):
            for output, same in zip(generator.generate(requests), plain.generate(requests), strict=True):
                assert_equal(output, same)
    assert {variant for *_, variant in generator._static._steps} == {None, (False, True, False)}


def test_streams_side_by_side_have_slots_of_their_own(model):
    requests = make_requests(1, 6)
    expected = make_generator(model, is_static=False).generate(requests)
    generator = make_generator(model, is_static=True, batch_size=2)
    streams = [generator.stream(requests), generator.stream(requests)]
    outputs = [{}, {}]
    for _ in requests:
        for stream, found in zip(streams, outputs, strict=True):
            found.update([next(stream)])
    for found in outputs:
        for index, same in enumerate(expected):
            assert_equal(found[index], same)


def test_a_step_that_cannot_be_recorded_is_told_once_and_computed_nevertheless(model, caplog):
    requests = make_requests(2, 4)
    expected = make_generator(model, is_static=False).generate(requests)
    asked = []

    def failing(forward):
        asked.append(forward())
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nsecond line")
        finally:
            raise RuntimeError("capture was invalidated")

    generator = with_recorder(failing, model)
    with caplog.at_level(logging.WARNING):
        for output, same in zip(generator.generate(requests), expected, strict=True):
            assert_equal(output, same)
    assert len(asked) == 1
    [record] = caplog.records
    assert (
        "RuntimeError: operation not permitted when stream is capturing. Leave cuda_graphs out"
        in record.message
    )


def test_slots_that_outgrew_their_memory_give_it_back(model):
    generator = make_generator(model, is_static=True, cache_bytes=1)
    generator.generate(make_requests(1, 2))
    assert generator._static.cache.num_bytes == 0
    roomy = make_generator(model, is_static=True)
    roomy.generate(make_requests(1, 2))
    assert roomy._static.cache.num_bytes > 0
    assert not any(keys.any() or values.any() for keys, values in roomy._static.cache._layers.values())


PREFIXES = [
    Prefix((torch.zeros(1, length, 2),), (torch.zeros(1, length, 2),), None) for length in (3, 5, 7, 1, 2)
]


class PositionsOnly:
    """Steps whose hidden states are their positions, and the number of recorders made for them."""

    def __init__(self):
        self.num_recorders = 0
        self.num_recorded = 0
        self.cache = SlotCache(SpareMemory(0))
        self.steps = StaticSteps(self.forward, self.cache, CPU, recorder=self.recorder)

    def forward(self, step):
        return step.positions[:, None]

    def recorder(self):
        self.num_recorders += 1

        def record(forward):
            self.num_recorded += 1
            return forward

        return record

    def read(self, rows):
        return self.steps.read(rows, [[1] * row.num_tokens for row in rows], None)


ROWS = st.lists(
    st.builds(StepRow, st.sampled_from(PREFIXES[:4]), st.integers(0, 300), st.integers(1, 16)),
    min_size=1,
    max_size=40,
)


@given(ROWS)
def test_tokens_are_where_their_rows_say(rows):
    shape = Shape.around(rows)
    assert shape.num_rows >= len(rows)
    assert all(row.num_tokens <= shape.width for row in rows)
    assert all(row.length + shape.width <= shape.length for row in rows)
    states = PositionsOnly().read(rows)
    if shape.num_rows * shape.width > static.MAX_TOKENS:
        assert states is None
        return
    hidden, starts = states
    for row, start in zip(rows, starts, strict=True):
        first = row.prefix.length + row.length
        assert hidden[start : start + row.num_tokens, 0].tolist() == list(
            range(first, first + row.num_tokens)
        )


def test_large_forwards_are_left_to_others():
    toy = PositionsOnly()
    assert toy.read([StepRow(PREFIXES[0], 0, 17)]) is None
    assert toy.read([StepRow(PREFIXES[0], 0, 16)] * 17) is None
    assert toy.read([StepRow(prefix, 0, 1) for prefix in PREFIXES]) is None
    assert toy.read([StepRow(PREFIXES[0], 0, 16)] * 16) is not None


def test_recordings_are_dropped_when_the_slots_move_and_kept_when_not():
    toy = PositionsOnly()
    toy.read([StepRow(PREFIXES[0], 10, 1)] * 3)
    toy.read([StepRow(PREFIXES[0], 60, 1)] * 4)
    made = toy.num_recorders
    assert toy.num_recorded == len(toy.steps._steps) == 1
    toy.cache.reserve(4, 20)
    toy.cache.clear()
    toy.read([StepRow(PREFIXES[0], 10, 1)] * 3)
    assert (toy.num_recorders, toy.num_recorded) == (made, 1)
    toy.cache.reserve(4, 2000)
    toy.read([StepRow(PREFIXES[0], 10, 1)] * 3)
    assert (toy.num_recorders, toy.num_recorded) == (made + 1, 2)
    toy.cache.release()
    toy.read([StepRow(PREFIXES[0], 10, 1)] * 3)
    assert (toy.num_recorders, toy.num_recorded) == (made + 2, 3)
    assert len(toy.steps._steps) == 1


def test_the_recordings_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(static, "MAX_STEPS", 2)
    toy = PositionsOnly()
    toy.cache.reserve(64, 1000)
    one, two, three = ([StepRow(PREFIXES[0], 0, 1)] * count for count in (1, 2, 3))
    for rows in (one, two, one, three, one):
        toy.read(rows)
    assert toy.num_recorded == 3
    toy.read(two)
    assert toy.num_recorded == 4


@needs_cuda
@pytest.mark.parametrize("kind", ["model", "adapted", "other"])
@pytest.mark.parametrize("may_copy", [True, False])
def test_recorded_steps_write_what_computed_steps_write(
    kind, may_copy, caplog, request: pytest.FixtureRequest
):
    model = request.getfixturevalue(kind).to("cuda")
    requests = make_requests(num_beams=(1, 1, 3))
    options = {"batch_size": 5, "may_copy": may_copy}
    expected = make_generator(model, is_static=False, **options).generate(requests)
    generator = make_generator(model, is_static=True, **options)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            for output, same in zip(generator.generate(requests), expected, strict=True):
                assert_equal(output, same, atol=1e-4)
    assert generator._static._steps
    assert not caplog.records
    model.to("cpu")


@needs_cuda
def test_what_waits_for_the_device_is_not_recorded_and_nothing_is_left_behind():
    device = torch.device("cuda", torch.cuda.current_device())
    ones = torch.ones(3, device=device)
    before = torch.cuda.current_stream(device)
    recorder = static.CudaRecorder(device)
    with pytest.raises(RuntimeError):
        recorder(lambda: ones * ones.sum().item())
    assert torch.cuda.current_stream(device) == before
    assert (ones + 1).tolist() == [2, 2, 2]
    replay = static.CudaRecorder(device)(lambda: ones * 2)
    ones += 1
    assert replay().tolist() == [4, 4, 4]
