"""Attention over a packed batch: every token sees the tokens of its own sequence and no others.

Registered with transformers, whose models hand keyword arguments of their forward through to the attention function:
https://huggingface.co/docs/transformers/attention_interface. Plain attention over the same input would see across
sequences without a word; this one cannot be called without `sequences`.
"""

import warnings

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from xeval.engine.fast_path.attention_with_dropout import attend_with_dropout
from xeval.engine.fast_path.packing import Sequences

NAME = "xeval_packed"


def packed_attention(  # noqa: PLR0913  transformers calls it with these
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    sequences: Sequences,
    whole: torch.Tensor | None = None,
    dropout: float = 0.0,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """`query`, `key`, `value` are (1, heads, total_tokens, size); gives (1, total_tokens, heads, size).

    With `whole`, (1, total_tokens, hidden), the three are of the first tokens alone, (1, heads, B, size), and these
    attend to the tokens of `whole` (see `xeval.engine.fast_path.cls_only`).
    """
    if whole is not None:
        key, value = _keys_and_values(module, whole, heads=query.shape[1])
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (tokens, heads, size)
    if not query.is_cuda:
        attended = attend_by_length(query, key, value, sequences, dropout)
    elif dropout == 0.0 and query.dtype in (torch.float16, torch.bfloat16):
        attended = _attend_by_flash(query, key, value, sequences)
    else:
        attended = attend_jagged(query, key, value, sequences, dropout)
    return attended[None], None


def _keys_and_values(module: torch.nn.Module, whole: torch.Tensor, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of all tokens, (1, heads, total_tokens, size) each."""
    names = ("k_lin", "v_lin") if hasattr(module, "k_lin") else ("key", "value")
    return tuple(getattr(module, name)(whole).unflatten(-1, (heads, -1)).transpose(1, 2) for name in names)


def attend_by_length(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sequences: Sequences, dropout: float
) -> torch.Tensor:
    """Sequences of one length in one call, without copies.

    Parts come by one split, whose gradient is one concatenation; each slice's would be as large as the whole.
    """
    if dropout > 0.0:
        return attend_with_dropout(query, key, value, sequences, dropout)
    of_first_tokens = len(query) < len(key)
    sizes = [n * length for n, length in sequences.runs]
    query_sizes = [n for n, _ in sequences.runs] if of_first_tokens else sizes
    parts = zip(query.split(query_sizes), key.split(sizes), value.split(sizes), strict=True)
    attended = []
    for (n, _), part in zip(sequences.runs, parts, strict=True):
        together = (tensor.unflatten(0, (n, -1)).transpose(1, 2) for tensor in part)  # (n, heads, length, size) each
        attended.append(scaled_dot_product_attention(*together).transpose(1, 2).flatten(0, 1))
    return torch.cat(attended)


def attend_jagged(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sequences: Sequences, dropout: float
) -> torch.Tensor:
    """All sequences in one call, with dropout: https://docs.pytorch.org/docs/stable/nested.html."""
    offsets, lengths = sequences.offsets.long(), (sequences.runs[-1][1], sequences.max_length)
    query_offsets, query_lengths = offsets, lengths
    if len(query) < len(key):
        query_offsets, query_lengths = torch.arange(len(sequences) + 1, device=query.device), (1, 1)

    def jagged(tensor: torch.Tensor, offsets: torch.Tensor, lengths: tuple[int, int]) -> torch.Tensor:
        shortest, longest = lengths
        nested = torch.nested.nested_tensor_from_jagged(tensor, offsets, min_seqlen=shortest, max_seqlen=longest)
        return nested.transpose(1, 2)  # (B, heads, length, size)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The PyTorch API of nested tensors is in prototype stage")
        together = (
            jagged(query, query_offsets, query_lengths),
            jagged(key, offsets, lengths),
            jagged(value, offsets, lengths),
        )
        return scaled_dot_product_attention(*together, dropout_p=dropout).transpose(1, 2).values()


def _attend_by_flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sequences: Sequences) -> torch.Tensor:
    """All sequences in one call, in half precision and without dropout."""
    from torch.nn.attention.varlen import varlen_attn

    offsets, longest = sequences.offsets, sequences.max_length
    if len(query) == len(key):
        query_offsets, longest_query = offsets, longest
    else:
        query_offsets, longest_query = torch.arange(len(sequences) + 1, dtype=torch.int32, device=query.device), 1
    attended = varlen_attn(query, key, value, query_offsets, offsets, longest_query, longest)
    assert isinstance(attended, torch.Tensor)  # a tuple only where more was asked for
    return attended


AttentionInterface.register(NAME, packed_attention)
