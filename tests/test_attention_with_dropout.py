"""Attention with dropout on a processor: which weights it drops, and gradients that belong to its output."""

import pytest
import torch

from xeval.engine.fast_path.attention_with_dropout import attend_with_dropout
from xeval.engine.fast_path.packing import Sequences

RATE = 0.25
LENGTHS = [5, 5, 3, 1]
RUNS = ((2, 5), (1, 3), (1, 1))
HEADS, SIZE = 2, 6


def sequences() -> Sequences:
    offsets = torch.tensor([0, *LENGTHS]).cumsum(0).to(torch.int32)
    return Sequences(offsets, RUNS, torch.arange(len(LENGTHS)), max(LENGTHS))


def vectors(n: int, seed: int) -> torch.Tensor:
    """(n, heads, size) float64"""
    return torch.randn(n, HEADS, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def queries(of_first: bool) -> torch.Tensor:
    return vectors(len(LENGTHS) if of_first else sum(LENGTHS), 0)


def attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)
    return attend_with_dropout(query, key, value, sequences(), RATE)


@pytest.mark.parametrize("of_first", [False, True])
def test_weights_are_dropped_or_scaled(of_first):
    key = vectors(sum(LENGTHS), 1)
    # With the unit vector of its place as its value, each token's weight can be read off.
    value = torch.cat([torch.eye(length, SIZE, dtype=torch.float64) for length in LENGTHS])[:, None].expand(
        -1, HEADS, -1
    )
    got = attended(queries(of_first), key, value)
    n_dropped = 0
    for i, length in enumerate(LENGTHS):
        start = sum(LENGTHS[:i])
        own = slice(i, i + 1) if of_first else slice(start, start + length)
        for head in range(HEADS):
            scores = queries(of_first)[own, head] @ key[start : start + length, head].T / SIZE**0.5
            weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
            seen = got[own, head]
            is_kept = seen[:, :length] != 0
            torch.testing.assert_close(seen[:, :length], torch.where(is_kept, weights / (1 - RATE), 0.0))
            assert not seen[:, length:].any()
            n_dropped += int((~is_kept).sum())
    n_weights = HEADS * sum(length if of_first else length**2 for length in LENGTHS)
    assert 0 < n_dropped < n_weights / 2


@pytest.mark.parametrize("of_first", [False, True])
def test_gradients_are_those_of_the_output(of_first):
    inputs = (queries(of_first), vectors(sum(LENGTHS), 1), vectors(sum(LENGTHS), 2))
    assert torch.autograd.gradcheck(attended, [tensor.requires_grad_() for tensor in inputs])


@pytest.mark.parametrize("of_first", [False, True])
def test_bfloat16_differs_by_rounding_only(of_first):
    half = [tensor.bfloat16() for tensor in (queries(of_first), vectors(sum(LENGTHS), 1), vectors(sum(LENGTHS), 2))]
    of_output = torch.randn(half[0].shape, generator=torch.Generator().manual_seed(4)).bfloat16()
    results = []
    for dtype in (torch.bfloat16, torch.float64):
        inputs = [tensor.to(dtype).requires_grad_() for tensor in half]
        output = attended(*inputs)
        assert output.dtype == dtype
        results.append([output, *torch.autograd.grad(output, inputs, of_output.to(dtype))])
    for got, exact in zip(*results, strict=True):
        torch.testing.assert_close(got.double(), exact, rtol=2**-8, atol=1e-5)
