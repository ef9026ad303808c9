"""Weights + encoded rows → logits. Every row is computed exactly once and comes back in its own place."""

from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.engine.batches import even_batches
from xeval.engine.devices import Compute
from xeval.engine.fast_path.forward import logits_of, packed
from xeval.kinds.pairs import EncodedPairs


@torch.no_grad()  # jagged tensors do not take inference mode
def predict_logits(
    model: PreTrainedModel,
    pairs: EncodedPairs,
    compute: Compute,
    on_batch: Callable[[int], None] = lambda n: None,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Logits of every pair, or of `rows`, (N, C) float32, in their order.

    `on_batch` is told the number of pairs of each batch done.
    """
    rows = np.arange(len(pairs)) if rows is None else rows
    was_training = model.training
    model.eval()
    n_labels = int(model.config.num_labels or 0)  # C; a checked checkpoint has a head
    logits = np.full((len(rows), n_labels), np.nan, dtype=np.float32)
    with packed(model), compute.matmuls(), compute.autocast():  # once, so that weights are cast once
        for batch in even_batches(pairs.lengths[rows], compute.token_budget()):
            logits[batch] = logits_of(model, pairs, rows[batch], compute).float().cpu().numpy()  # (B, C)
            on_batch(len(batch))
    model.train(was_training)
    return logits
