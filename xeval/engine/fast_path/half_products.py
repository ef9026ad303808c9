"""Matrix products in bfloat16 without repeated casts of weights and without casts of gradients.

Under autocast, every linear layer casts its weight, bias and input in the forward pass, and their gradients in the
backward pass; on a GPU, most launches of a training step are such casts. Here, weights have copies in bfloat16, made
once after each optimizer step. Layers that read the same input are one product, and products return their gradients
directly in float32, with the sums that tensor cores keep anyway. The products stay the same, and gradients are rounded
once less.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from xeval.engine.fast_path.acting_as import acting_as

_MOST_ONES = 2**16  # rows of a batch; larger batches make their own ones


class HalfWeights:
    """Copies in bfloat16 of the weights of linear layers."""

    def __init__(self, products: Sequence["_Product"]) -> None:
        self._masters = [tensor for product in products for tensor in product.masters]
        self._copies = [tensor for product in products for tensor in product.copies]
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the weights as they are now; call this after each change of the weights."""
        if self._masters:
            torch._foreach_copy_(self._copies, self._masters)


@contextmanager
def half_products(
    model: torch.nn.Module, of_one_input: Sequence[tuple[torch.nn.Linear, ...]] = ()
) -> Iterator[HalfWeights]:
    """While this lasts, the linear layers of `model` multiply as described above whenever it is in training mode.

    `of_one_input` are groups of layers that are always called with the same input, one after the other.
    """
    grouped = {layer for group in of_one_input for layer in group}
    alone = [(layer,) for layer in model.modules() if type(layer) is torch.nn.Linear and layer not in grouped]
    groups = [*of_one_input, *alone]
    ones = torch.ones(1, _MOST_ONES, dtype=torch.bfloat16, device=next(model.parameters()).device)
    products = [_Product(group, ones) for group in groups]
    product_of = zip(groups, products, strict=True)
    with acting_as(_HalfLinear, {layer: {"product": product} for group, product in product_of for layer in group}):
        yield HalfWeights(products)


class _HalfLinear(torch.nn.Linear):
    product: "_Product"

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.product.output(self, input) if self.training else super().forward(input)


class _Product:
    """The product of one input with the weights of `layers`, stacked along the output dimension."""

    def __init__(self, layers: tuple[torch.nn.Linear, ...], ones: torch.Tensor) -> None:
        self._layers, self.ones = layers, ones
        self.sizes = [layer.out_features for layer in layers]
        first = layers[0].weight  # (out, in)
        self.weight = first.new_empty(sum(self.sizes), first.shape[1], dtype=torch.bfloat16)
        self.bias = None if layers[0].bias is None else first.new_empty(sum(self.sizes), dtype=torch.bfloat16)
        self._input: weakref.ref[torch.Tensor] | None = None  # the input that the waiting outputs were computed from
        self._waiting: dict[torch.nn.Linear, torch.Tensor] = {}

    @property
    def masters(self) -> list[torch.Tensor]:
        """The weights of the layers and, if they have any, their biases."""
        weights = [layer.weight.detach() for layer in self._layers]
        return weights if self.bias is None else [*weights, *(layer.bias.detach() for layer in self._layers)]

    @property
    def copies(self) -> list[torch.Tensor]:
        """The tensors that `masters` are copied to, in the same order."""
        weights = [*self.weight.split(self.sizes)]
        return weights if self.bias is None else [*weights, *self.bias.split(self.sizes)]

    def output(self, layer: torch.nn.Linear, input: torch.Tensor) -> torch.Tensor:
        """Return the output of one of the layers, (..., out); the other layers' outputs are computed with it."""
        if layer not in self._waiting or self._input is None or self._input() is not input:
            parameters = [tensor for each in self._layers for tensor in (each.weight, each.bias) if tensor is not None]
            outputs = _Multiplication.apply(input, self, *parameters)  # type: ignore[no-untyped-call]
            self._input, self._waiting = weakref.ref(input), dict(zip(self._layers, outputs, strict=True))
        return self._waiting.pop(layer)


class _Multiplication(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, product: _Product, *_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (..., out) bfloat16 for each layer; `input` is (..., in), float32 or bfloat16."""
        half, weight = input.to(torch.bfloat16), product.weight
        ctx.save_for_backward(half, weight)
        ctx.product, ctx.input_dtype = product, input.dtype
        output = torch.nn.functional.linear(half, weight, product.bias)
        return tuple(output.split(product.sizes, -1))

    @staticmethod
    def backward(ctx: Any, *of_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        half, weight = ctx.saved_tensors
        product, rows = ctx.product, half.flatten(0, -2)  # (n, in)
        parts = [of_output.flatten(0, -2) for of_output in of_outputs]
        of_rows = torch.cat(parts, -1) if len(parts) > 1 else parts[0]  # (n, out of all layers)
        of_input = _multiply(of_rows, weight, ctx.input_dtype).view(half.shape) if ctx.needs_input_grad[0] else None
        of_weights = _multiply(of_rows.mT, rows, torch.float32).split(product.sizes)
        if product.bias is None:
            return of_input, None, *of_weights
        n_rows = len(of_rows)  # a product with ones is faster than a sum
        ones = product.ones[:, :n_rows] if n_rows <= _MOST_ONES else of_rows.new_ones(1, n_rows)
        of_biases = _multiply(ones, of_rows, torch.float32)[0].split(product.sizes)
        return of_input, None, *(tensor for both in zip(of_weights, of_biases, strict=True) for tensor in both)


def _multiply(some: torch.Tensor, other: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if dtype == torch.bfloat16:
        return some @ other
    if some.is_cuda:
        return torch.mm(some, other, out_dtype=dtype)
    return some.to(dtype) @ other.to(dtype)  # for tests on a processor: the same numbers, slowly
