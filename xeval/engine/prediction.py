"""Weights + encoded rows → outputs. Every row is computed exactly once, and outputs are in the order of the rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.engine.batches import even_batches, within_memory
from xeval.engine.devices import Compute
from xeval.engine.fast_path.blocked_weights import blocked_weights
from xeval.engine.fast_path.forward import is_packed, layers_of_one_input, logits_of, packed
from xeval.engine.loading import label_columns
from xeval.engine.ranks import ALONE, Ranks
from xeval.kinds.encoded import Encoded
from xeval.kinds.kind import Kind, Reads
from xeval.support.errors import PredictionError


@dataclass(frozen=True)
class Prediction:
    """What rank 0 gives the other ranks to compute: their share of the outputs of these rows."""

    encoded: Encoded
    compute: Compute
    reads: Reads


def predict_logits(
    model: PreTrainedModel,
    pairs: Encoded,
    compute: Compute,
    on_batch: Callable[[int], None] = lambda n: None,
    reads: Reads = "first token",
    ranks: Ranks = ALONE,
) -> np.ndarray:
    """Return the logits of every sequence, (N, C) float32, in the order of the sequences.

    If the head gives an output for every token, return (tokens, C), one sequence after the other.

    `on_batch` receives the number of pairs in each finished batch. Batches that do not fit into a device's memory are
    halved. Raise PredictionError if not even one pair fits. Other `ranks`, if there are any, have the same model and
    compute their share of the batches.
    """
    request = ranks.give(Prediction(pairs, compute, reads))
    shares = ranks.gather(_share(request, model, ranks, on_batch))
    for share in shares:
        if isinstance(share, PredictionError):
            raise share
    if ranks.size > 1:
        on_batch(sum(len(places) for places, _ in shares[1:]))
    shares = [share for share in shares if len(share[0])]
    if not shares:
        return np.empty((0, int(model.config.num_labels or 0)), dtype=np.float32)
    places, n_places = np.concatenate([places for places, _ in shares]), len(pairs)
    if reads == "every token":
        places, n_places = pairs.tokens_of(places), len(pairs.input_ids)
    logits = np.concatenate([logits for _, logits in shares])
    gathered = np.full((n_places, *logits.shape[1:]), np.nan, dtype=np.float32)  # (N, C) or (tokens, C)
    gathered[places] = logits
    return gathered


def answer(asked: Prediction, model: Any, ranks: Ranks) -> None:
    """Compute this rank's share of `asked`, on a rank other than the first."""
    own = replace(asked, compute=replace(asked.compute, device=model.device))
    ranks.gather(_share(own, model, ranks))


Share = tuple[np.ndarray, np.ndarray]  # (b,) sequences, and their logits, (b, C) or (their tokens, C) float32


def _share(
    request: Prediction, model: PreTrainedModel, ranks: Ranks, on_batch: Callable[[int], None] = lambda n: None
) -> Share | PredictionError:
    """Return this rank's share, or the error that prevented it, to be raised once all shares are gathered."""
    pairs, compute = request.encoded, request.compute
    lengths, batches = pairs.lengths, even_batches(pairs.lengths, compute.token_budget())
    # Whole batches, so that each is computed as in a single process.
    sizes = np.array([lengths[batch].sum() for batch in batches], dtype=np.int64)
    try:
        return _outputs(model, request, [batches[number] for number in ranks.share(sizes)], on_batch)
    except PredictionError as error:
        return error


@torch.no_grad()
def _outputs(
    model: PreTrainedModel, request: Prediction, batches: list[np.ndarray], on_batch: Callable[[int], None]
) -> Share:
    """Return the outputs of `batches`, splitting batches that do not fit into memory."""
    pairs, compute = request.encoded, request.compute
    was_training = model.training
    model.eval()
    outputs: list[tuple[np.ndarray, torch.Tensor]] = []

    def outputs_of(batch: np.ndarray) -> torch.Tensor:
        logits = logits_of(model, pairs, batch, compute).float()
        # Logits on a GPU are read at the end, so that it computes while the next batches are laid out.
        return logits if compute.device.type == "cuda" else logits.cpu()

    # Entered once for all batches, so that weights are cast and laid out once.
    with (
        packed(model, request.reads, pairs),
        blocked_weights(model, compute, layers_of_one_input(model, request.reads)),
        compute.matmuls(),
        compute.autocast(),
    ):
        for batch, logits in within_memory(outputs_of, batches, pairs.lengths, compute, at_once=is_packed(model)):
            outputs.append((batch, logits))
            on_batch(len(batch))
    model.train(was_training)
    if not outputs:
        return np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
    places = np.concatenate([batch for batch, _ in outputs])
    return places, torch.cat([logits for _, logits in outputs]).cpu().numpy()


def mean_loss(kind: Kind, outputs: np.ndarray, encoded: Encoded) -> float:
    """Return the mean loss of `outputs`, which `predict` returned for all of `encoded`."""
    total, n = kind.loss(torch.from_numpy(outputs).double(), torch.from_numpy(encoded.targets))
    return float(total / n)


def predict(
    model: PreTrainedModel,
    kind: Kind,
    encoded: Encoded,
    compute: Compute,
    on_batch: Callable[[int], None] = lambda n: None,
    ranks: Ranks = ALONE,
) -> np.ndarray:
    """Return the outputs of `predict_logits`, with columns in the order of the kind's labels, if it has any.

    Raise PredictionError for outputs that are not finite numbers.
    """
    outputs = predict_logits(model, encoded, compute, on_batch, kind.reads, ranks)
    if kind.labels:
        names = model.config.id2label or {}
        outputs = outputs[:, np.array(label_columns(str(model.config.name_or_path), names, kind))]
    is_finite = np.isfinite(outputs).all(axis=1)
    if not is_finite.all():
        what = "tokens have" if kind.reads == "every token" else "rows have"
        raise PredictionError(f"{int((~is_finite).sum())} {what} no finite logits")
    return outputs
