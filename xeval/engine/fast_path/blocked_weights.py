"""Weights laid out in oneDNN's blocks, for evaluation on a processor in bfloat16.

Under autocast, every product lays out its weights anew for each batch. An evaluation never changes weights, so here
they are laid out once, and layers that read the same input are one product. The products stay the same; where this was
measured, so did every bit of the logits.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from xeval.engine.devices import Compute
from xeval.engine.fast_path import onednn
from xeval.engine.fast_path.acting_as import acting_as
from xeval.engine.fast_path.half_products import HalfLinear
from xeval.engine.fast_path.one_input import OneInput, groups_of

_PLAIN = (torch.nn.Linear, HalfLinear)  # a checkpoint is chosen while its layers are half products


@contextmanager
def blocked_weights(
    model: torch.nn.Module, compute: Compute, of_one_input: Sequence[tuple[torch.nn.Linear, ...]] = ()
) -> Iterator[None]:
    """While this lasts, use blocked weights, which give no gradients, in `model`'s linear layers if that is faster.

    `of_one_input` are groups of layers that are always called with the same input, one after the other.
    """
    if compute.device.type != "cpu" or compute.dtype != torch.bfloat16 or not onednn.is_supported():
        yield
        return
    groups = groups_of(model, of_one_input, _PLAIN)
    products = {group: _Product(group, compute.token_budget()) for group in groups}
    with acting_as(_BlockedLinear, {layer: {"blocked": products[group]} for group in groups for layer in group}):
        yield


class _Product:
    """The product of one input, of about `n_rows` rows, with the weights of `layers`."""

    def __init__(self, layers: tuple[torch.nn.Linear, ...], n_rows: int) -> None:
        self.together = OneInput(layers)
        weights = [layer.weight.detach() for layer in layers]  # (out, in) each
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self._blocks = onednn.in_blocks(torch.cat(weights).to(torch.bfloat16), n_rows)
        self._bias = torch.cat(biases).to(torch.bfloat16) if biases else None  # (out of all layers,)

    def outputs(self, input: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (..., out) bfloat16 for each layer; `input` is (..., in), float32 or bfloat16."""
        output = onednn.linear(input.to(torch.bfloat16), self._blocks, self._bias)
        return tuple(output.split(self.together.sizes, -1))


class _BlockedLinear(torch.nn.Linear):
    blocked: _Product

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.blocked.together.output(self, input, self.blocked.outputs)
