"""Is a claimed score true? A test that may be read after every row, and so decides on as few rows as possible.

The claim is about one model on one whole test set, whose groups of rows are drawn in random order without replacement.
Take a hypothesis about the set's score, and a gambler who bets on each next group at odds that are fair under it. The
chance that the gambler's wealth ever grows by a factor of 1 / level is at most the level, whenever one looks (Ville
1939). So greater wealth refutes the hypothesis. Bets on draws without replacement are those of Waudby-Smith and Ramdas
2024, "Estimating means of bounded random variables by betting", https://doi.org/10.1093/jrsssb/qkad009. Scores are
fractions. `docs/statistics.md` describes the method and how often it is wrong.
"""

import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np

LEVEL = 0.05  # largest chance of a false outcome
STAKES = np.geomspace(0.01, 4.0, 24)  # first bets, of many sizes since the best one is not known
MOST_OF_WEALTH = 0.95  # the share of the wealth that a bet may risk
HALVINGS = 12  # bisection steps to find an end of the interval

_NEVER = sys.maxsize

AuditOutcome = Literal["confirmed", "refuted", "open"]


@dataclass(frozen=True)
class Looked:
    """What the first groups show about a claim."""

    outcome: AuditOutcome
    n_groups: int  # groups until the outcome was certain; all that were read while it is open
    n_rows: int  # in these groups
    score: float  # on these rows


def look(sizes: np.ndarray, right: np.ndarray, claimed: float, tolerance: float) -> Looked:
    """Judge a claimed score, within ±`tolerance`, from the (g,) numbers of `right` rows in the first g groups.

    (G,) `sizes` are the numbers of rows in all groups, in drawing order. Refuted means that the whole set's score lies
    outside the tolerance, confirmed that it lies inside. Once all groups are known, the outcome is never open.
    """
    low, high = claimed - tolerance, claimed + tolerance
    # Either of two tests can refute the claim, so each has half the level. To confirm it, both must reject.
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
    """Return bounds of the whole set's score that hold with a chance of at least 1 - LEVEL, whenever one stops."""
    known, n_right, n = int(sizes[: len(right)].sum()), int(right.sum()), int(sizes.sum())
    least, most = n_right / n, 1 - (known - n_right) / n
    score = n_right / known
    return _edge(sizes, right, score, least, above=True), _edge(sizes, right, score, most, above=False)


def _edge(sizes: np.ndarray, right: np.ndarray, tenable: float, end: float, above: bool) -> float:
    """Return the refuted score nearest to `tenable` on the side of `end`, or `end` if none is refuted."""
    for _ in range(HALVINGS):
        middle = (tenable + end) / 2
        if _passed(sizes, right, middle, above, LEVEL / 2) == _NEVER:
            tenable = middle
        else:
            end = middle
    return end


def _passed(sizes: np.ndarray, right: np.ndarray, score: float, above: bool, level: float) -> int:
    """Return the number of groups that refute the hypothesis "at most `score`" (with `above`) or "at least `score`".

    _NEVER if the groups read so far do not refute it.
    """
    reached = np.flatnonzero(wealth(sizes, right, score, above) >= 1 / level)
    return int(reached[0]) + 1 if len(reached) else _NEVER


def wealth(sizes: np.ndarray, right: np.ndarray, score: float, above: bool) -> np.ndarray:
    """Return the (g,) wealth, starting from 1, that bets against `score` have reached after each of g groups.

    With `above`, the bets are on a higher score, against every hypothesis of at most `score`. Otherwise they are on a
    lower one. The wealth is infinite once the answers so far make the hypothesis impossible.
    """
    n_groups, sizes, largest = len(sizes), sizes[: len(right)], sizes.max()
    hits, null = (right, score) if above else (sizes - right, 1 - score)
    # Smaller groups are padded with the hypothesis itself, so that all groups are shares in [0, 1] of equal weight.
    shares = (hits + null * (largest - sizes)) / largest
    so_far, n_left = np.cumsum(shares), n_groups - np.arange(len(right))
    expected = (n_groups * null - so_far + shares) / n_left  # share of the next group if the hypothesis just holds
    most = np.where((expected > 0) & (expected < 1), MOST_OF_WEALTH / np.maximum(expected, 1e-12), 0.0)
    bets = np.minimum(STAKES[:, None] * n_groups / n_left, most)  # (stakes, g)
    logs = np.cumsum(np.log1p(bets * (shares - expected)), axis=1)
    capital = np.exp(np.minimum(np.logaddexp.reduce(logs, axis=0) - np.log(len(STAKES)), 700))
    return np.where(so_far > n_groups * null + 1e-9, np.inf, capital)
