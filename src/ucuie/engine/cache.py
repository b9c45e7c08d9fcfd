"""Keys and values that were computed once: of instructions, and of the outputs being written.

A prefix keeps those of an instruction, with its gates, for the texts that follow. Each output has a slot,
whose memory is used again. Knows no model and no attention.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


@dataclass(frozen=True, eq=False)
class Prefix:
    """The keys, values and gates that all rows of an instruction share.

    Args:
        keys: (H, P, D) of each layer.
        values: (H, P, D) of each layer.
        gates: (linears, 1, C); None for a model without our adapter.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    gates: Tensor | None

    @classmethod
    def of_cache(cls, cache: DynamicCache, gates: Tensor | None) -> "Prefix":
        """The prefix that a cache of one row holds."""
        keys, values = zip(*((layer.keys[0], layer.values[0]) for layer in cache.layers), strict=True)
        return cls(keys, values, gates)

    @cached_property
    def alive(self) -> tuple[bool, ...]:
        """For each capability, if it has a gate other than 0 in any linear."""
        if self.gates is None:
            return ()
        return tuple((self.gates != 0).flatten(0, 1).any(dim=0).tolist())

    @property
    def length(self) -> int:
        """Its tokens."""
        return self.keys[0].shape[1]

    @property
    def num_bytes(self) -> int:
        """Bytes that its keys and values take."""
        return sum(part.nbytes for part in (*self.keys, *self.values))


class PrefixCache:
    """The prefixes of the last instructions, the least recently used dropped first.

    Args:
        max_bytes: of keys and values; the last prefix is kept whatever its size.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._prefixes: OrderedDict[Any, Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._prefixes)

    @property
    def num_bytes(self) -> int:
        """Bytes that all prefixes take."""
        return sum(prefix.num_bytes for prefix in self._prefixes.values())

    def get(self, key: Any) -> Prefix | None:
        """The prefix of a key, if it is kept."""
        if key in self._prefixes:
            self._prefixes.move_to_end(key)
        return self._prefixes.get(key)

    def add(self, key: Any, prefix: Prefix) -> None:
        """Keep a prefix."""
        self._prefixes[key] = prefix
        while len(self._prefixes) > 1 and self.num_bytes > self._max_bytes:
            self._prefixes.popitem(last=False)


_LENGTH_STEP = 64


class SpareMemory:
    """The memory that caches gave back, for the next ones: fresh memory takes longer to get than to use."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[Tensor] = []

    @property
    def num_bytes(self) -> int:
        """Bytes that are kept."""
        return sum(piece.nbytes for piece in self._pieces)

    def zeros(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Zeros of a shape, with the dtype and device of another tensor."""
        size = prod(shape)
        kind = (like.dtype, like.device)
        for index, piece in enumerate(self._pieces):
            if piece.numel() >= size and (piece.dtype, piece.device) == kind:
                return self._pieces.pop(index)[:size].zero_().view(shape)
        return like.new_zeros(shape)

    def give(self, tensor: Tensor) -> None:
        """Keep the memory of a tensor that is not looked at any more; large pieces rather than small ones."""
        whole = tensor.new_empty(0).set_(tensor.untyped_storage())
        self._pieces.append(whole)
        self._pieces.sort(key=lambda piece: piece.nbytes)
        while self.num_bytes > self._max_bytes:
            self._pieces.pop(0)


class SlotCache:
    """Keys (S, H, D, L) and values (S, H, L, D) of each layer; S and L grow when needed.

    Keys lie as a product with few queries wants them: on a CPU it is three times as fast.
    """

    def __init__(self, spare: SpareMemory) -> None:
        self._spare = spare
        self._num_slots = 0
        self._length = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def reserve(self, num_slots: int, length: int) -> None:
        """Make so many slots hold so many tokens each."""
        if num_slots <= self._num_slots and length <= self._length:
            return
        before = (self._num_slots, self._length)
        if num_slots > self._num_slots:
            self._num_slots = max(num_slots, self._num_slots * 3 // 2)
        if length > self._length:
            self._length = -(-length * 3 // 2 // _LENGTH_STEP) * _LENGTH_STEP
        for layer, (keys, values) in self._layers.items():
            grown_keys, grown_values = self._empty(keys)
            grown_keys[: before[0], ..., : before[1]] = keys
            grown_values[: before[0], :, : before[1]] = values
            self._layers[layer] = (grown_keys, grown_values)
            self._spare.give(keys)
            self._spare.give(values)

    def layer(self, index: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, made when it first asks; `like` (N, H, D) says what of."""
        if index not in self._layers:
            self._layers[index] = self._empty(like)
        return self._layers[index]

    @torch.inference_mode()
    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first tokens of one slot to another, which may be a new one."""
        self.reserve(target + 1, length)
        for keys, values in self._layers.values():
            keys[target, ..., :length] = keys[source, ..., :length]
            values[target, :, :length] = values[source, :, :length]

    def release(self) -> None:
        """Hold nothing any more; others may have the memory."""
        for keys, values in self._layers.values():
            self._spare.give(keys)
            self._spare.give(values)
        self._layers.clear()
        self._num_slots = self._length = 0

    def _empty(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Zeros: what nobody has written yet is looked at with weight 0, and must be a number for that."""
        num_heads, width = like.shape[1], like.shape[2]
        return (
            self._spare.zeros((self._num_slots, num_heads, width, self._length), like),
            self._spare.zeros((self._num_slots, num_heads, self._length, width), like),
        )
