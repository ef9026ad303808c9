"""DeBERTa's attention over a packed batch: besides contents, queries and keys are compared with distances.

Of distances there are 2 L − 1 in a sequence of L tokens, and their keys and queries are the same for all sequences.
These are what is projected and multiplied with; transformers does so with every distance that the checkpoint knows.
He et al. 2021, https://arxiv.org/abs/2006.03654, equation 4.
"""

from typing import NamedTuple

import torch

from xeval.engine.fast_path.packing import Sequences, by_length


class Distances(NamedTuple):
    """Of the distances i − j = 1 − L, …, L − 1 from key j to query i, each (2 L − 1, heads, size); None where a
    checkpoint leaves one of the two comparisons out."""

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
    """`query`, `key`, `value` and the result are (tokens, heads, size); queries may be of the first tokens alone.

    Queries have to be scaled already, those of distances too.
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
    """(n, heads, length, length), or (n, heads, 1, length): each query with the key of each key's distance."""
    middle = len(of_distances) // 2
    downwards = of_distances.flip(0)  # from L − 1 to 1 − L
    if query.shape[2] < length:  # of first tokens alone, from which keys are 0, −1, … away
        return query @ downwards[middle : middle + length].permute(1, 2, 0)
    return _skewed(query @ downwards[middle + 1 - length : middle + length].permute(1, 2, 0))


def _with_queries(key: torch.Tensor, of_distances: torch.Tensor, length: int, of_first: bool) -> torch.Tensor:
    """The same shapes: each key with the query of its distance."""
    middle = len(of_distances) // 2
    if of_first:
        upwards = of_distances[middle + 1 - length : middle + 1].flip(0)  # 0, −1, …
        return (key * upwards.transpose(0, 1)).sum(-1, keepdim=True).mT
    return _skewed(key @ of_distances[middle + 1 - length : middle + length].permute(1, 2, 0)).mT


def _skewed(products: torch.Tensor) -> torch.Tensor:
    """(n, heads, L, 2 L − 1) → (n, heads, L, L), a view: line i from place L − 1 − i on."""
    n, heads, length, _ = products.shape
    products = products.contiguous()
    strides = (products.stride(0), products.stride(1), 2 * length - 2, 1)
    return products.as_strided((n, heads, length, length), strides, products.storage_offset() + length - 1)
