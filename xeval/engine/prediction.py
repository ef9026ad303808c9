"""Weights + encoded rows → outputs. Every row is computed exactly once and comes back in its own place."""

from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.engine.batches import even_batches
from xeval.engine.devices import Compute, is_out_of_memory
from xeval.engine.fast_path.forward import logits_of, packed
from xeval.engine.loading import label_columns
from xeval.kinds.encoded import Encoded
from xeval.kinds.kind import Kind, Reads
from xeval.support.errors import PredictionError


@torch.no_grad()
def predict_logits(
    model: PreTrainedModel,
    pairs: Encoded,
    compute: Compute,
    on_batch: Callable[[int], None] = lambda n: None,
    rows: np.ndarray | None = None,
    reads: Reads = "first token",
) -> np.ndarray:
    """Logits of every sequence, or of those numbered `rows`, (N, C) float32, in their order.

    Of a head that gives an output of every token they are (tokens, C), one sequence after the other.

    `on_batch` is told the number of pairs of each batch done. Batches that do not fit into a device's memory are
    halved. Raises PredictionError when not even one pair fits.
    """
    if rows is not None:
        pairs = pairs.take(rows)
    lengths, budget = pairs.lengths, compute.token_budget()
    was_training = model.training
    model.eval()
    done: list[tuple[np.ndarray, torch.Tensor]] = []  # (b,) sequences, and their logits, (b, C)
    left = even_batches(lengths, budget)
    with packed(model, reads, pairs), compute.matmuls(), compute.autocast():  # once, so that weights are cast once
        while left:
            batch = left[0]
            try:
                logits = logits_of(model, pairs, batch, compute).float()
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
    if not done:
        return np.empty((0, int(model.config.num_labels or 0)), dtype=np.float32)
    places, n_places = np.concatenate([batch for batch, _ in done]), len(pairs)
    if reads == "every token":
        places, n_places = pairs.tokens_of(places), len(pairs.input_ids)
    logits = torch.cat([logits for _, logits in done])
    gathered = np.full((n_places, *logits.shape[1:]), np.nan, dtype=np.float32)  # (N, C) or (tokens, C)
    gathered[places] = logits.cpu().numpy()
    return gathered


def mean_loss(kind: Kind, outputs: np.ndarray, encoded: Encoded) -> float:
    """The mean loss of `outputs`, as `predict` gives them of all of `encoded`."""
    total, n = kind.loss(torch.from_numpy(outputs).double(), torch.from_numpy(encoded.targets))
    return float(total / n)


def predict(
    model: PreTrainedModel,
    kind: Kind,
    encoded: Encoded,
    compute: Compute,
    on_batch: Callable[[int], None] = lambda n: None,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """What `predict_logits` gives, with columns in the order of the kind's labels, if it has any.

    Raises PredictionError for outputs that are no finite numbers.
    """
    outputs = predict_logits(model, encoded, compute, on_batch, rows, kind.reads)
    if kind.labels:
        names = model.config.id2label or {}
        outputs = outputs[:, np.array(label_columns(str(model.config.name_or_path), names, kind))]
    is_finite = np.isfinite(outputs).all(axis=1)
    if not is_finite.all():
        what = "tokens have" if kind.reads == "every token" else "rows have"
        raise PredictionError(f"{int((~is_finite).sum())} {what} no finite logits")
    return outputs
