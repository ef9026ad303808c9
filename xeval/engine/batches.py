"""Encoded pairs → batches: random ones of a fixed number of pairs for training, even ones by tokens for evaluation."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from transformers import PretrainedConfig

from xeval.engine.devices import Compute, is_out_of_memory
from xeval.engine.threads import n_at_once, results_at_once
from xeval.kinds.encoded import Encoded
from xeval.support.errors import PredictionError

T = TypeVar("T")


def random_batches(n_pairs: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Yield the rows of one epoch, `batch_size` at a time, in an order drawn from (seed, epoch).

    The last batch may be smaller.
    """
    order = np.random.default_rng((seed, epoch)).permutation(n_pairs)
    for start in range(0, n_pairs, batch_size):
        yield order[start : start + batch_size]


def even_batches(lengths: np.ndarray, token_budget: int) -> list[np.ndarray]:
    """Return every row once, longest first, in batches whose padded size stays within `token_budget` tokens.

    A pair longer than the budget gets a batch of its own.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, token_budget // int(lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


def within_memory(
    outputs_of: Callable[[np.ndarray], T],
    batches: list[np.ndarray],
    lengths: np.ndarray,
    compute: Compute,
    at_once: bool = False,
) -> Iterator[tuple[np.ndarray, T]]:
    """Yield `batches` of rows with `outputs_of` each; `lengths` are those of all rows.

    Batches that do not fit into a device's memory are halved. Raise PredictionError if not even one row fits.

    If `at_once`, `outputs_of` is called by several threads at the same time on a processor, as long as memory lasts.
    """
    batches = list(batches)
    if at_once and compute.device.type == "cpu":
        n_done = 0
        for outputs in _as_memory_lasts(outputs_of, batches):
            n_done += 1
            yield batches[n_done - 1], outputs
        del batches[:n_done]
    while batches:
        batch = batches[0]
        try:
            outputs = outputs_of(batch)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise PredictionError(
                    "out of memory with a single sequence; use a smaller model, or --device cpu"
                ) from error
        else:
            batches.pop(0)
            yield batch, outputs
            continue
        compute.free_memory()
        budget = int(lengths[batch].max()) * (len(batch) // 2)
        places = np.concatenate(batches)
        batches = [places[part] for part in even_batches(lengths[places], budget)]


def _as_memory_lasts(outputs_of: Callable[[np.ndarray], T], batches: list[np.ndarray]) -> Iterator[T]:
    """Yield `outputs_of` each of `batches`, if there are enough to compute several at once, until memory runs out."""
    n = n_at_once(len(batches))
    if n == 1:
        return
    try:
        yield from results_at_once(outputs_of, batches, n)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise


def collate(
    pairs: Encoded, rows: np.ndarray, config: PretrainedConfig, device: torch.device
) -> dict[str, torch.Tensor]:
    """Return the model's inputs for `rows`, each (B, L) int64, padded on the right to the longest row."""
    starts, lengths = pairs.offsets[rows], pairs.lengths[rows]
    columns = np.arange(int(lengths.max()))
    mask = columns[None, :] < lengths[:, None]  # (B, L)
    places = (starts[:, None] + columns[None, :])[mask]
    inputs = {
        "input_ids": np.full(mask.shape, config.pad_token_id or 0, dtype=np.int64),
        "attention_mask": mask.astype(np.int64),
    }
    inputs["input_ids"][mask] = pairs.input_ids[places]
    if getattr(config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = np.zeros(mask.shape, dtype=np.int64)
        inputs["token_type_ids"][mask] = pairs.token_type_ids[places]
    # On Apple's GPUs, a copy that does not block reads the source later, when it has been freed.
    is_cuda = device.type == "cuda"
    return {name: torch.from_numpy(array).to(device, non_blocking=is_cuda) for name, array in inputs.items()}
