"""Attention over a packed batch, in which every token sees only the tokens of its own sequence.

It is registered with transformers, whose models pass keyword arguments of their forward on to the attention function:
https://huggingface.co/docs/transformers/attention_interface. Plain attention over the same input would silently attend
across sequences; this one cannot be called without `sequences`.
"""

import math

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

from xeval.engine.fast_path.attention_with_dropout import attend_with_dropout
from xeval.engine.fast_path.packing import Sequences, by_length

NAME = "xeval_packed"
_NO_CAUSAL_MASK = 0
_MULTIPLE = 8  # the kernels with offsets refuse heads of other sizes


def packed_attention(  # noqa: PLR0913  transformers passes these arguments
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    sequences: Sequences,
    whole: torch.Tensor | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Return (1, total_tokens, heads, size) for `query`, `key` and `value`, (1, heads, total_tokens, size) each.

    With `whole`, (1, total_tokens, hidden), the three are of first tokens only, (1, heads, B, size), and attend to the
    tokens of `whole` (see `xeval.engine.fast_path.cls_only`).
    """
    if whole is not None:
        key, value = _keys_and_values(module, whole, heads=query.shape[1])
    # (tokens, heads, size) each; indexing instead would cost a tensor of zeros and two copies for its gradient.
    query, key, value = (tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value))
    if key.shape[1] < query.shape[1]:  # several query heads share one head of keys and values
        key, value = (tensor.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for tensor in (key, value))
    if not query.is_cuda:
        attended = attend_by_length(query, key, value, sequences, dropout, sliding_window)
    else:
        attended = attend_on_gpu(query, key, value, sequences, dropout, sliding_window)
    return attended.unsqueeze(0), None


def _keys_and_values(module: torch.nn.Module, whole: torch.Tensor, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return keys and values of all tokens, (1, heads, total_tokens, size) each."""
    names = ("k_lin", "v_lin") if hasattr(module, "k_lin") else ("key", "value")
    return tuple(getattr(module, name)(whole).unflatten(-1, (heads, -1)).transpose(1, 2) for name in names)


def attend_by_length(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sequences: Sequences,
    dropout: float,
    sliding_window: int | None = None,
) -> torch.Tensor:
    """Attend to all sequences of one length in one call, without copies.

    With a sliding window, a token sees those fewer than `sliding_window` tokens away, on both sides.
    """
    if dropout > 0.0 and not sliding_window:
        return attend_with_dropout(query, key, value, sequences, dropout)
    attended = []
    for length, q, k, v in by_length(query, key, value, sequences):
        mask = _within(sliding_window, length, query.device)
        attended_part = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        attended.append(attended_part.transpose(1, 2).flatten(0, 1))
    return torch.cat(attended)


def _within(sliding_window: int | None, length: int, device: torch.device) -> torch.Tensor | None:
    """Return which tokens see each other, (length, length) bool; None if all do."""
    if sliding_window is None or length <= sliding_window:
        return None
    place = torch.arange(length, device=device)
    return (place[:, None] - place[None, :]).abs() < sliding_window


def attend_on_gpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sequences: Sequences,
    dropout: float,
    sliding_window: int | None = None,
) -> torch.Tensor:
    """Attend to all sequences in one kernel: FlashAttention-2 in half precision, otherwise memory-efficient attention.

    These are the kernels behind scaled_dot_product_attention. Its own interface takes no offsets, and `varlen_attn`,
    which does, takes no dropout. Sequences are padded where memory-efficient attention falls short: it has no window on
    both sides, and with offsets its dropout is wrong. It then assumes zero keys when it numbers its random draws
    (`max_seqlen_k = 0` in ATen's attention.cu), so all sequences and heads get the same mask, and gradients another.

    Heads whose size is not a multiple of 8 are filled up with zeros, which change no product.
    """
    # Under autocast, rotary positions leave queries and keys in float32, which the kernels would misread.
    query, key = query.to(value.dtype), key.to(value.dtype)
    takes_flash = query.dtype != torch.float32 and torch.backends.cuda.is_flash_attention_available()
    if not takes_flash and (sliding_window is not None or dropout > 0.0):
        return attend_padded(query, key, value, sequences, dropout, sliding_window)
    size = query.shape[-1]
    if size % _MULTIPLE:
        query, key, value = (pad(tensor, (0, -size % _MULTIPLE)) for tensor in (query, key, value))
    offsets, longest, scale = sequences.offsets, sequences.max_length, 1 / math.sqrt(size)
    query_offsets, longest_query = offsets, longest
    if len(query) < len(key):  # only first tokens
        query_offsets, longest_query = torch.arange(len(sequences) + 1, dtype=torch.int32, device=query.device), 1
    attended: torch.Tensor
    if takes_flash:
        to_each_side = None if sliding_window is None else sliding_window - 1
        attended, *_ = torch.ops.aten._flash_attention_forward(
            *(query, key, value, query_offsets, offsets, longest_query, longest, dropout, False, False),
            scale=scale,
            window_size_left=to_each_side,
            window_size_right=to_each_side,
        )
    else:
        one_batch = (tensor.unsqueeze(0) for tensor in (query, key, value))  # (1, tokens, heads, size) each
        attended, *_ = torch.ops.aten._efficient_attention_forward(
            *one_batch, None, query_offsets, offsets, longest_query, longest, 0.0, _NO_CAUSAL_MASK, True, scale=scale
        )
        attended = attended.squeeze(0)
    return attended[..., :size] if size % _MULTIPLE else attended


def attend_padded(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    sequences: Sequences,
    dropout: float,
    sliding_window: int | None = None,
) -> torch.Tensor:
    """Attend to S sequences padded to L tokens, all in one call; a padding token is seen only by itself.

    Queries may be of first tokens only, (S, heads, size).
    """
    row, token = sequences.places_in_rows(len(key))
    n_rows, length = len(sequences), sequences.max_length
    place = row * length + token  # (tokens,), among the tokens of all rows
    column = torch.arange(length, device=query.device)
    mask = (column < sequences.offsets.diff()[:, None])[:, None, None]  # (S, 1, 1, L): which are tokens

    def padded(tensor: torch.Tensor) -> torch.Tensor:  # (S, heads, L, size)
        rows = tensor.new_zeros(n_rows * length, *tensor.shape[1:]).index_copy(0, place, tensor)
        return rows.view(n_rows, length, *tensor.shape[1:]).transpose(1, 2)

    if len(query) < len(key):
        query = query.unsqueeze(2)  # (S, heads, 1, size)
        of_first: torch.Tensor = scaled_dot_product_attention(query, padded(key), padded(value), mask, dropout)
        return of_first.squeeze(2)
    if sliding_window is not None:
        mask = mask & ((column[:, None] - column).abs() < sliding_window)
    mask = mask | (column[:, None] == column)  # (S, 1, L, L)
    attended: torch.Tensor = scaled_dot_product_attention(padded(query), padded(key), padded(value), mask, dropout)
    return attended.transpose(1, 2).flatten(0, 1).index_select(0, place)


AttentionInterface.register(NAME, packed_attention)
