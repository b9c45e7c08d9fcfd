"""Products in the CPU's own layout: the numbers of `linear`, for any number of rows."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ucuie.adapter.products import Product, are_plain


@pytest.mark.parametrize("num_rows", [0, 1, 7, 8, 9, 63, 64, 65, 300])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_is_a_linear_for_any_number_of_rows(num_rows, has_bias):
    torch.manual_seed(num_rows)
    weight, bias = torch.randn(40, 24), torch.randn(40) if has_bias else None
    rows = torch.randn(num_rows, 24)
    torch.testing.assert_close(Product(weight, bias)(rows), F.linear(rows, weight, bias))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.float16])
def test_a_product_keeps_the_dtype(dtype):
    weight, rows = torch.randn(12, 16).to(dtype), torch.randn(20, 16).to(dtype)
    product = Product(weight)(rows)
    assert product.dtype == dtype
    torch.testing.assert_close(product, F.linear(rows, weight), rtol=2e-2, atol=2e-2)


def test_linears_of_one_input_become_one_product():
    linears = [nn.Linear(16, width) for width in (8, 4, 20)]
    rows = torch.randn(33, 16)
    together = Product.of_linears(linears)(rows)
    torch.testing.assert_close(together, torch.cat([linear(rows) for linear in linears], dim=1))


def test_adapted_hooked_and_unlike_linears_are_not_plain():
    class Adapted(nn.Linear):
        pass

    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda *_: None)
    assert are_plain([nn.Linear(4, 4), nn.Linear(4, 2)])
    assert not are_plain([Adapted(4, 4)])
    assert not are_plain([hooked])
    assert not are_plain([nn.Linear(4, 4), nn.Linear(4, 4, bias=False)])
