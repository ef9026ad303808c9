"""Weights + encoded rows → logits. Every row is computed exactly once and comes back in its own place."""

from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.batches import collate, even_batches
from xeval.devices import Compute
from xeval.pair_classification import EncodedPairs


@torch.inference_mode()
def predict_logits(
    model: PreTrainedModel,
    pairs: EncodedPairs,
    compute: Compute,
    on_batch: Callable[[int], None] = lambda n: None,
) -> np.ndarray:
    """Logits of every pair, (N, C) float32, in row order. `on_batch` is told the number of pairs of each batch done."""
    was_training = model.training
    model.eval()
    logits = np.full((len(pairs), model.config.num_labels), np.nan, dtype=np.float32)
    takes_type_ids = getattr(model.config, "type_vocab_size", 0) > 1
    pad_token_id = model.config.pad_token_id or 0
    for rows in even_batches(pairs.lengths, compute.token_budget()):
        inputs = collate(pairs, rows, pad_token_id, takes_type_ids, compute.device)
        with compute.autocast():
            batch_logits = model(**inputs).logits  # (B, C)
        logits[rows] = batch_logits.float().cpu().numpy()
        on_batch(len(rows))
    model.train(was_training)
    return logits
