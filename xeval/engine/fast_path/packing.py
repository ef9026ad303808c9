"""Encoded pairs → one long input without padding, and the place of each pair in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PretrainedConfig

from xeval.kinds.encoded import Encoded


@dataclass(frozen=True)
class Sequences:
    """Where the B sequences of a packed batch lie."""

    offsets: torch.Tensor  # (B + 1,) int32: sequence i is tokens offsets[i] to offsets[i + 1]
    runs: tuple[tuple[int, int], ...]  # (number of sequences, their length), in the order of the batch
    places: torch.Tensor  # (rows,) int64: the number of the sequence of each requested row
    max_length: int  # at least the length of the longest sequence
    looked_at: torch.Tensor | None = None  # (B,) int64: the tokens that a head reads, if not the first ones

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def starts(self) -> torch.Tensor:
        """(B,) int32: the first token of each sequence."""
        return self.offsets[:-1]

    def places_in_rows(self, n_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each token's sequence and its place in that sequence, (n_tokens,) int64 each."""
        token = torch.arange(n_tokens, dtype=self.offsets.dtype, device=self.offsets.device)
        sequence = torch.searchsorted(self.offsets[1:], token, right=True)
        return sequence, (token - self.offsets[sequence]).long()

    def tokens_in_place(self) -> torch.Tensor:
        """Return the places of the requested rows' tokens, (total_tokens,) int64, one row after the other."""
        lengths = self.offsets.diff()[self.places]  # (rows,)
        starts = self.offsets[self.places] - (lengths.cumsum(0) - lengths)
        return torch.arange(int(lengths.sum()), device=self.offsets.device) + starts.repeat_interleave(lengths)


def pack(
    pairs: Encoded, rows: np.ndarray, config: PretrainedConfig, device: torch.device, granule: int = 0
) -> tuple[dict[str, torch.Tensor], Sequences]:
    """Return the model's inputs for `rows` laid end to end, each (1, total_tokens) int64, and where each row went.

    Rows of the same length are adjacent, longest first, so that attention can take them in one call. With a `granule`,
    one more sequence, made only of padding, fills the batch up to a multiple of so many tokens.
    """
    order = np.argsort(-pairs.lengths[rows], kind="stable")
    rows = rows[order]
    lengths = pairs.lengths[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    from_start = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    taken = np.repeat(pairs.offsets[rows], lengths) + from_start
    inputs = {"input_ids": pairs.input_ids[taken], "position_ids": from_start}
    if counts_from_padding(config):
        inputs["position_ids"] = positions_from_padding(inputs["input_ids"], offsets, config.pad_token_id)
    if getattr(config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = pairs.token_type_ids[taken]
    distinct, counts = np.unique(-lengths, return_counts=True)
    runs = tuple(zip(counts.tolist(), (-distinct).tolist(), strict=True))
    longest = int(lengths[0])
    if granule:
        n_filling, of_filling = granule - int(offsets[-1]) % granule, filling_token(config)
        inputs = {name: np.append(ids, np.full(n_filling, of_filling[name])) for name, ids in inputs.items()}
        offsets, runs = np.append(offsets, offsets[-1] + n_filling), (*runs, (1, n_filling))
        longest = max(longest, n_filling)
    places = _to(np.argsort(order), device)
    sequences = Sequences(_to(offsets.astype(np.int32), device), runs, places, longest)
    return {name: _to(ids.astype(np.int64), device)[None] for name, ids in inputs.items()}, sequences


def filling_token(config: PretrainedConfig) -> dict[str, int]:
    """Return the model's inputs for a token of the sequence that fills a batch."""
    padding = config.pad_token_id or 0
    return {"input_ids": padding, "position_ids": padding if counts_from_padding(config) else 0, "token_type_ids": 0}


def counts_from_padding(config: PretrainedConfig) -> bool:
    """Return whether the model numbers positions as RoBERTa does."""
    return config.model_type in ("camembert", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl")


def positions_from_padding(input_ids: np.ndarray, offsets: np.ndarray, pad_token_id: int) -> np.ndarray:
    """Return positions as RoBERTa numbers them: from pad_token_id + 1, not counting padding tokens within a text."""
    counted = input_ids != pad_token_id
    n_counted = np.concatenate([[0], np.cumsum(counted)])
    before = np.repeat(n_counted[offsets[:-1]], np.diff(offsets))
    positions: np.ndarray = (n_counted[1:] - before) * counted + pad_token_id
    return positions


def _to(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    # A copy from pinned memory does not wait for the device's pending work.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def by_length(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sequences: Sequences
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield each length and the `query`, `key` and `value` of sequences of that length, (n, heads, length, size) each.

    The arguments are (tokens, heads, size). Queries may be of first tokens only, (n, heads, 1, size). The parts come
    from one split, whose gradient is one concatenation; the gradient of a slice would be as large as the whole.
    """
    sizes = [n * length for n, length in sequences.runs]
    query_sizes = [n for n, _ in sequences.runs] if len(query) < len(key) else sizes
    parts = zip(query.split(query_sizes), key.split(sizes), value.split(sizes), strict=True)
    for (n, length), part in zip(sequences.runs, parts, strict=True):
        q, k, v = (tensor.unflatten(0, (n, -1)).transpose(1, 2) for tensor in part)
        yield length, q, k, v
