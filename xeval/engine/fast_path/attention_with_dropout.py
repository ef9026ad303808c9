"""Attention over a packed batch on a processor, forward and backward, with one draw of dropout for all its sequences.

torch's attention with dropout costs a dozen small autograd steps for each length in a batch. Here, a whole batch is one
step. As in torch, products and softmax are computed in float32 if the model computes in bfloat16. Vectors have to be
copied for that, and are copied into one block for each length, so that products need no copies of their own.
"""

import math
from functools import lru_cache
from typing import Any

import torch

from xeval.engine.fast_path.dropout import scaled_mask
from xeval.engine.fast_path.packing import Sequences


def attend_with_dropout(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sequences: Sequences, dropout: float
) -> torch.Tensor:
    """Attend within sequences; `query`, `key`, `value` and the result are (tokens, heads, size).

    Queries may be of first tokens only.
    """
    with torch.autocast(query.device.type, enabled=False):
        attended: torch.Tensor = _Attention.apply(query, key, value, sequences.runs, dropout)  # type: ignore[no-untyped-call]
        return attended


class _Layout:
    """An order of vectors, (tokens, heads, size): as they come or, `in_blocks`, heads before tokens in each run."""

    def __init__(self, runs: tuple[tuple[int, int], ...], heads: int, device: torch.device, in_blocks: bool) -> None:
        self.shapes = [(n, heads, length) for n, length in runs]
        self._sizes = [math.prod(shape) for shape in self.shapes]
        self._taken = self._back = None
        if in_blocks:
            place = torch.arange(sum(self._sizes), device=device)
            parts = zip(runs, place.split(self._sizes), strict=True)
            self._taken = torch.cat([part.view(n, length, heads).mT.flatten() for (n, length), part in parts])
            self._back = torch.empty_like(place).index_copy_(0, self._taken, place)

    def rows(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return (tokens, heads, size) as (tokens · heads, size) in this order, in float32 or a wider type."""
        rows = vectors.reshape(-1, vectors.shape[-1])
        rows = rows if self._taken is None else rows.index_select(0, self._taken)
        return rows.to(torch.promote_types(rows.dtype, torch.float32))

    def vectors(self, rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return (tokens, heads, size) from what `rows` returned."""
        rows = rows.to(dtype)
        rows = rows if self._back is None else rows.index_select(0, self._back)
        return rows.view(-1, self.shapes[0][1], rows.shape[-1])

    def runs(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Return views of `rows`, (n, heads, length, size) for each run of `n` sequences of one length."""
        parts = zip(self.shapes, rows.split(self._sizes), strict=True)
        if self._taken is None:
            return [part.view(n, length, heads, -1).transpose(1, 2) for (n, heads, length), part in parts]
        return [part.view(n, heads, length, -1) for (n, heads, length), part in parts]


_layout = lru_cache(maxsize=4)(_Layout)  # all layers of a model share theirs


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        runs: tuple[tuple[int, int], ...],
        dropout: float,
    ) -> torch.Tensor:
        dtype, (_, heads, size) = query.dtype, query.shape
        of_first = len(query) < len(key)  # they attend too little for blocks to pay
        in_blocks = dtype == torch.bfloat16 and not of_first
        own_runs = tuple((n, 1) for n, _ in runs) if of_first else runs
        own, whole = (_layout(each, heads, query.device, in_blocks) for each in (own_runs, runs))
        ctx.own, ctx.whole, ctx.scale = own, whole, size**-0.5
        query, key, value = own.rows(query) * ctx.scale, whole.rows(key), whole.rows(value)
        shapes = [(*queries, keys) for queries, (*_, keys) in zip(own.shapes, whole.shapes, strict=True)]
        sizes = [math.prod(shape) for shape in shapes]
        mask = scaled_mask(torch.Size([sum(sizes)]), dropout, query.dtype).to(query.device)
        ctx.masks = [part.view(shape) for part, shape in zip(mask.split(sizes), shapes, strict=True)]
        ctx.probabilities = []  # (n, heads, queries, keys) each
        attended = torch.empty_like(query)
        for q, k, v, kept, out in zip(
            own.runs(query), whole.runs(key), whole.runs(value), ctx.masks, own.runs(attended), strict=True
        ):
            ctx.probabilities.append((q @ k.mT).softmax(-1))
            _multiply(ctx.probabilities[-1] * kept, v, out)
        ctx.save_for_backward(query, key, value)
        return own.vectors(attended, dtype)

    @staticmethod
    def backward(ctx: Any, of_attended: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        own, whole, dtype = ctx.own, ctx.whole, of_attended.dtype
        query, key, value = ctx.saved_tensors
        of_query, of_key, of_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        by_query = (own.runs(rows) for rows in (query, of_query, own.rows(of_attended)))
        by_key = (whole.runs(rows) for rows in (key, value, of_key, of_value))
        for q, of_q, of_out, k, v, of_k, of_v, p, kept in zip(
            *by_query, *by_key, ctx.probabilities, ctx.masks, strict=True
        ):
            _multiply((p * kept).mT, of_out, of_v)
            of_p = (of_out @ v.mT).mul_(kept)
            of_scores = (of_p - (of_p * p).sum(-1, keepdim=True)).mul_(p)
            _multiply(of_scores, k, of_q)
            _multiply(of_scores.mT, q, of_k)
        of_query.mul_(ctx.scale)
        return own.vectors(of_query, dtype), whole.vectors(of_key, dtype), whole.vectors(of_value, dtype), None, None


def _multiply(some: torch.Tensor, other: torch.Tensor, out: torch.Tensor) -> None:
    if out.is_contiguous():
        torch.matmul(some, other, out=out)
    else:  # copies faster by itself
        out.copy_(some @ other)
