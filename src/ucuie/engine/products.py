"""Products with weights that stay as they are, in the layout that the CPU multiplies fastest."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL_PRODUCT = 400_000
"""Multiplications that take less time plainly than oneDNN's call takes."""
ROUNDED_ROWS = ((8, 1), (64, 8))
"""oneDNN compiles and keeps half a megabyte of code for each number of rows, so many rows are rounded up: up
to the first number to a multiple of the second."""
LARGE_STEP = 32
"""What more rows than these are rounded to."""
PACKABLE = (torch.float32, torch.bfloat16)
FEWEST_INT8 = 3 * 2**16
"""A weight of fewer numbers takes no longer as it is than rounding its inputs takes."""
LEVELS = 127
"""Of int8 on either side of 0."""


class Product:
    """x W^T + b, the same numbers as `F.linear` up to the order of its sums.

    oneDNN multiplies weights that it laid out itself; torch takes MKL for weights as they lie, at half the
    speed on CPUs of AMD. On other devices this is `F.linear`.

    Args:
        weight: (K, D).
        bias: (K,), or None.
        copies: False leaves the weight as it lies, which then is in memory once.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, copies: bool = True) -> None:
        self._weight: Tensor | None = weight
        self._bias = bias
        self._packed: Tensor | None = None
        if copies and weight.device.type == "cpu" and weight.dtype in PACKABLE and torch._C._has_mkldnn:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
            if weight.numel() > SMALL_PRODUCT:
                # No product with it is small, so it need not be in memory twice.
                self._weight = None

    def __call__(self, rows: Tensor) -> Tensor:
        """Map (N, D) to (N, K)."""
        num_rows = len(rows)
        if (weight := self._plain(num_rows)) is not None:
            return F.linear(rows, weight, self._bias)
        step = next((step for most, step in ROUNDED_ROWS if num_rows <= most), LARGE_STEP)
        if num_spare := -num_rows % step:
            rows = F.pad(rows, (0, 0, 0, num_spare))
        output: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._packed, self._bias, "none", [], "")
        return output[:num_rows]

    def add_to(self, output: Tensor, rows: Tensor) -> None:
        """Add x W^T + b to `output` (N, K), without a bias in one operation."""
        if self._bias is None and (weight := self._plain(len(rows))) is not None:
            output.addmm_(rows, weight.t())
        else:
            output += self(rows)

    def _plain(self, num_rows: int) -> Tensor | None:
        """The weight as it lies, where it is multiplied so."""
        if self._packed is None or self._weight is None or num_rows * self._weight.numel() <= SMALL_PRODUCT:
            return self._weight
        return None


class Int8Product:
    """x W^T + b with W and x rounded to 8 bits, each row by a scale of its own.

    Sums of integers are exact, so that a row's output does not depend on the rows beside it. Relative error
    about 1 %; a quarter of the memory to read, which is what few rows wait for. CPU only.

    Args:
        weight: (K, D), float32.
        bias: (K,), or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._bias = bias
        scales = weight.abs().amax(1).clamp_min(torch.finfo(weight.dtype).tiny) / LEVELS
        rounded = (weight / scales[:, None]).round().to(torch.int8)
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._weight = (torch.ops.onednn.qlinear_prepack(rounded, None), scales, zeros)
        # The CPU's instructions multiply unsigned by signed numbers.
        self._middle = torch.tensor(float(LEVELS + 1))

    def __call__(self, rows: Tensor) -> Tensor:
        """Map (N, D) to (N, K)."""
        scales = rows.abs().amax(1, keepdim=True).clamp_min_(torch.finfo(rows.dtype).tiny).div_(LEVELS)
        rounded = torch.addcdiv(self._middle, rows, scales).round_().to(torch.uint8)
        output: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, LEVELS + 1, *self._weight, None, 1.0, 0, torch.float32, "none", [], ""
        )
        output.mul_(scales)
        return output if self._bias is None else output.add_(self._bias)


def product(weight: Tensor, bias: Tensor | None = None, *, int8: bool = False) -> Product | Int8Product:
    """The product with a weight (K, D) and a bias (K,); in 8 bits if asked for, where that is faster."""
    is_rounded = int8 and weight.numel() >= FEWEST_INT8 and weight.dtype == torch.float32
    return (Int8Product if is_rounded else Product)(weight, bias)


def product_of(linears: Sequence[Any], *, int8: bool = False) -> Product | Int8Product:
    """Several linears of one input as one product, their outputs side by side."""
    biases = [linear.bias for linear in linears]
    bias = None if biases[0] is None else torch.cat(biases)
    weights = [linear.weight.detach() for linear in linears]
    return product(weights[0] if len(weights) == 1 else torch.cat(weights), bias, int8=int8)


def has_int8(weight: Tensor) -> bool:
    """Tell whether products with such a weight can be rounded here: torch with oneDNN, float32 on a CPU."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch._C._has_mkldnn
        and hasattr(torch.ops.onednn, "qlinear_prepack")
    )


def are_plain(modules: Sequence[Any]) -> bool:
    """Tell whether modules are linears and nothing else, without hooks, all with a bias or none."""
    return (
        all(type(module) is nn.Linear and not module._forward_hooks for module in modules)
        and len({module.bias is None for module in modules}) == 1
    )
