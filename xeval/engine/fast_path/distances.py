"""DeBERTa's attention over a packed batch, in which queries and keys are also compared with distances.

A sequence of L tokens has only 2 L − 1 distances, and their keys and queries are the same for all sequences. Only these
are projected and multiplied, whereas transformers does so with every distance that the checkpoint knows. He et al.
2021, https://arxiv.org/abs/2006.03654, equation 4.
"""

from typing import NamedTuple

import torch

from xeval.engine.fast_path.packing import Sequences, by_length


class Distances(NamedTuple):
    """Keys and queries of the distances i − j = 1 − L, …, L − 1 from key j to query i, each (2 L − 1, heads, size).

    One of them is None if the checkpoint leaves out that comparison.
    """

    keys: torch.Tensor | None
    queries: torch.Tensor | None


def attend_with_distances(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    distances: Distances,
    sequences: Sequences,
    dropout: torch.nn.Module,
) -> torch.Tensor:
    """Attend within sequences; `query`, `key`, `value` and the result are (tokens, heads, size).

    Queries may be of first tokens only. They must be scaled already, as must the queries of distances.
    """
    of_first = len(query) < len(key)
    attended = []
    for length, q, k, v in by_length(query, key, value, sequences):
        scores = q @ k.mT
        if distances.keys is not None:
            scores = scores + _with_keys(q, distances.keys, length)
        if distances.queries is not None:
            scores = scores + _with_queries(k, distances.queries, length, of_first)
        attended.append((dropout(scores.softmax(-1)).to(v.dtype) @ v).transpose(1, 2).flatten(0, 1))
    return torch.cat(attended)


def _with_keys(query: torch.Tensor, of_distances: torch.Tensor, length: int) -> torch.Tensor:
    """Return products of each query with the key of each distance.

    They are (n, heads, length, length), or (n, heads, 1, length) for queries of first tokens.
    """
    middle = len(of_distances) // 2
    downwards = of_distances.flip(0)  # from L − 1 to 1 − L
    if query.shape[2] < length:  # only first tokens, from which keys are 0, −1, … away
        return query @ downwards[middle : middle + length].permute(1, 2, 0)
    return _skewed(query @ downwards[middle + 1 - length : middle + length].permute(1, 2, 0))


def _with_queries(key: torch.Tensor, of_distances: torch.Tensor, length: int, of_first: bool) -> torch.Tensor:
    """Return products of each key with the query of its distance, in the shapes that `_with_keys` returns."""
    middle = len(of_distances) // 2
    if of_first:
        upwards = of_distances[middle + 1 - length : middle + 1].flip(0)  # 0, −1, …
        return (key * upwards.transpose(0, 1)).sum(-1, keepdim=True).mT
    return _skewed(key @ of_distances[middle + 1 - length : middle + length].permute(1, 2, 0)).mT


def _skewed(products: torch.Tensor) -> torch.Tensor:
    """(n, heads, L, 2 L − 1) → (n, heads, L, L), a view: row i starts at column L − 1 − i."""
    n, heads, length, _ = products.shape
    products = products.contiguous()
    strides = (products.stride(0), products.stride(1), 2 * length - 2, 1)
    return products.as_strided((n, heads, length, length), strides, products.storage_offset() + length - 1)
