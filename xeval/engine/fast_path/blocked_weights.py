"""Weights laid out in oneDNN's blocks, for evaluation on a processor in bfloat16.

Under autocast, every product lays out its weights anew for each batch. An evaluation never changes weights, so here
they are laid out once. The products stay the same; where this was measured, so did every bit of the logits.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from xeval.engine.devices import Compute
from xeval.engine.fast_path.acting_as import acting_as


@contextmanager
def blocked_weights(model: torch.nn.Module, compute: Compute) -> Iterator[None]:
    """While this lasts, use blocked weights, which give no gradients, in `model`'s linear layers if that is faster."""
    layers = [layer for layer in model.modules() if type(layer) is torch.nn.Linear] if _gains(compute) else []
    with acting_as(_BlockedLinear, {layer: _laid_out(layer, compute.token_budget()) for layer in layers}):
        yield


def _laid_out(layer: torch.nn.Linear, n_rows: int) -> Mapping[str, torch.Tensor | None]:
    """Return the weight in blocks for products with about `n_rows` rows, and the bias, (out,), both in bfloat16."""
    weight = layer.weight.detach().to(torch.bfloat16)  # (out, in)
    bias = None if layer.bias is None else layer.bias.detach().to(torch.bfloat16)
    return {"blocks": torch.ops.mkldnn._reorder_linear_weight(weight, n_rows), "half_bias": bias}


def _gains(compute: Compute) -> bool:
    if compute.device.type != "cpu" or compute.dtype != torch.bfloat16:
        return False
    operations = torch.ops.mkldnn  # lacks all of these in builds of torch without oneDNN
    names = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    return all(hasattr(operations, name) for name in names) and bool(operations._is_mkldnn_bf16_supported())


class _BlockedLinear(torch.nn.Linear):
    blocks: torch.Tensor
    half_bias: torch.Tensor | None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return (..., out) bfloat16 for `input`, (..., in) float32 or bfloat16."""
        half = input.to(torch.bfloat16)
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(half, self.blocks, self.half_bias, "none", [], "")
        return output
