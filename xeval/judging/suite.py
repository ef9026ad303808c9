"""The score of one model on one task of a suite: a mean over languages, with its interval. Pure functions.

The interval is over the draw of test rows, for fixed training runs, as in the intervals of single scores. The jackknife
leaves out rows that are translations of each other together, so the interval includes what they have in common.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xeval.definitions.suite import SuiteTask
from xeval.judging.comparison.resampling import Places, drawn_together, shared_places
from xeval.judging.grouped import sums_of_groups
from xeval.judging.score import wilson_interval
from xeval.kinds.kind import Kind
from xeval.kinds.registry import get_kind
from xeval.results.records import Score
from xeval.results.store import StoredRun
from xeval.support.errors import XevalError

_ROUNDING = 1e-20  # a variance below this is made of rounding errors; one row more or less gives far more


@dataclass(frozen=True)
class TaskScore:
    """The score of one model on one task, as a fraction."""

    value: float
    languages: tuple[str, ...]  # the mean is over these
    lacking: tuple[str, ...]  # languages of the suite without a score
    metrics: tuple[str, ...]  # the mean is over these too
    interval: tuple[float, float] | None  # None if the predictions cannot be read
    problem: str = ""  # why there is no interval


def score_of(runs: Sequence[StoredRun], member: SuiteTask, languages: Sequence[str]) -> TaskScore | None:
    """Return the score of `runs`, the seeds of one configuration, over those of `languages` that all of them have.

    None if there is no such language, or if the runs were not scored by the suite's metrics.
    """
    common = [language for language in languages if all(language in run.record.scores for run in runs)]
    metrics = member.metrics or (runs[0].record.metric,)
    values = [
        [_value(run, run.record.scores[language], metric) for metric in metrics for language in common] for run in runs
    ]
    known = [value for row in values for value in row if value is not None]
    if not common or len(known) < sum(map(len, values)):
        return None
    lacking = tuple(language for language in languages if language not in common)
    value = math.fsum(known) / len(known)
    try:
        interval = wilson_interval(value, _effective_rows(value, runs, common, metrics))
    except XevalError as error:
        return TaskScore(value, tuple(common), lacking, metrics, None, str(error))
    return TaskScore(value, tuple(common), lacking, metrics, interval)


def _value(run: StoredRun, score: Score, metric: str) -> float | None:
    return score.value if metric == run.record.metric else score.more.get(metric)


def _effective_rows(value: float, runs: Sequence[StoredRun], languages: Sequence[str], metrics: Sequence[str]) -> float:
    """Return how many independent rows of one language would make the mean as certain as it is.

    The number follows from the mean's jackknife variance, or from the number of groups if the variance is 0 or the
    score is 0 or 1. Raises XevalError if predictions or the kind of task cannot be loaded.
    """
    kind = get_kind(runs[0].record.kind)
    rows = [_Rows.of(runs, language, kind, metrics) for language in languages]
    if places := shared_places([own.ids for own in rows], [own.groups for own in rows]):
        rows = [own.at(of_language) for own, of_language in zip(rows, places, strict=True)]
    together = drawn_together([own.groups for own in rows])
    parts = [([rows[place] for place in places], joint) for places, joint in together]
    variance = sum(_variance(part, len(languages)) for part in parts)
    if variance > _ROUNDING and 0 < value < 1:
        return value * (1 - value) / variance
    return 1 / sum((len(of_part) / len(languages)) ** 2 / len(np.unique(joint)) for of_part, joint in parts)


@dataclass(frozen=True)
class _Rows:
    """The rows of one language, with the tally of each seed's answers."""

    tallies: list[np.ndarray]  # (N, K) for each seed
    groups: np.ndarray  # (N,)
    kind: type[Kind]
    metrics: Sequence[str]
    ids: Sequence[str] | None = None

    @classmethod
    def of(cls, runs: Sequence[StoredRun], language: str, kind: type[Kind], metrics: Sequence[str]) -> "_Rows":
        from xeval.results.predictions import groups_of, ids_of, tally_of  # pyarrow

        tables = [run.predictions(language) for run in runs]
        groups = groups_of(tables[0])
        own = groups if groups is not None else np.arange(len(tables[0]))
        return cls([tally_of(table) for table in tables], own, kind, metrics, ids_of(tables[0]))

    def at(self, places: Places) -> "_Rows":
        """Return the same rows in these places among those of all languages."""
        return replace(self, tallies=list(map(places.tally, self.tallies)), groups=places.groups(self.groups))

    def without_each(self, groups: np.ndarray) -> np.ndarray:
        """Return (G,) values with each of the (N,) `groups` left out in turn, as means over seeds and metrics."""
        values = []
        for tally in self.tallies:
            sums = sums_of_groups(tally, groups)
            rest = sums.sum(axis=0) - sums  # (G, K)
            values += [self.kind.measure(metric).value(rest) for metric in self.metrics]
        mean: np.ndarray = np.mean(values, axis=0)
        return mean


def _variance(part: tuple[list[_Rows], np.ndarray], n_languages: int) -> float:
    """Return what `part` adds to the variance of a mean over `n_languages`, by the jackknife over groups.

    Miller 1974, Biometrika 61(1). A single group says nothing about others, so the variance is then 1, which rules out
    hardly anything.
    """
    rows, groups = part
    without = np.sum([own.without_each(groups) for own in rows], axis=0) / n_languages  # (G,)
    n_groups = len(without)
    if n_groups < 2:
        return 1.0
    return float((n_groups - 1) / n_groups * np.sum((without - without.mean()) ** 2))
