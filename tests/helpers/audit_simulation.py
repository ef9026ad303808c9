"""Audits of claims whose truth is known: how often is one wrongly refuted or confirmed, and after how many rows?

`python -m tests.helpers.audit_simulation` prints the answer.

Each experiment draws a test set of premises with three rows, whose difficulties are correlated within a premise. The
model has exactly the wanted share of rows right. Premises are audited in random order.
"""

import numpy as np

from xeval.judging.audit import interval, look

N_EXPERIMENTS = 400
N_PREMISES, PER_PREMISE = 1670, 3
WITHIN = 0.3  # correlation of difficulty within a premise
CLAIMED = 0.585
OFF = (0.0, 1.0, -1.5, 1.5, -1.6, 1.6, -3.0, 5.0, -10.0, -25.0)  # how far the truth is from the claim, in points


def answers(share: float, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(G,) the number of right rows of each premise, in random order, if a `share` of all rows is right."""
    of_row = np.repeat(np.arange(len(sizes)), sizes)
    difficulty = np.sqrt(WITHIN) * rng.standard_normal(len(sizes))[of_row]
    difficulty = difficulty + np.sqrt(1 - WITHIN) * rng.standard_normal(len(of_row))
    right = np.argsort(np.argsort(difficulty)) < round(share * len(of_row))
    return np.bincount(of_row, weights=right).astype(np.int64)


def rates(off: float, tolerance: float, sizes: np.ndarray, n_experiments: int, seed: int) -> dict[str, float]:
    """The share of each outcome and of intervals that miss the truth, and the mean number of rows."""
    rng = np.random.default_rng(seed)
    outcomes, n_rows, missed = [], [], []
    for _ in range(n_experiments):
        own = rng.permutation(sizes)
        right = answers(CLAIMED + off / 100, own, rng)
        result = look(own, right, CLAIMED, tolerance / 100)
        low, high = interval(own, right[: result.n_groups])
        outcomes.append(result.outcome)
        n_rows.append(result.n_rows)
        missed.append(not low - 1e-9 <= right.sum() / own.sum() <= high + 1e-9)
    shares = {outcome: outcomes.count(outcome) / n_experiments for outcome in ("confirmed", "refuted")}
    return shares | {"missed": float(np.mean(missed)), "rows": float(np.mean(n_rows))}


def describe(off: float, tolerance: float, found: dict[str, float]) -> str:
    return (
        f"off by {off:+.1f}, tolerance {tolerance}: confirmed {100 * found['confirmed']:.1f} %, refuted"
        f" {100 * found['refuted']:.1f} %, after {found['rows']:,.0f} rows on average; interval without the truth"
        f" {100 * found['missed']:.1f} %"
    )


if __name__ == "__main__":
    even = np.full(N_PREMISES, PER_PREMISE)
    uneven = np.random.default_rng(1).integers(1, 7, N_PREMISES)
    for off in OFF:
        print(describe(off, 1.5, rates(off, 1.5, even, N_EXPERIMENTS, seed=7)), flush=True)
    for off in (0.0, -5.1):
        print(describe(off, 5.0, rates(off, 5.0, even, N_EXPERIMENTS, seed=7)), flush=True)
    print("premises with one to six rows")
    for off in (1.5, 1.6, -10.0):
        print(describe(off, 1.5, rates(off, 1.5, uneven, N_EXPERIMENTS, seed=7)), flush=True)
