"""Training pairs that stay on the device, where their batches are laid end to end in recurring shapes.

The host sends only row numbers and a number of tokens to the device, as CUDA graphs require.
"""

import numpy as np
import torch
from transformers import PretrainedConfig

from xeval.engine.fast_path.packing import Sequences, counts_from_padding, filling_token, positions_from_padding
from xeval.kinds.encoded import IGNORED, Encoded


class ResidentPairs:
    """Encoded pairs on `device`, for batches of `batch_size` rows."""

    def __init__(self, pairs: Encoded, config: PretrainedConfig, batch_size: int, device: torch.device) -> None:
        self.lengths_on_host = pairs.lengths  # (N,) int64
        self._granule = granule(pairs.lengths, batch_size)
        self.max_length = max(int(pairs.lengths.max()), self._granule)
        from_start = np.arange(len(pairs.input_ids)) - np.repeat(pairs.offsets[:-1], pairs.lengths)
        columns = {"input_ids": pairs.input_ids, "position_ids": from_start}
        if counts_from_padding(config):
            columns["position_ids"] = positions_from_padding(pairs.input_ids, pairs.offsets, config.pad_token_id or 0)
        if getattr(config, "type_vocab_size", 0) > 1:
            columns["token_type_ids"] = pairs.token_type_ids
        of_filling = filling_token(config)  # the last token fills the rest of a batch's shape
        self._columns = {
            name: torch.from_numpy(np.append(column.astype(np.int32), np.int32(of_filling[name]))).to(device)
            for name, column in columns.items()  # (total_tokens + 1,) each
        }
        self._starts = torch.from_numpy(pairs.offsets.astype(np.int64)).to(device)  # (N + 1,), the last for the filling
        self._lengths = torch.from_numpy(pairs.lengths.astype(np.int64)).to(device)  # (N,)
        targets = pairs.targets  # (N, ...), or one for each token and one for the filling
        if pairs.has_target_per_token:
            targets = np.concatenate([targets, np.full((1, *targets.shape[1:]), IGNORED, targets.dtype)])
        self._has_target_per_token = pairs.has_target_per_token
        self._targets = torch.from_numpy(targets).to(device)

    def n_tokens(self, rows: np.ndarray) -> int:
        """Return the size of the shape for `rows`: one of few sizes, slightly larger than the batch."""
        return (int(self.lengths_on_host[rows].sum()) // self._granule + 1) * self._granule

    def lay_out(self, rows: torch.Tensor, n_tokens: int) -> tuple[dict[str, torch.Tensor], Sequences, torch.Tensor]:
        """Lay out `rows`, (B,) int64 on the device.

        Return the model's inputs, each (1, n_tokens) int64, the sequences, and the targets: (B, ...) of rows, or
        (n_tokens, ...) of tokens. One more sequence, made only of padding, fills the shape up to `n_tokens`.
        """
        ends = self._lengths[rows].cumsum(0)  # (B,)
        offsets = torch.nn.functional.pad(ends, (1, 1))  # (B + 2,)
        offsets[-1].fill_(n_tokens)  # an assignment would copy a number from the host
        token = torch.arange(n_tokens, device=rows.device)
        sequence = torch.searchsorted(ends, token, right=True)  # (n_tokens,), B for the filling
        filling = len(self._starts) - 1
        starts = self._starts[torch.nn.functional.pad(rows, (0, 1), value=filling)]  # (B + 1,)
        is_filling = sequence == len(rows)
        taken = starts[sequence] + torch.where(is_filling, 0, token - offsets[sequence])
        inputs = {name: column[taken].long()[None] for name, column in self._columns.items()}
        runs = _runs(offsets) if rows.device.type == "cpu" else ()
        places = torch.arange(len(rows), device=rows.device)
        targets = self._targets[taken if self._has_target_per_token else rows]
        return inputs, Sequences(offsets.int(), runs, places, min(self.max_length, n_tokens)), targets


def granule(lengths: np.ndarray, batch_size: int) -> int:
    """Return the step between sizes of shapes, in tokens: about a sixteenth of a batch, a multiple of 64."""
    return 64 * max(1, round(float(lengths.mean()) * batch_size / 16 / 64))


def _runs(offsets: torch.Tensor) -> tuple[tuple[int, int], ...]:
    """Return each sequence as a run of its own, for attention on a processor."""
    return tuple((1, length) for length in torch.diff(offsets).tolist())
