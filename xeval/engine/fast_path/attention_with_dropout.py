"""Attention over a packed batch on a processor, forward and backward, with one draw of dropout for all its sequences.

torch's attention with dropout costs a dozen small autograd steps for each length in a batch. Here, a whole batch is one
step. As there, products and softmax are computed in float32 if the model computes in bfloat16.
"""

from collections.abc import Iterator
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
    exact = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(query.device.type, enabled=False):
        together = (tensor.to(exact) for tensor in (query, key, value))
        attended: torch.Tensor = _Attention.apply(*together, sequences.runs, dropout)  # type: ignore[no-untyped-call]
        return attended.to(query.dtype)


def _by_length(tensor: torch.Tensor, runs: tuple[tuple[int, int], ...], of_first: bool = False) -> Iterator[Any]:
    """Yield a view on (tokens, heads, size) for each run of sequences: (n, heads, length, size)."""
    sizes = [n if of_first else n * length for n, length in runs]
    for (n, _), part in zip(runs, tensor.split(sizes), strict=True):
        yield part.unflatten(0, (n, -1)).transpose(1, 2)


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
        ctx.runs, ctx.of_first, ctx.scale = runs, len(query) < len(key), query.shape[-1] ** -0.5
        query = query * ctx.scale
        attended = torch.empty_like(query)
        shapes = [(n, query.shape[1], 1 if ctx.of_first else length, length) for n, length in runs]
        sizes = [torch.Size(shape).numel() for shape in shapes]
        mask = scaled_mask(torch.Size([sum(sizes)]), dropout, query.dtype).to(query.device)
        ctx.masks = [part.view(shape) for part, shape in zip(mask.split(sizes), shapes, strict=True)]
        ctx.probabilities = []  # (n, heads, length, length) each
        parts = (_by_length(query, runs, ctx.of_first), _by_length(key, runs), _by_length(value, runs), ctx.masks)
        for out, q, k, v, kept in zip(_by_length(attended, runs, ctx.of_first), *parts, strict=True):
            ctx.probabilities.append((q @ k.mT).softmax(-1))
            out.copy_((ctx.probabilities[-1] * kept) @ v)
        ctx.save_for_backward(query, key, value)
        return attended

    @staticmethod
    def backward(ctx: Any, of_attended: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        of_query, of_key, of_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        whole = (_by_length(tensor, ctx.runs) for tensor in (key, value, of_key, of_value))
        first = (_by_length(tensor, ctx.runs, ctx.of_first) for tensor in (query, of_query, of_attended))
        for k, v, of_k, of_v, q, of_q, of_out, p, kept in zip(
            *whole, *first, ctx.probabilities, ctx.masks, strict=True
        ):
            of_v.copy_((p * kept).mT @ of_out)
            of_p = (of_out @ v.mT).mul_(kept)
            of_scores = (of_p - (of_p * p).sum(-1, keepdim=True)).mul_(p)
            of_q.copy_(of_scores @ k)
            of_k.copy_(of_scores.mT @ q)
        return of_query.mul_(ctx.scale), of_key, of_value, None, None
