"""An embedding for a processor whose gradient keeps its memory from step to step.

The gradient is as large as the embedding, mostly zeros, and comes last in a backward pass, when free memory is in
pieces. So its memory often came from the system anew, page by page.
"""

from typing import Any

import torch


class KeptGradient(torch.nn.Embedding):
    """Computes what `torch.nn.Embedding` does, bit for bit."""

    _sum: torch.Tensor | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = _Lookup.apply(self.weight, input, self)  # type: ignore[no-untyped-call]
        return rows

    def add(self, ids: torch.Tensor, gradients: torch.Tensor) -> None:
        """Add `gradients`, (n, hidden), of the rows `ids`, (n,) int64, to the gradient of the weight."""
        if self.weight.grad is None:
            if self._sum is None:
                self._sum = torch.empty_like(self.weight, requires_grad=False)
            self.weight.grad = self._sum.zero_()
        if self.padding_idx is not None and (is_padding := ids == self.padding_idx).any():
            ids, gradients = ids[~is_padding], gradients[~is_padding]
        self.weight.grad.index_add_(0, ids, gradients)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, ids: torch.Tensor, embedding: KeptGradient) -> torch.Tensor:
        ctx.ids, ctx.embedding = ids, embedding
        return torch.nn.functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, of_rows: torch.Tensor) -> tuple[None, None, None]:
        ctx.embedding.add(ctx.ids.flatten(), of_rows.flatten(0, -2))
        return None, None, None  # the gradient is in its place already
