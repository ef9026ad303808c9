"""Matrix products in bfloat16: weights are not cast again in each of them, and gradients are not cast at all.

Under autocast every linear layer casts its weight, its bias and its input on the way forward, and their gradients on
the way back: on a GPU most of the launches of a training step are such casts. Here weights have copies in bfloat16,
made once after each optimizer step, and products give their gradients in float32 at once, with the sums that tensor
cores keep anyway. What is multiplied is the same; gradients are rounded once less.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class HalfWeights:
    """Copies in bfloat16 of the weights of all linear layers of a model."""

    def __init__(self, modules: list["_HalfLinear"]) -> None:
        self._masters = [tensor.detach() for module in modules for tensor in _tensors(module)]
        self._copies = [torch.empty_like(tensor, dtype=torch.bfloat16) for tensor in self._masters]
        copies, casts = iter(self._copies), _Casts()
        for module in modules:
            module.copies = next(copies), next(copies) if module.bias is not None else None
            module.casts = casts
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the weights as they are now; to be called after each change of them."""
        if self._masters:
            torch._foreach_copy_(self._copies, self._masters)


@contextmanager
def half_products(model: torch.nn.Module) -> Iterator[HalfWeights]:
    """While this lasts, the linear layers of `model` multiply in bfloat16 as above whenever it is in training mode."""
    modules = [module for module in model.modules() if type(module) is torch.nn.Linear]
    half_linears: list[_HalfLinear] = []
    for module in modules:
        module.__class__ = _HalfLinear
        assert isinstance(module, _HalfLinear)
        half_linears.append(module)
    try:
        yield HalfWeights(half_linears)
    finally:
        for half_linear in half_linears:
            del half_linear.copies, half_linear.casts
            half_linear.__class__ = torch.nn.Linear


def _tensors(module: torch.nn.Linear) -> list[torch.Tensor]:
    return [module.weight] if module.bias is None else [module.weight, module.bias]


class _HalfLinear(torch.nn.Linear):
    copies: tuple[torch.Tensor, torch.Tensor | None]
    casts: "_Casts"

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(input)
        half = self.casts.of(input)
        output: torch.Tensor = _Product.apply(input, self.weight, self.bias, half, *self.copies)  # type: ignore[no-untyped-call]
        return output


class _Casts:
    """The last input and what it is in bfloat16: queries, keys and values are made of one input."""

    def __init__(self) -> None:
        self._input: weakref.ref[torch.Tensor] | None = None  # weak, or it would keep a whole step's graph alive
        self._cast = torch.empty(0)

    def of(self, input: torch.Tensor) -> torch.Tensor:
        if input.dtype == torch.bfloat16:
            return input
        if self._input is None or self._input() is not input:
            self._input, self._cast = weakref.ref(input), input.detach().to(torch.bfloat16)
        return self._cast


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,  # (..., in), of either type
        weight: torch.Tensor,  # (out, in) float32
        bias: torch.Tensor | None,  # (out,) float32
        half: torch.Tensor,  # these three are the three above in bfloat16
        half_weight: torch.Tensor,
        half_bias: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(half, half_weight)
        ctx.input_dtype = input.dtype
        return torch.nn.functional.linear(half, half_weight, half_bias)

    @staticmethod
    def backward(ctx: Any, of_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        half, weight = ctx.saved_tensors
        rows, of_rows = half.flatten(0, -2), of_output.flatten(0, -2)  # (n, in), (n, out)
        of_input = _product(of_rows, weight, ctx.input_dtype).view(half.shape) if ctx.needs_input_grad[0] else None
        of_weight = _product(of_rows.mT, rows, torch.float32)
        ones = of_rows.new_ones(1, len(of_rows))  # a product with ones is faster than a sum
        of_bias = _product(ones, of_rows, torch.float32)[0] if ctx.needs_input_grad[2] else None
        return of_input, of_weight, of_bias, None, None, None


def _product(some: torch.Tensor, other: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if dtype == torch.bfloat16:
        return some @ other
    if some.is_cuda:
        return torch.mm(some, other, out_dtype=dtype)
    return some.to(dtype) @ other.to(dtype)  # the same numbers on a processor, slowly: for tests
