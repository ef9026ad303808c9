"""Weights + encoded rows → logits. Every row is computed exactly once and comes back in its own place."""

from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.engine.batches import even_batches
from xeval.engine.devices import Compute, is_out_of_memory
from xeval.engine.fast_path.forward import logits_of, packed
from xeval.kinds.pairs import EncodedPairs
from xeval.support.errors import PredictionError


@torch.no_grad()
def predict_logits(
    model: PreTrainedModel,
    pairs: EncodedPairs,
    compute: Compute,
    on_batch: Callable[[int], None] = lambda n: None,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Logits of every pair, or of `rows`, (N, C) float32, in their order.

    `on_batch` is told the number of pairs of each batch done. Batches that do not fit into a device's memory are
    halved. Raises PredictionError when not even one pair fits.
    """
    rows = np.arange(len(pairs)) if rows is None else rows
    lengths, budget = pairs.lengths[rows], compute.token_budget()
    was_training = model.training
    model.eval()
    done: list[tuple[np.ndarray, torch.Tensor]] = []  # (b,) places among `rows`, and their logits, (b, C)
    left = even_batches(lengths, budget)
    with packed(model), compute.matmuls(), compute.autocast():  # once, so that weights are cast once
        while left:
            batch = left[0]
            try:
                logits = logits_of(model, pairs, rows[batch], compute).float()
                # On a GPU the logits are read at the end: it computes while the next batches are laid out.
                done.append((batch, logits if compute.device.type == "cuda" else logits.cpu()))
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise PredictionError(
                        "out of memory with a single pair; use a smaller model, or --device cpu"
                    ) from error
            else:
                left.pop(0)
                on_batch(len(batch))
                continue
            compute.free_memory()
            budget = int(lengths[batch].max()) * (len(batch) // 2)
            places = np.concatenate(left)
            left = [places[part] for part in even_batches(lengths[places], budget)]
    model.train(was_training)
    gathered = np.full((len(rows), int(model.config.num_labels or 0)), np.nan, dtype=np.float32)  # (N, C)
    if done:
        gathered[np.concatenate([batch for batch, _ in done])] = torch.cat([logits for _, logits in done]).cpu().numpy()
    return gathered
