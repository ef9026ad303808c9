"""Groups of rows that depend on each other: sums over groups, and draws of groups with replacement."""

from collections.abc import Iterator

import numpy as np

DRAWS_AT_ONCE = 1_000_000  # groups drawn in one block: 8 MB for each count


def sums_of_groups(tally: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the (G, K) sums of an (N, K) `tally` over each of the (N,) `groups`."""
    return sums_of_numbered(tally, numbered(groups))


def numbered(groups: np.ndarray) -> np.ndarray:
    """Renumber the (N,) `groups` from 0 on, whatever their values are."""
    return np.unique(groups, return_inverse=True)[1]


def sums_of_numbered(tally: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return what `sums_of_groups` does, for groups that are `numbered` already. Numbering is the slower part."""
    return np.stack([np.bincount(groups, weights=count) for count in tally.T], axis=1)


def draws(rng: np.random.Generator, n_groups: int, n_resamples: int) -> Iterator[np.ndarray]:
    """Yield blocks of (b, n_groups) group numbers drawn with replacement, `n_resamples` lines in all."""
    for start in range(0, n_resamples, per_block := max(1, DRAWS_AT_ONCE // n_groups)):
        yield rng.integers(0, n_groups, (min(per_block, n_resamples - start), n_groups))
