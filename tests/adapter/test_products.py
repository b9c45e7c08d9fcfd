"""Products in the CPU's own layout: the numbers of `linear`, for any number of rows."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ucuie.engine.products import Int8Product, Product, are_plain, has_int8, product, product_of


@pytest.mark.parametrize("num_rows", [0, 1, 7, 8, 9, 63, 64, 65, 300])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_is_a_linear_for_any_number_of_rows(num_rows: int, has_bias: bool) -> None:
    torch.manual_seed(num_rows)
    weight, bias = torch.randn(40, 24), torch.randn(40) if has_bias else None
    rows = torch.randn(num_rows, 24)
    torch.testing.assert_close(Product(weight, bias)(rows), F.linear(rows, weight, bias))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.float16])
def test_a_product_keeps_the_dtype(dtype: torch.dtype) -> None:
    weight, rows = torch.randn(12, 16).to(dtype), torch.randn(20, 16).to(dtype)
    output = Product(weight)(rows)
    assert output.dtype == dtype
    torch.testing.assert_close(output, F.linear(rows, weight), rtol=2e-2, atol=2e-2)


def test_linears_of_one_input_become_one_product() -> None:
    linears = [nn.Linear(16, width) for width in (8, 4, 20)]
    rows = torch.randn(33, 16)
    together = product_of(linears)(rows)
    torch.testing.assert_close(together, torch.cat([linear(rows) for linear in linears], dim=1))


needs_int8 = pytest.mark.skipif(
    not has_int8(torch.zeros(1)), reason="torch without oneDNN has no int8 products"
)


@needs_int8
@pytest.mark.parametrize("has_bias", [True, False])
def test_an_int8_product_is_off_by_a_hundredth_whatever_rows_are_beside_it(has_bias: bool) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(96, 64), torch.randn(96) if has_bias else None
    rows = torch.randn(50, 64) * torch.logspace(-6, 6, 50)[:, None]
    rows[7] = 0
    rounded = Int8Product(weight, bias)
    output, exact = rounded(rows), F.linear(rows, weight, bias)
    errors = (output - exact).norm(dim=1) / exact.norm(dim=1).clamp_min(1e-9)
    assert errors.max() < 0.02
    for index in (0, 7, 49):
        assert torch.equal(rounded(rows[index : index + 1])[0], output[index])
    assert rounded(rows[:0]).shape == (0, 96)


@needs_int8
def test_a_row_of_weights_that_is_zero_gives_zeros() -> None:
    weight = torch.randn(8, 16)
    weight[3] = 0
    assert torch.equal(Int8Product(weight)(torch.randn(5, 16))[:, 3], torch.zeros(5))


@needs_int8
def test_only_large_float32_weights_are_rounded() -> None:
    assert isinstance(product(torch.randn(512, 512), int8=True), Int8Product)
    assert isinstance(product(torch.randn(512, 512)), Product)
    assert isinstance(product(torch.randn(16, 16), int8=True), Product)
    assert isinstance(product(torch.randn(512, 512).bfloat16(), int8=True), Product)


def test_adapted_hooked_and_unlike_linears_are_not_plain() -> None:
    class Adapted(nn.Linear):
        pass

    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda *_: None)
    assert are_plain([nn.Linear(4, 4), nn.Linear(4, 2)])
    assert not are_plain([Adapted(4, 4)])
    assert not are_plain([hooked])
    assert not are_plain([nn.Linear(4, 4), nn.Linear(4, 4, bias=False)])
