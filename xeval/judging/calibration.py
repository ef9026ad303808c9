"""Can the probabilities be believed? Reliability diagrams and expected calibration errors, from logits.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger 2017, On calibration of modern neural networks, arXiv:1706.04599.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xeval.results.records import N_BINS


@dataclass(frozen=True)
class Bin:
    """The predictions whose confidence lies in (low, high]. All numbers but `n` are fractions."""

    low: float
    high: float
    n: int
    confidence: float  # mean
    accuracy: float


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the (N, C) softmax of (N, C) logits."""
    from scipy.special import softmax  # takes half a second, which `xeval --help` must not wait for

    shares: np.ndarray = softmax(logits.astype(np.float64), axis=1)
    return shares


def reliability(logits: np.ndarray, labels: np.ndarray, n_bins: int = N_BINS) -> list[Bin]:
    """Return the bins of equal width that hold at least one row of (N, C) `logits` with (N,) gold `labels`.

    Confidence is the probability of the predicted label, the largest of the row.
    """
    confidence = probabilities(logits).max(axis=1)  # (N,)
    correct = logits.argmax(axis=1) == labels  # (N,); from the logits, since close ones may have equal probabilities
    edges = np.arange(1, n_bins + 1) / n_bins
    bin_of_row = np.minimum(np.digitize(confidence, edges, right=True), n_bins - 1)
    n, confidence_sum, n_correct = (np.bincount(bin_of_row, weights=weights) for weights in (None, confidence, correct))
    return [
        Bin(
            index / n_bins,
            float(edges[index]),
            int(n[index]),
            float(confidence_sum[index] / n[index]),
            float(n_correct[index] / n[index]),
        )
        for index in np.flatnonzero(n).tolist()
    ]


def as_recorded(bins: Sequence[Bin]) -> list[tuple[int, int, float, float]]:
    """Return the bins in the form in which a record's score stores them."""
    return [(round(entry.low * N_BINS), entry.n, entry.confidence, entry.accuracy) for entry in bins]


def recorded(calibration: Sequence[tuple[int, int, float, float]]) -> list[Bin]:
    """Return the bins that `as_recorded` turned into `calibration`."""
    return [
        Bin(place / N_BINS, (place + 1) / N_BINS, n, confidence, accuracy)
        for place, n, confidence, accuracy in calibration
    ]


def pooled(several: Sequence[list[Bin]]) -> list[Bin]:
    """Merge bins that have the same edges, as if all their rows had been binned together."""
    by_edges: dict[tuple[float, float], list[Bin]] = {}
    for entry in sorted((entry for bins in several for entry in bins), key=lambda entry: entry.low):
        by_edges.setdefault((entry.low, entry.high), []).append(entry)
    return [_as_one(parts) for parts in by_edges.values()]


def _as_one(parts: list[Bin]) -> Bin:
    n = sum(part.n for part in parts)
    confidence, accuracy = (
        sum(part.n * getattr(part, name) for part in parts) / n for name in ("confidence", "accuracy")
    )
    return Bin(parts[0].low, parts[0].high, n, confidence, accuracy)


def expected_calibration_error(bins: list[Bin]) -> float:
    """Return equation 3 of Guo et al.: the mean over rows of the gap between accuracy and confidence in a row's bin."""
    n = sum(entry.n for entry in bins)
    return sum(entry.n * abs(entry.accuracy - entry.confidence) for entry in bins) / n
