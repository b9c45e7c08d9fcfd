"""Instructions that were read once: their keys, values and gates, kept for the texts that follow."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor
from transformers import DynamicCache


@dataclass(frozen=True, eq=False)
class Prefix:
    """What all rows of an instruction share.

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
        """Which capabilities have a gate other than 0 in any linear."""
        if self.gates is None:
            return ()
        return tuple((self.gates != 0).flatten(0, 1).any(dim=0).tolist())

    @property
    def length(self) -> int:
        """Its tokens."""
        return self.keys[0].shape[1]

    @property
    def num_bytes(self) -> int:
        """Of its keys and values."""
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
        """Of all prefixes."""
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
