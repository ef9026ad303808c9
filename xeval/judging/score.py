"""Predictions → scores with their intervals. No torch here, and the metric's library only when something is scored."""

import math

import numpy as np
from scipy.special import log_softmax
from scipy.stats import norm

from xeval.kinds.pairs import EncodedPairs
from xeval.kinds.tokenization import Tokenization
from xeval.results.records import Float32Check, Score
from xeval.support.errors import PredictionError


def score_cell(
    logits: np.ndarray, pairs: EncodedPairs, premise_groups: np.ndarray, predictions_sha256: str, invocation: str
) -> Score:
    """The score of (N, C) `logits` whose columns stand in the order of the task's labels, made by `invocation`.

    `premise_groups` (N,) numbers the premises: rows that share one are not independent draws.
    """
    from xeval.kinds.metric import compute_accuracy  # evaluate takes seconds to import

    predictions = predicted_labels(logits)
    counts = compute_accuracy(predictions, pairs.labels)
    return Score(
        value=counts["accuracy"],
        ci95=clustered_wilson_interval(predictions == pairs.labels, premise_groups),
        n_rows=counts["n_examples"],
        n_groups=len(np.unique(premise_groups)),
        totals={"correct": counts["n_correct"], "rows": counts["n_examples"]},
        tokenization=Tokenization(
            truncated_share=pairs.truncated_share,
            unknown_piece_share=pairs.unknown_piece_share,
            pieces_per_word=pairs.pieces_per_word,
            pieces_per_row=pairs.pieces_per_pair,
        ),
        predictions_sha256=predictions_sha256,
        invocation=invocation,
        n_most_predicted=int(np.bincount(predictions).max()),
    )


def compare_with_float32(logits: np.ndarray, in_float32: np.ndarray) -> Float32Check:
    """How far (N, C) `logits` are from those of the same rows in float32."""
    return Float32Check(
        n_rows=len(logits),
        n_flips=int((predicted_labels(logits) != predicted_labels(in_float32)).sum()),
        max_logit_difference=float(np.abs(logits - in_float32).max()),
    )


def predicted_labels(logits: np.ndarray) -> np.ndarray:
    """(N,) index of the largest of (N, C) logits. A row that is no finite number raises PredictionError."""
    if not np.isfinite(logits).all():
        raise PredictionError(f"{int((~np.isfinite(logits)).any(axis=1).sum())} rows have no finite logits")
    largest: np.ndarray = logits.argmax(axis=1)
    return largest


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean cross-entropy of (N, C) `logits` and (N,) `labels`, in nats."""
    shares = log_softmax(logits.astype(np.float64), axis=1)  # (N, C)
    return float(-shares[np.arange(len(labels)), labels].mean())


def clustered_wilson_interval(correct: np.ndarray, groups: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for the mean of (N,) booleans drawn in groups.

    The number of rows is divided by the design effect: the variance of the mean with groups as the unit of sampling,
    over the binomial one (Korn and Graubard 1998, Survey Methodology 24(2); Miller 2024, arXiv:2411.00640). A design
    effect below 1 is not believed.
    """
    n, accuracy = len(correct), float(np.mean(correct))
    n_effective = n / max(1.0, design_effect(correct, groups))
    z = float(norm.ppf((1 + level) / 2))
    centre = (accuracy + z * z / (2 * n_effective)) / (1 + z * z / n_effective)
    half = (
        z
        / (1 + z * z / n_effective)
        * math.sqrt(accuracy * (1 - accuracy) / n_effective + z * z / (4 * n_effective**2))
    )
    return max(0.0, min(accuracy, centre - half)), min(1.0, max(accuracy, centre + half))  # rounding at 0 and 1


def design_effect(correct: np.ndarray, groups: np.ndarray) -> float:
    """Variance of the mean of (N,) booleans with (N,) groups resampled, over that with rows resampled; 1 at worst."""
    n, accuracy = len(correct), float(np.mean(correct))
    _, group_of_row = np.unique(groups, return_inverse=True)
    n_groups = int(group_of_row.max()) + 1
    if n_groups < 2 or accuracy in (0.0, 1.0):
        return 1.0
    deviations = np.bincount(group_of_row, weights=correct.astype(np.float64) - accuracy)
    clustered = n_groups / (n_groups - 1) * float(np.sum(deviations**2)) / n**2
    return clustered / (accuracy * (1 - accuracy) / (n - 1))
