"""Forwards of a few fixed shapes, which a GPU records once and replays.

With few tokens to read a GPU waits for the launches of its kernels rather than for what they compute. A
CUDA graph launches all of them at once, as long as every shape and address stays what it was. So rows, their
tokens and the places of their slots are rounded up here, and all that differs between two forwards lies in
one buffer. This is plain torch, which computes the same where nothing is recorded. Knows no model.

Recording: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ucuie.engine.cache import Prefix, SlotCache
from ucuie.engine.ragged import LONGEST_PADDED, StepRow, by_head, by_row

logger = logging.getLogger(__name__)

MAX_TOKENS = 256
"""Of a shape, rounding included: more tokens take longer to compute than to launch."""
MAX_PREFIXES = 4
"""Every row looks at the keys of every prefix, so there are few in one forward."""
MAX_STEPS = 32
"""Recorded shapes that are kept, the least recently used dropped first."""
ROWS_STEP, LENGTH_STEP = 8, 128
"""What more than eight rows, and the places of slots, are rounded up to multiples of."""
WARMUPS = 2
"""Forwards before one is recorded, in which libraries set up what they keep."""
TOLERANCE = 0.02
"""By how much of its largest number a replayed forward may differ from the one before it was recorded."""

Forward = Callable[[], Tensor]
"""Computes hidden states from what lies in buffers."""
Recorder = Callable[[Forward], Forward]
"""Calls a forward, and makes one that launches the same kernels."""


class Shape(NamedTuple):
    """R rows of W tokens that see L places of their slots."""

    num_rows: int
    width: int
    length: int

    @classmethod
    def around(cls, rows: Sequence[StepRow]) -> "Shape":
        """The smallest one that holds rows."""
        num_rows = len(rows)
        width = _power_of_two(max(row.num_tokens for row in rows))
        return cls(
            _power_of_two(num_rows) if num_rows <= ROWS_STEP else _multiple(num_rows, ROWS_STEP),
            width,
            _multiple(max(row.length for row in rows) + width, LENGTH_STEP),
        )


class StaticStep:
    """Where the R * W tokens of a forward belong, like `Step`; the shape is fixed, the contents are not.

    A row's spare tokens follow its last one, where the next forward writes; spare rows have the free slots.

    Args:
        cache: written and read; holds R slots of L places.
        shape: of the forward.
        prefixes: of the rows.
        device: of the model.
    """

    def __init__(
        self, cache: SlotCache, shape: Shape, prefixes: Sequence[Prefix], device: torch.device
    ) -> None:
        self._cache = cache
        self._shape = shape
        self._prefixes = prefixes
        # Of each row: the length of its slot, the index of its prefix, its tokens.
        self._buffer = torch.zeros(shape.num_rows, 2 + shape.width, dtype=torch.int64, device=device)
        self._slots = torch.arange(shape.num_rows, device=device).repeat_interleave(shape.width)
        self._offsets = torch.arange(shape.width, device=device)
        self._all_places = torch.arange(shape.length, device=device)
        self._prefix_lengths = torch.tensor([prefix.length for prefix in prefixes], device=device)

    def fill(self, rows: Sequence[StepRow], reads: Sequence[Sequence[int]]) -> None:
        """Take the rows and tokens of the next forward."""
        owners = {id(prefix): index for index, prefix in enumerate(self._prefixes)}
        contents = np.zeros(self._buffer.shape, dtype=np.int64)
        for content, row, read in zip(contents, rows, reads, strict=False):
            content[:2] = row.length, owners[id(row.prefix)]
            content[2 : 2 + len(read)] = read
        self._buffer.copy_(torch.from_numpy(contents))

    def begin(self) -> None:
        """Find out where the tokens belong; what it makes is of one forward, and recorded with it."""
        num_rows, width, _ = self._shape
        lengths, owners = self._buffer[:, 0], self._buffer[:, 1]
        places = lengths[:, None] + self._offsets
        self.tokens = self._buffer[:, 2:].flatten()
        """(R * W,)."""
        self.positions = (places + self._prefix_lengths[owners][:, None]).flatten()
        """(R * W,) of each token, counted from the start of its prefix."""
        self._places = places.flatten()
        self._owners = owners[:, None].expand(num_rows, width).flatten()
        # For scores (R, H', W, G, places).
        self._is_hidden = (self._all_places > places[..., None])[:, None, :, None]
        self._is_foreign = [
            (owners != index)[:, None, None, None, None] for index in range(len(self._prefixes))
        ]

    def gates(self) -> Tensor | None:
        """The gates (linears, R * W or 1, C) of the tokens, a tensor of its own each time.

        What is made of them may be kept until there are others: never in another forward's memory.
        """
        gates = [prefix.gates for prefix in self._prefixes if prefix.gates is not None]
        if len(gates) < len(self._prefixes):
            return None
        return gates[0].clone() if len(gates) == 1 else torch.cat(gates, dim=1)[:, self._owners]

    def alive(self) -> tuple[bool, ...]:
        """Which capabilities have a gate other than 0 in any row."""
        return tuple(map(any, zip(*(prefix.alive for prefix in self._prefixes), strict=True)))

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Write keys and values (R * W, H', D), and attend from the queries (R * W, H, D)."""
        num_rows, width, length = self._shape
        keys, values = self._cache.layer(layer, key)
        keys[self._slots, :, :, self._places] = key
        values[self._slots, :, self._places] = value
        num_heads, groups = key.shape[1], query.shape[1] // key.shape[1]
        queries = query.view(num_rows, width, num_heads, groups, -1)
        # (R, H', W * G, D): G query heads share a key head.
        queries = (queries.transpose(1, 2) * scaling).flatten(2, 3)
        by_token = (num_rows, num_heads, width, groups, -1)
        own = (queries @ keys[:num_rows, ..., :length]).view(by_token)
        parts = []
        for prefix, is_foreign in zip(self._prefixes, self._is_foreign, strict=True):
            part = by_row(by_head(queries) @ prefix.keys[layer].transpose(1, 2), width * groups)
            parts.append(part.reshape(by_token).masked_fill(is_foreign, -torch.inf))
        scores = torch.cat([*parts, own.masked_fill(self._is_hidden, -torch.inf)], dim=-1)
        weights = scores.float().softmax(dim=-1).to(queries.dtype).flatten(2, 3)
        *of_prefixes, of_slots = torch.split(weights, [*(part.shape[-1] for part in parts), length], dim=-1)
        mixed: Tensor = of_slots @ values[:num_rows, :, :length]
        for prefix, of_prefix in zip(self._prefixes, of_prefixes, strict=True):
            mixed = mixed + by_row(by_head(of_prefix) @ prefix.values[layer], width * groups)
        return mixed.view(by_token).transpose(1, 2).reshape(query.shape)


class StaticSteps:
    """Does forwards in fixed shapes, each recorded when it is first needed.

    Recordings point into one cache, which is kept from stream to stream; a stream that runs beside another
    has a cache of its own and no recordings.

    Args:
        forward: the hidden states (R * W, D) of a step's tokens, once its `begin` was called.
        cache: the slots.
        device: of the model.
        recorder: makes the recorder of the next steps; on CUDA devices `CudaRecorder` if left out, elsewhere
            nothing is recorded.
    """

    def __init__(
        self,
        forward: Callable[[StaticStep], Tensor],
        cache: SlotCache,
        device: torch.device,
        recorder: Callable[[], Recorder] | None = None,
    ) -> None:
        self.cache = cache
        self._forward = forward
        self._device = device
        on_device = partial(CudaRecorder, device) if device.type == "cuda" else lambda: _unrecorded
        self._new_recorder: Callable[[], Recorder] = recorder or on_device
        self._is_broken = False
        self._drop()

    def read(
        self, rows: Sequence[StepRow], reads: Sequence[Sequence[int]], variant: Hashable
    ) -> tuple[Tensor, Sequence[int]] | None:
        """The hidden states (R * W, D) of what rows read, and where those of each row begin.

        They are overwritten by the next forward. None where the forward is too large for a fixed shape, or
        where recording has failed: nothing was read then that cannot be read again.

        Args:
            rows: row i is slot i.
            reads: the tokens of each.
            variant: what the model computes differently by; no recording is replayed for another.
        """
        longest = max(row.num_tokens for row in rows)
        prefixes = list({id(row.prefix): row.prefix for row in rows}.values())
        if self._is_broken or longest > LONGEST_PADDED or len(prefixes) > MAX_PREFIXES:
            return None
        shape = Shape.around(rows)
        if shape.num_rows * shape.width > MAX_TOKENS:
            return None
        self.cache.reserve(shape.num_rows, shape.length)
        if self.cache.version != self._version:
            self._drop()
        # In a fixed order, since rows come and go; a step holds its prefixes, so no id is used again.
        prefixes.sort(key=id)
        key = (shape, tuple(map(id, prefixes)), variant)
        if key not in self._steps:
            step = StaticStep(self.cache, shape, prefixes, self._device)
            step.fill(rows, reads)
            try:
                self._steps[key] = (step, self._recorder(partial(self._run, step)))
            except Exception as error:  # of any class: an answer does not depend on how fast it comes
                self._give_up(error)
                return None
            if len(self._steps) > MAX_STEPS:
                self._steps.popitem(last=False)
        self._steps.move_to_end(key)
        step, forward = self._steps[key]
        step.fill(rows, reads)
        return forward(), range(0, len(rows) * shape.width, shape.width)

    def _run(self, step: StaticStep) -> Tensor:
        step.begin()
        return self._forward(step)

    def _drop(self) -> None:
        """Forget the recordings: they point where the cache was before it grew."""
        self._steps: OrderedDict[Hashable, tuple[StaticStep, Forward]] = OrderedDict()
        self._recorder = self._new_recorder()
        self._version = self.cache.version

    def _give_up(self, error: Exception) -> None:
        self._is_broken = True
        self._steps.clear()
        # Ending a capture that failed raises another error, behind which the cause would be lost.
        cause = error.__context__ or error
        logger.warning(
            "this model runs without CUDA graphs, with the same answers at less speed: recording failed with "
            "%s: %s. Leave cuda_graphs out",
            type(cause).__name__,
            str(cause).partition("\n")[0],
        )


class CudaRecorder:
    """Records work as CUDA graphs; they share one pool of memory and are replayed one after the other.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # A pool may not be used again once all of its graphs are gone: hence a recorder for each time.
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, forward: Forward) -> Forward:
        """What launches the kernels of `forward` again; its tensor is overwritten by the next replay.

        Raises:
            RuntimeError: the forward does what cannot be recorded, such as waiting for the device, or the
                replay computes something else.
        """
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        graph = torch.cuda.CUDAGraph()
        # This context restores the current stream if the capture fails, which torch's own does not.
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            for _ in range(WARMUPS):
                expected = forward()
            # Other threads may use the device meanwhile.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                output = forward()
            graph.replay()
            difference = (output - expected).abs().max()
            if not difference <= TOLERANCE * expected.abs().max():
                raise RuntimeError("the replayed forward differs from the one that was recorded")
        current.wait_stream(self._stream)

        def replay() -> Tensor:
            graph.replay()
            return output

        return replay


def _unrecorded(forward: Forward) -> Forward:
    return forward


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _multiple(number: int, step: int) -> int:
    return -(-number // step) * step
