"""The paired bootstrap: how much would the difference between two models on the same rows change with other rows?

Groups of rows are resampled, not single rows. In XNLI a group is a premise: three hypotheses share one, so rows are not
independent draws (Koehn 2004; Berg-Kirkpatrick et al. 2012; in clusters: Miller 2024, arXiv:2411.00640). Training runs
are fixed: no interval here says what another seed would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from typing import Any

import numpy as np

from xeval.judging.grouped import draws
from xeval.support.text import signed

SEED = 20181101  # for every resampling, unless another is given
N_RESAMPLES = 10_000
_NEVER_MISSED = 20  # groups: among those of all languages, a draw misses as many once in 500 million times
LEVEL = 0.95
_ALIKE = 0.9  # share of rows; translations of one test set agree in at least this share of gold labels


@dataclass(frozen=True)
class PairedRows:
    """Which of the same N rows of one language two models have right."""

    correct_a: np.ndarray  # (N,) bool, or the share of seeds that have the row right
    correct_b: np.ndarray  # (N,) likewise
    groups: np.ndarray  # (N,) int; rows with the same number depend on each other
    labels: np.ndarray  # (N,) int, gold; languages whose labels agree are translations row by row

    @property
    def differences(self) -> np.ndarray:
        """(N,) float64: B minus A, row by row."""
        return self.correct_b.astype(np.float64) - self.correct_a.astype(np.float64)


@dataclass(frozen=True)
class Interval:
    """B's value minus A's as a fraction, with its bootstrap percentile interval and how that was drawn."""

    difference: float
    low: float
    high: float
    n_groups: int
    level: float
    seed: int
    n_resamples: int

    @property
    def name(self) -> str:
        """What it is called, such as "95 % interval"."""
        return f"{100 * self.level:.0f} % interval"

    @property
    def in_points(self) -> str:
        """Its bounds in points, such as "-0.3 to +1.2"."""
        return f"{signed(100 * self.low)} to {signed(100 * self.high)}"

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def interval_of(
    difference: float, drawn: np.ndarray, parts: Sequence[tuple[list[int], np.ndarray]], seed: int
) -> Interval:
    """Return the percentile interval of the (n_resamples,) differences `drawn` from the groups of these `parts`.

    Fewer than two groups say nothing: the interval is then -1 to 1.
    """
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    n_groups = [_n_groups(groups) for _, groups in parts]
    if min(n_groups) < 2:
        low, high = -1.0, 1.0
    return Interval(difference, float(low), float(high), sum(n_groups), LEVEL, seed, len(drawn))


def paired_mean_difference(
    languages: Sequence[PairedRows], seed: int = SEED, n_resamples: int = N_RESAMPLES
) -> Interval:
    """Return the difference on the mean over languages, which all count the same.

    Translations of one test set are drawn together, so the interval includes what a group does to all languages.
    """
    rng = np.random.default_rng(seed)
    differences = [rows.differences for rows in languages]
    parts = drawn_together([rows.groups for rows in languages], [rows.labels for rows in languages])
    drawn = np.zeros(n_resamples)
    for places, groups in parts:
        of_part = np.mean([differences[place] for place in places], axis=0)
        drawn += len(places) / len(languages) * resampled_means(of_part, groups, rng, n_resamples)
    return interval_of(float(np.mean([own.mean() for own in differences])), drawn, parts, seed)


def resampled_means(values: np.ndarray, groups: np.ndarray, rng: np.random.Generator, n_resamples: int) -> np.ndarray:
    """Return (B,) means of (N,) `values`, each over as many groups as there are, drawn with replacement."""
    _, group_of_row = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(group_of_row, weights=values), np.bincount(group_of_row)
    n_groups, means, alike = len(sums), [], len(set(sizes.tolist())) == 1
    for chosen in draws(rng, n_groups, n_resamples):
        n_rows = n_groups * sizes[0] if alike else sizes[chosen].sum(axis=1)
        means.append(sums[chosen].sum(axis=1) / n_rows)
    return np.concatenate(means)


def drawn_together(
    groups: Sequence[np.ndarray], labels: Sequence[np.ndarray] | None = None
) -> list[tuple[list[int], np.ndarray]]:
    """Return parts of L languages: the places of each part's languages, and (N,) groups of rows that hold in all of it.

    Languages count as translations of one test set if they have as many rows and, where gold labels are known,
    agree in nearly all of them: translators and annotators change a few. If only their numbers of rows are alike, their
    rows do not move together, and drawing them together does no harm, unless it merges unrelated groups. In that case
    each language is a part of its own.
    """
    known = [[0] * len(own) for own in groups] if labels is None else [own.tolist() for own in labels]
    alike: list[list[int]] = []
    for place, own in enumerate(known):
        part = next((part for part in alike if agree(known[part[0]], own)), None)
        if part is None:
            alike.append([place])
        else:
            part.append(place)
    parts: list[tuple[list[int], np.ndarray]] = []
    for places in alike:
        joint = joint_groups([groups[place] for place in places])
        fewest = min(_n_groups(groups[place]) for place in places)
        if 2 * _n_groups(joint) >= fewest:
            parts.append((places, joint))
        else:
            parts += [([place], groups[place]) for place in places]
    return parts


@dataclass(frozen=True)
class Places:
    """Where the N rows of a language are among the M rows of several; a row that it lacks adds nothing to its sums."""

    rows: np.ndarray  # (N,) from 0 to M - 1
    n_rows: int  # M

    def tally(self, own: np.ndarray) -> np.ndarray:
        """Return the (..., M, K) tally with the (..., N, K) one of the language in its places, and zeros elsewhere."""
        tally = np.zeros((*own.shape[:-2], self.n_rows, own.shape[-1]))
        tally[..., self.rows, :] = own
        return tally

    def groups(self, own: np.ndarray) -> np.ndarray:
        """Return (M,) groups; every row that the language lacks is a group of its own, with a negative number."""
        groups: np.ndarray = -1 - np.arange(self.n_rows)
        groups[self.rows] = own
        return groups


def _n_groups(groups: np.ndarray) -> int:
    """Return the number of different (N,) `groups`, apart from those of rows that a language lacks."""
    return len(np.unique(groups[groups >= 0]))


def shared_places(ids: Sequence[Sequence[str] | None], groups: Sequence[np.ndarray]) -> list[Places] | None:
    """Return where the rows of each language are among all of them, if languages share some rows, but not all, by id.

    MLQA's do: each question is asked in four languages on average. None where ids are not known or occur twice, where
    no two languages share one, where all have the same rows in the same order, and where the rows of a language are in
    so few `groups` that a draw could miss all of them.
    """
    known = [own for own in ids if own is not None and len(set(own)) == len(own)]
    if len(known) < len(ids) or all(own == known[0] for own in known):
        return None
    if min(map(_n_groups, groups)) < _NEVER_MISSED:
        return None
    place_of: dict[str, int] = {}
    rows = [np.array([place_of.setdefault(name, len(place_of)) for name in own]) for own in known]
    if len(place_of) == sum(map(len, known)):
        return None
    return [Places(own, len(place_of)) for own in rows]


def agree(answers: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether two languages have as many right answers, nearly all equal row by row, as translations do."""
    return len(answers) == len(others) and sum(map(eq, answers, others)) >= _ALIKE * len(answers)


def joint_groups(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Merge the (N,) groups of several languages: rows that share a group in any of them share one in the result.

    Two premises may have the same translation. Their rows are then not independent draws in any language.
    """
    if all(np.array_equal(own, groups[0]) for own in groups):
        return groups[0]
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_rows, edges = len(groups[0]), []
    for own in groups:  # tie every row to the first row of its group
        _, first, group_of_row = np.unique(own, return_index=True, return_inverse=True)
        edges.append((np.arange(n_rows), first[group_of_row]))
    ends = np.concatenate([pair[0] for pair in edges]), np.concatenate([pair[1] for pair in edges])
    ties = coo_array((np.ones(len(ends[0])), ends), shape=(n_rows, n_rows))
    numbers: np.ndarray = connected_components(ties, directed=False)[1]
    return numbers
