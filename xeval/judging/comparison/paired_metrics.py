"""The paired bootstrap and test for a metric that is not a share of rows, such as F1: its sums are resampled.

As in `resampling.py`, whole groups of dependent rows are drawn, the same groups for both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xeval.judging.comparison.resampling import (
    N_RESAMPLES,
    SEED,
    Interval,
    drawn_together,
    interval_of,
    shared_places,
)
from xeval.judging.grouped import draws, sums_of_groups
from xeval.kinds.metric import Measure

N_EXCHANGES = 10_000


@dataclass(frozen=True)
class PairedTallies:
    """The tallies of two models' answers to the same N rows of one language: what they add to a metric's sums."""

    measure: Measure
    tallies_a: np.ndarray  # (S_a, N, K), a tally per seed
    tallies_b: np.ndarray  # (S_b, N, K)
    groups: np.ndarray  # (N,) int; rows with the same number depend on each other
    ids: Sequence[str] | None = None  # N names of the rows, which other languages may share


def paired_metric_difference(
    languages: Sequence[PairedTallies], seed: int = SEED, n_resamples: int = N_RESAMPLES
) -> Interval:
    """Return the mean over languages of B's value minus A's, with its bootstrap interval. Values are means over seeds.

    Languages with equally many rows, or with rows in common, are drawn together, as translations of one test set must
    be.
    """
    languages = _side_by_side(languages)
    parts = drawn_together([rows.groups for rows in languages])
    values_a, values_b = _resampled_values(languages, parts, seed, n_resamples)
    difference = float(np.mean([_difference(rows.measure, rows.tallies_a, rows.tallies_b) for rows in languages]))
    return interval_of(difference, (values_b - values_a).mean(axis=0), parts, seed)


def values(measure: Measure, tallies: np.ndarray) -> np.ndarray:
    """Return the (S,) values of (S, N, K) tallies."""
    return measure.value(tallies.sum(axis=1))


def _difference(measure: Measure, tallies_a: np.ndarray, tallies_b: np.ndarray) -> float:
    return float(values(measure, tallies_b).mean() - values(measure, tallies_a).mean())


def resampled_values(
    languages: Sequence[PairedTallies], seed: int = SEED, n_resamples: int = N_RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """Return A's and B's values, (L, B) each, over B draws of the rows of each of L languages."""
    languages = _side_by_side(languages)
    return _resampled_values(languages, drawn_together([rows.groups for rows in languages]), seed, n_resamples)


def _side_by_side(languages: Sequence[PairedTallies]) -> Sequence[PairedTallies]:
    """Return languages that share some of their rows with these rows in the same places."""
    places = shared_places([rows.ids for rows in languages], [rows.groups for rows in languages])
    if places is None:
        return languages
    return [
        replace(
            rows,
            tallies_a=own.tally(rows.tallies_a),
            tallies_b=own.tally(rows.tallies_b),
            groups=own.groups(rows.groups),
        )
        for rows, own in zip(languages, places, strict=True)
    ]


def _resampled_values(
    languages: Sequence[PairedTallies], parts: Sequence[tuple[list[int], np.ndarray]], seed: int, n_resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for places, groups in parts:
        of_part = _resampled([languages[place] for place in places], groups, rng, n_resamples)
        values |= dict(zip(places, of_part, strict=True))
    in_order = [values[place] for place in range(len(languages))]
    return np.stack([of_a for of_a, _ in in_order]), np.stack([of_b for _, of_b in in_order])


def _resampled(
    languages: Sequence[PairedTallies], groups: np.ndarray, rng: np.random.Generator, n_resamples: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each language, the (B,) values of A and of B over the same draws of `groups`."""
    sums = [
        tuple(np.stack([sums_of_groups(tally, groups) for tally in side]) for side in (rows.tallies_a, rows.tallies_b))
        for rows in languages
    ]  # (S, G, K) each
    values: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in languages]
    for chosen in draws(rng, len(np.unique(groups)), n_resamples):
        for own, rows, (of_a, of_b) in zip(values, languages, sums, strict=True):
            own.append((_of_draws(rows.measure, of_a, chosen), _of_draws(rows.measure, of_b, chosen)))
    return [(np.concatenate([a for a, _ in own]), np.concatenate([b for _, b in own])) for own in values]


def _of_draws(measure: Measure, sums: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the (b,) values, means over seeds, of (S, G, K) sums of groups over (b, G) draws of groups.

    Only what the metric is computed from is summed, count by count, since a kind's tally may have several metrics.
    """
    counts = [measure.counted.index(name) for name in measure.metric.counts]
    of_counts = np.ascontiguousarray(sums[..., counts].transpose(0, 2, 1))  # (S, C, G)
    drawn = [np.stack([of_groups[chosen].sum(axis=1) for of_groups in of_seed], axis=-1) for of_seed in of_counts]
    mean: np.ndarray = np.mean([measure.metric.of(of_seed) for of_seed in drawn], axis=0)
    return mean


def exchange_p(rows: PairedTallies, seed: int = SEED) -> float:
    """Return the two-sided p of approximate randomisation.

    The null hypothesis is that A's and B's answers to a group of rows can be exchanged. Noreen 1989, *Computer
    Intensive Methods for Testing Hypotheses*; Yeh 2000, https://aclanthology.org/C00-2137. The tallies of several seeds
    are averaged row by row first. The smallest possible p is 1 / (N_EXCHANGES + 1).
    """
    rng, measure = np.random.default_rng(seed), rows.measure
    a, b = (sums_of_groups(side.mean(axis=0), rows.groups) for side in (rows.tallies_a, rows.tallies_b))  # (G, K)
    observed = abs(float(measure.value(b.sum(axis=0)) - measure.value(a.sum(axis=0))))
    n_as_large = 0
    for _ in range(0, N_EXCHANGES, step := 500):
        flips = rng.integers(0, 2, (step, len(a))).astype(np.float64)  # (500, G)
        moved = flips @ (b - a)  # (500, K): what A gains and B loses
        differences = measure.value(b.sum(axis=0) - moved) - measure.value(a.sum(axis=0) + moved)
        n_as_large += int((np.abs(differences) >= observed - 1e-12).sum())
    return (n_as_large + 1) / (N_EXCHANGES + 1)
