"""Rows that depend on each other come in groups: sums over groups, and groups drawn with replacement."""

from collections.abc import Iterator

import numpy as np

DRAWS_AT_ONCE = 1_000_000  # groups drawn in one block: 8 MB for each count


def sums_of_groups(tally: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(G, K) sums of an (N, K) `tally` over each of the (N,) `groups`."""
    _, group_of_row = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(group_of_row, weights=count) for count in tally.T], axis=1)


def draws(rng: np.random.Generator, n_groups: int, n_resamples: int) -> Iterator[np.ndarray]:
    """Blocks of (b, n_groups) numbers of groups drawn with replacement, `n_resamples` lines in all."""
    for start in range(0, n_resamples, per_block := max(1, DRAWS_AT_ONCE // n_groups)):
        yield rng.integers(0, n_groups, (min(per_block, n_resamples - start), n_groups))
