"""Metrics: functions of sums over rows.

A kind of task turns a run's answers into one array, `tally`, with a line of counts for each row. Everything after that
(the score, its interval, comparisons, the gate) needs only sums of these lines and does not know the task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import evaluate


@dataclass(frozen=True)
class Metric:
    """A number in [0, 1] that is computed from sums of counts over rows."""

    name: str  # as in tables: "accuracy", "span_f1"
    counts: tuple[str, ...]  # what is summed over rows: ("correct", "rows"), ("tp", "fp", "fn")
    of: Callable[[np.ndarray], np.ndarray]  # (..., K) sums of these counts → (...) values
    is_share_of_rows: bool = False  # correct rows over all rows, so that binomial intervals and tests apply

    def value(self, sums: np.ndarray, counted: tuple[str, ...]) -> np.ndarray:
        """Return (...) values from (..., C) sums of the counts named `counted`, which include those of this metric."""
        values: np.ndarray = self.of(sums[..., [counted.index(name) for name in self.counts]])
        return values


@dataclass(frozen=True)
class Measure:
    """A metric of a kind of task, and the columns of the kind's tally."""

    metric: Metric
    counted: tuple[str, ...]  # the columns, in order

    def value(self, sums: np.ndarray) -> np.ndarray:
        """Return (...) values from (..., C) sums of a tally's lines."""
        return self.metric.value(sums, self.counted)

    def over(self, tally: np.ndarray) -> float:
        """Return the value over all rows of an (N, C) tally."""
        return float(self.value(tally.sum(axis=0)))

    def right(self, tally: np.ndarray) -> np.ndarray:
        """Return which rows are right, (...) bool, from (..., C) lines of a tally, if the metric is a share of rows."""
        right: np.ndarray = tally[..., self.counted.index(self.metric.counts[0])] > 0
        return right


def share(sums: np.ndarray) -> np.ndarray:
    """Return the first of two sums over the second; 0 where the second is 0."""
    part, whole = sums[..., 0], sums[..., 1]
    shares: np.ndarray = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)
    return shares


def f1(sums: np.ndarray) -> np.ndarray:
    """Return F1, (...) values, from (..., 3) true positives, false positives and false negatives; 0 where all are 0."""
    right, wrong, missed = sums[..., 0], sums[..., 1], sums[..., 2]
    return share(np.stack([2 * right, 2 * right + wrong + missed], axis=-1))


ACCURACY = Metric("accuracy", ("correct", "rows"), share, is_share_of_rows=True)


def correct_of_rows(predictions: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Return the tally for accuracy, (N, 2), from (N,) predictions and right answers."""
    return np.stack([predictions == gold, np.ones(len(gold))], axis=1)


def compute(measure: Measure, tally: np.ndarray) -> dict[str, float]:
    """Return the metric's value and the sums behind it, by name, from an (N, C) `tally`."""
    columns = {name: tally[:, measure.counted.index(name)] for name in measure.metric.counts}
    result: dict[str, float] = as_evaluate(measure.metric).compute(**columns)
    return result


@cache
def as_evaluate(metric: Metric) -> evaluate.Metric:
    """Return `metric` for the `evaluate` library: its inputs are the counts, with a value for each row.

    It is constructed here and never fetched: `evaluate.load` needs the hub even for accuracy, and loading a metric from
    a path runs that path's code.
    """
    import datasets
    import evaluate

    class SumsOverRows(evaluate.Metric):  # type: ignore[misc]  # evaluate comes without types
        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=f"{metric.name} from sums of {', '.join(metric.counts)} over rows.",
                citation="",
                features=datasets.Features({name: datasets.Value("float64") for name in metric.counts}),
            )

        def _compute(self, **columns: Any) -> dict[str, float]:
            sums = np.array([np.sum(columns[name]) for name in metric.counts])
            return {metric.name: float(metric.of(sums)), **dict(zip(metric.counts, sums.tolist(), strict=True))}

        def _build_data_dir(self) -> str:
            return ""  # the library `evaluate` would make an empty folder in the hub's cache, which may be read-only

    return SumsOverRows(keep_in_memory=True)
