"""Products with weights that stay as they are, in the layout that the CPU multiplies fastest."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEWEST_ROWS = 4
"""With fewer rows the plain product is the faster one."""
PACKABLE = (torch.float32, torch.bfloat16)


class Product:
    """x W^T + b, the same numbers as `F.linear` up to the order of its sums.

    oneDNN multiplies weights that it laid out itself; torch takes MKL for weights as they lie, at half the
    speed on CPUs of AMD. On other devices this is `F.linear`.

    Args:
        weight: (K, D).
        bias: (K,), or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._weight = weight
        self._bias = bias
        self._packed: Tensor | None = None
        if weight.device.type == "cpu" and weight.dtype in PACKABLE and torch._C._has_mkldnn:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())

    @classmethod
    def of_linears(cls, linears: Sequence[Any]) -> "Product":
        """Several linears of one input as one product, their outputs side by side."""
        biases = [linear.bias for linear in linears]
        bias = None if biases[0] is None else torch.cat(biases)
        weights = [linear.weight.detach() for linear in linears]
        return cls(weights[0] if len(weights) == 1 else torch.cat(weights), bias)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self._weight.dtype

    def __call__(self, rows: Tensor) -> Tensor:
        """Map (N, D) to (N, K)."""
        if self._packed is None or len(rows) < FEWEST_ROWS:
            return F.linear(rows, self._weight, self._bias)
        output: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self._bias, "none", [], "")
        return output


def are_plain(modules: Sequence[Any]) -> bool:
    """Whether modules are linears and nothing else, without hooks, all with a bias or none."""
    return (
        all(type(module) is nn.Linear and not module._forward_hooks for module in modules)
        and len({module.bias is None for module in modules}) == 1
    )
