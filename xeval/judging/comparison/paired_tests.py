"""Tests on two models' answers to the same rows: McNemar's, its form for groups of rows, and Holm's correction.

`docs/statistics.md` says when each is valid.
"""

from collections.abc import Sequence

import numpy as np


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Return the two-sided exact p of McNemar's test, from the numbers of rows that only A and only B has right.

    Under the null hypothesis, each such row is equally likely to be either (McNemar 1947; Dietterich 1998). Valid only
    if rows are independent draws.
    """
    from scipy.stats import binomtest  # takes half a second, which `xeval --help` must not wait for

    n = only_a + only_b
    return 1.0 if n == 0 else float(binomtest(only_a, n, 0.5).pvalue)


def group_p(differences: np.ndarray, groups: np.ndarray) -> float:
    """Return the two-sided exact p for (N,) integer row `differences` whose (N,) `groups`, not rows, are independent.

    The null hypothesis is that A's and B's answers can be exchanged in any group (for instance the rows of one
    premise), for all its rows together: each group's sum keeps its size and takes either sign with probability 1/2.
    The distribution of the total is computed, not sampled. With one row per group, this is `mcnemar_p`. With groups of
    one size, it is the exact form of the clustered McNemar test of Durkalski et al. (2003), Statistics in Medicine
    22(15).
    """
    from scipy.stats import binom

    _, group_of_row = np.unique(groups, return_inverse=True)
    sums = np.zeros(group_of_row.max() + 1, np.int64)
    np.add.at(sums, group_of_row, differences)
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    probabilities = np.ones(1)  # of the sum of the sizes that come out positive, from 0 up
    for size, n in zip(sizes.tolist(), counts.tolist(), strict=True):
        wider = np.zeros(len(probabilities) + size * n)
        for positive, weight in enumerate(binom.pmf(np.arange(n + 1), n, 0.5).tolist()):
            wider[size * positive : size * positive + len(probabilities)] += weight * probabilities
        probabilities = wider
    totals = 2 * np.arange(len(probabilities)) - (len(probabilities) - 1)
    return min(1.0, float(probabilities[np.abs(totals) >= abs(int(sums.sum()))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p values, in the order given (Holm 1979, Scandinavian Journal of Statistics 6(2)).

    If those of at most a level count as differences, the chance of even one false difference is at most that level.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
