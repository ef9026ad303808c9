"""Matrix products in bfloat16 without repeated casts of weights and without casts of gradients.

Under autocast, every linear layer casts its weight, bias and input in the forward pass, and their gradients in the
backward pass; on a GPU, most launches of a training step are such casts. Here, weights have copies in bfloat16, made
once after each optimizer step. Layers that read the same input are one product, which uses a processor with AMX better
than three narrow ones, and products that would leave one of two threads idle there are computed in halves. On a GPU,
products return their gradients directly in float32, with the sums that tensor cores keep anyway. The products stay the
same, and a GPU rounds gradients once less.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from xeval.engine.fast_path import onednn
from xeval.engine.fast_path.acting_as import acting_as
from xeval.engine.fast_path.one_input import OneInput, groups_of

_MOST_ONES = 2**16  # rows of a batch; larger batches make their own ones


class HalfWeights:
    """Copies in bfloat16 of the weights of linear layers."""

    def __init__(self, products: Sequence["_Product"]) -> None:
        self._masters = [tensor for product in products for tensor in product.masters]
        self._copies = [tensor for product in products for tensor in product.copies]
        self._seconds = [(second, product.weight) for product in products for second in product.weights[1:]]
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the weights as they are now; call this after each change of the weights."""
        if self._masters:
            torch._foreach_copy_(self._copies, self._masters)
        for second, first in self._seconds:
            second.copy_(first)


@contextmanager
def half_products(
    model: torch.nn.Module, of_one_input: Sequence[tuple[torch.nn.Linear, ...]] = ()
) -> Iterator[HalfWeights]:
    """While this lasts, the linear layers of `model` multiply as described above whenever it is in training mode.

    `of_one_input` are groups of layers that are always called with the same input, one after the other.
    """
    groups = groups_of(model, of_one_input)
    device = next(model.parameters()).device
    ones = torch.ones(1, _MOST_ONES, dtype=torch.bfloat16, device=device) if device.type == "cuda" else None
    products = [_Product(group, ones) for group in groups]
    product_of = zip(groups, products, strict=True)
    with acting_as(HalfLinear, {layer: {"product": product} for group, product in product_of for layer in group}):
        yield HalfWeights(products)


class HalfLinear(torch.nn.Linear):
    product: "_Product"

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.product.output(self, input) if self.training else super().forward(input)


class _Product:
    """The product of one input with the weights of `layers`, stacked along the output dimension."""

    def __init__(self, layers: tuple[torch.nn.Linear, ...], ones: torch.Tensor | None) -> None:
        self._together, self.ones = OneInput(layers), ones
        self.sizes = self._together.sizes
        first = layers[0].weight  # (out, in)
        n_copies = 2 if ones is None and onednn.has_amx() and torch.get_num_threads() == 2 else 1
        self.weights = first.new_empty(n_copies, sum(self.sizes), first.shape[1], dtype=torch.bfloat16)
        self.weight = self.weights[0]
        self.bias = None if layers[0].bias is None else first.new_empty(sum(self.sizes), dtype=torch.bfloat16)

    @property
    def masters(self) -> list[torch.Tensor]:
        """The weights of the layers and, if they have any, their biases."""
        layers = self._together.layers
        weights = [layer.weight.detach() for layer in layers]
        return weights if self.bias is None else [*weights, *(layer.bias.detach() for layer in layers)]

    @property
    def copies(self) -> list[torch.Tensor]:
        """The tensors that `masters` are copied to, in the same order."""
        weights = [*self.weight.split(self.sizes)]
        return weights if self.bias is None else [*weights, *self.bias.split(self.sizes)]

    def output(self, layer: torch.nn.Linear, input: torch.Tensor) -> torch.Tensor:
        """Return the output of one of the layers, (..., out); the other layers' outputs are computed with it."""
        return self._together.output(layer, input, self._outputs)

    def _outputs(self, input: torch.Tensor) -> tuple[torch.Tensor, ...]:
        layers = self._together.layers
        parameters = [tensor for each in layers for tensor in (each.weight, each.bias) if tensor is not None]
        outputs: tuple[torch.Tensor, ...] = _Multiplication.apply(input, self, *parameters)  # type: ignore[no-untyped-call]
        return outputs


class _Multiplication(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, product: _Product, *_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (..., out) bfloat16 for each layer; `input` is (..., in), float32 or bfloat16."""
        half, weights = input.to(torch.bfloat16), product.weights
        ctx.save_for_backward(half, weights)
        ctx.product, ctx.input_dtype = product, input.dtype
        return tuple(_linear(half, weights, product.bias).split(product.sizes, -1))

    @staticmethod
    def backward(ctx: Any, *of_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        half, weights = ctx.saved_tensors
        product, rows = ctx.product, half.flatten(0, -2)  # (n, in)
        parts = [of_output.flatten(0, -2) for of_output in of_outputs]
        of_rows = torch.cat(parts, -1) if len(parts) > 1 else parts[0]  # (n, out of all layers)
        of_input = _of_input(of_rows, weights, ctx.input_dtype).view(half.shape) if ctx.needs_input_grad[0] else None
        of_weights = _of_weight(of_rows, rows).split(product.sizes)
        if product.bias is None:
            return of_input, None, *of_weights
        of_biases = _of_bias(of_rows, product.ones).split(product.sizes)
        return of_input, None, *(tensor for both in zip(of_weights, of_biases, strict=True) for tensor in both)


def _linear(input: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return (..., out); `weights` are equal copies of a weight, (copies, out, in)."""
    n_copies, n_outputs, _ = weights.shape
    n_rows = input.shape[:-1].numel()
    if input.is_cuda or not onednn.is_supported():
        return torch.nn.functional.linear(input, weights[0], bias)
    if n_copies == 2 and n_rows % 2 == 0 and onednn.leaves_a_thread_idle(n_rows, n_outputs):
        return onednn.linear_in_halves(input, weights, bias)
    return onednn.linear(input, weights[0], bias)


def _of_input(of_rows: torch.Tensor, weights: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the gradient of the input, (n, in), in its `dtype`."""
    if of_rows.is_cuda and dtype == torch.float32:
        return torch.mm(of_rows, weights[0], out_dtype=dtype)
    return _linear(of_rows, weights.mT, None).to(dtype)


def _of_weight(of_rows: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the weight, (out, in) float32."""
    if of_rows.is_cuda:
        return torch.mm(of_rows.mT, rows, out_dtype=torch.float32)
    product = onednn.product_over_rows(of_rows, rows) if onednn.is_supported() else of_rows.mT @ rows
    return product.float()


def _of_bias(of_rows: torch.Tensor, ones: torch.Tensor | None) -> torch.Tensor:
    """Return the gradient of the bias, (out,) float32."""
    if ones is None:
        return of_rows.sum(0).float()
    n_rows = len(of_rows)  # on a GPU, a product with ones is faster than a sum
    ones = ones[:, :n_rows] if n_rows <= _MOST_ONES else of_rows.new_ones(1, n_rows)
    return torch.mm(ones, of_rows, out_dtype=torch.float32)[0]
