"""Is a claimed score true? Decided on as few rows as that takes, by a test that may be looked at after each row.

The claim is about one model on one whole test set, whose groups of rows are drawn in random order without replacement.
For a hypothesis on the set's score, somebody who bets on each next group at odds that are fair under it is unlikely
ever to multiply their money by 1 / level: by a chance of at most the level, at whatever row one looks (Ville 1939). So
wealth beyond that refutes the hypothesis. Bets on draws without replacement are those of Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting", https://doi.org/10.1093/jrsssb/qkad009. Scores are
fractions. `docs/statistics.md` has the method and how often it is wrong.
"""

import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np

LEVEL = 0.05  # chance of a false outcome, at most
STAKES = np.geomspace(0.01, 4.0, 24)  # what is bet at first, spread over sizes since nobody knows the best one
MOST_OF_WEALTH = 0.95  # that is ever at risk
HALVINGS = 12  # of the unit interval, to find an end of the interval

_NEVER = sys.maxsize

AuditOutcome = Literal["confirmed", "refuted", "open"]


@dataclass(frozen=True)
class Looked:
    """What the first groups have shown of a claim."""

    outcome: AuditOutcome
    n_groups: int  # after which that was certain; all that were looked at while it is open
    n_rows: int  # in these
    score: float  # on these


def look(sizes: np.ndarray, right: np.ndarray, claimed: float, tolerance: float) -> Looked:
    """What (g,) numbers of right rows in the first g groups say of a claimed score, within ±`tolerance`.

    (G,) `sizes` are the rows in all groups, in the order in which they are drawn. Refuted: the whole set's score lies
    outside; confirmed: it lies inside. Where all groups are known, it is one of both.
    """
    low, high = claimed - tolerance, claimed + tolerance
    # One of two hypotheses can be true of a refutation, so each has half the level; both must fall for a confirmation.
    outside = (_passed(sizes, right, high, True, LEVEL / 2), _passed(sizes, right, low, False, LEVEL / 2))
    inside = (_passed(sizes, right, low, True, LEVEL), _passed(sizes, right, high, False, LEVEL))
    refuted, confirmed = min(outside), max(inside)
    outcome: AuditOutcome = "open"
    if min(refuted, confirmed) < _NEVER:
        outcome = "refuted" if refuted <= confirmed else "confirmed"
    elif len(right) == len(sizes):
        score = right.sum() / sizes.sum()
        outcome = "confirmed" if low - 1e-12 <= score <= high + 1e-12 else "refuted"
    n_groups = min(refuted, confirmed, len(right))
    n_rows = int(sizes[:n_groups].sum())
    return Looked(outcome, n_groups, n_rows, float(right[:n_groups].sum()) / n_rows)


def interval(sizes: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Where the whole set's score lies, with a chance of at least 1 - LEVEL at whatever group one stops."""
    known, n_right, n = int(sizes[: len(right)].sum()), int(right.sum()), int(sizes.sum())
    least, most = n_right / n, 1 - (known - n_right) / n
    score = n_right / known
    return _edge(sizes, right, score, least, above=True), _edge(sizes, right, score, most, above=False)


def _edge(sizes: np.ndarray, right: np.ndarray, tenable: float, end: float, above: bool) -> float:
    """The score nearest to `tenable`, on the side of `end`, that is refuted, or else `end`."""
    for _ in range(HALVINGS):
        middle = (tenable + end) / 2
        if _passed(sizes, right, middle, above, LEVEL / 2) == _NEVER:
            tenable = middle
        else:
            end = middle
    return end


def _passed(sizes: np.ndarray, right: np.ndarray, score: float, above: bool, level: float) -> int:
    """After how many groups the hypothesis that the score is at most (`above`) or at least `score` is refuted."""
    reached = np.flatnonzero(wealth(sizes, right, score, above) >= 1 / level)
    return int(reached[0]) + 1 if len(reached) else _NEVER


def wealth(sizes: np.ndarray, right: np.ndarray, score: float, above: bool) -> np.ndarray:
    """(g,): what betting against `score` has made of 1 after each of g groups.

    `above`: on a higher score than that, against all hypotheses of at most it; otherwise on a lower one. Infinite where
    the answers so far make it impossible.
    """
    n_groups, sizes, largest = len(sizes), sizes[: len(right)], sizes.max()
    hits, null = (right, score) if above else (sizes - right, 1 - score)
    # Groups of fewer rows are filled up with the hypothesis itself, so that all are shares in [0, 1] of equal weight.
    shares = (hits + null * (largest - sizes)) / largest
    so_far, n_left = np.cumsum(shares), n_groups - np.arange(len(right))
    expected = (n_groups * null - so_far + shares) / n_left  # of the next group, if the hypothesis were just true
    most = np.where((expected > 0) & (expected < 1), MOST_OF_WEALTH / np.maximum(expected, 1e-12), 0.0)
    bets = np.minimum(STAKES[:, None] * n_groups / n_left, most)  # (stakes, g)
    logs = np.cumsum(np.log1p(bets * (shares - expected)), axis=1)
    capital = np.exp(np.minimum(np.logaddexp.reduce(logs, axis=0) - np.log(len(STAKES)), 700))
    return np.where(so_far > n_groups * null + 1e-9, np.inf, capital)
