"""oneDNN's own operations give the products that torch gives."""

import pytest
import torch

from xeval.engine.fast_path import onednn

pytestmark = pytest.mark.skipif(not onednn.is_supported(), reason="oneDNN has no bfloat16 on this processor")


def half(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(torch.bfloat16)


def assert_near(got: torch.Tensor, exact: torch.Tensor) -> None:
    """Within the rounding of bfloat16, relative to the largest number."""
    assert got.dtype == torch.bfloat16
    assert (got.double() - exact).abs().max() <= 2**-8 * exact.abs().max()


@pytest.mark.parametrize("bias", [None, half(130)], ids=["no bias", "bias"])
@pytest.mark.parametrize("in_blocks", [False, True])
@pytest.mark.parametrize("shape", [(5,), (2, 9), (0,)])
def test_linear(shape, in_blocks, bias):
    rows, weight = half(*shape, 72), half(130, 72)
    exact = rows.double() @ weight.double().T + (0 if bias is None else bias.double())
    got = onednn.linear(rows, onednn.in_blocks(weight, 64) if in_blocks else weight, bias)
    if 0 in shape:
        assert got.shape == exact.shape
    else:
        assert_near(got, exact)


def test_transposed_weight():
    rows, weight = half(33, 130), half(130, 72)
    assert_near(onednn.linear(rows, weight.mT, None), rows.double() @ weight.double())


@pytest.mark.parametrize("bias", [None, half(130)], ids=["no bias", "bias"])
@pytest.mark.parametrize("shape", [(66,), (1, 10), (3, 22)])
def test_linear_in_halves(shape, bias):
    rows, weight = half(*shape, 72), half(130, 72)
    got = onednn.linear_in_halves(rows, torch.stack([weight, weight]), bias)
    assert_near(got, rows.double() @ weight.double().T + (0 if bias is None else bias.double()))


@pytest.mark.parametrize(("a", "b"), [(48, 48), (24, 100), (100, 24), (1, 7)])
def test_product_over_rows(a, b):
    some, other = half(65, a), half(65, b)
    assert_near(onednn.product_over_rows(some, other), some.double().T @ other.double())
