"""Products in bfloat16 on a processor, by the operations of oneDNN that torch's compiler uses.

`torch.nn.functional.linear` first copies the bias into every row of its output. oneDNN adds it to the product.
"""

from functools import cache

import torch

from xeval.engine.devices import processor_capabilities

_NAMES = ("_is_mkldnn_bf16_supported", "_linear_pointwise", "_reorder_linear_weight")


@cache
def is_supported() -> bool:
    """Return whether this build of torch has these operations, and this processor instructions for them."""
    operations = torch.ops.mkldnn  # lacks all of these in builds of torch without oneDNN
    return all(hasattr(operations, name) for name in _NAMES) and bool(operations._is_mkldnn_bf16_supported())


def linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return (..., out), as `torch.nn.functional.linear` does, without a gradient.

    `input` is (..., in), `weight` (out, in), possibly `in_blocks`, and `bias` (out,), all bfloat16.
    """
    output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return output


def has_amx() -> bool:
    """Return whether this processor multiplies bfloat16 in tiles."""
    return is_supported() and bool(processor_capabilities().get("amx_bf16"))


def leaves_a_thread_idle(n_rows: int, n_outputs: int) -> bool:
    """Return whether oneDNN computes such a product, (n_rows, n_outputs), on one of two threads.

    With AMX, it takes the blocks that are most efficient for each thread, even if a single thread then does everything:
    `find_best_blocking` in oneDNN's src/cpu/x64/matmul/amx_blocking_heuristics.cpp.
    """
    return n_outputs <= n_rows < 2 * n_outputs


def linear_in_halves(input: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return what `linear` does, for an even number of rows; each of two threads multiplies half of them.

    `weights` are two copies of the weight, (2, out, in), since oneDNN would copy a weight that both halves share.
    """
    halves = input.reshape(2, -1, input.shape[-1])
    output = torch.bmm(halves, weights.mT) if bias is None else torch.baddbmm(bias, halves, weights.mT)
    return output.view(*input.shape[:-1], -1)


def in_blocks(weight: torch.Tensor, n_rows: int) -> torch.Tensor:
    """Return `weight`, (out, in) bfloat16, laid out for products with about `n_rows` rows."""
    blocks: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, n_rows)
    return blocks


def product_over_rows(some: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return `some`ᵀ `other`, (a, b), for (n, a) and (n, b), all bfloat16.

    With AMX, a product is nearly half as fast if its left factor has to be read transposed. If that is the smaller one,
    it is transposed first.
    """
    if some.shape[1] >= other.shape[1]:
        return some.mT @ other
    transposed: torch.Tensor = torch._mkldnn_transpose(some.to_mkldnn(), 0, 1).to_dense()
    return transposed @ other
