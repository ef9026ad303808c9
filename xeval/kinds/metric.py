"""Metrics: functions of sums over rows.

A kind of task turns a run's answers into one array, `tally`, with a line of counts for each row. Whatever follows (the
score, its interval, comparisons, the gate) needs only sums of its lines and does not know what the task was.
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
    """A number in [0, 1] that is made of sums of counts over rows."""

    name: str  # as in tables: "accuracy", "span_f1"
    counts: tuple[str, ...]  # what is summed over rows: ("correct", "rows"), ("tp", "fp", "fn")
    of: Callable[[np.ndarray], np.ndarray]  # (..., K) sums of these counts → (...) values
    is_share_of_rows: bool = False  # correct rows over rows: then binomial intervals and tests apply

    def value(self, sums: np.ndarray, counted: tuple[str, ...]) -> np.ndarray:
        """(...) values from (..., C) sums of the counts named `counted`, which hold those of this metric."""
        values: np.ndarray = self.of(sums[..., [counted.index(name) for name in self.counts]])
        return values


@dataclass(frozen=True)
class Measure:
    """A metric of a kind of task, and the columns of the kind's tally that it is made from."""

    metric: Metric
    counted: tuple[str, ...]  # the columns, in order

    def value(self, sums: np.ndarray) -> np.ndarray:
        """(...) values from (..., C) sums of a tally's lines."""
        return self.metric.value(sums, self.counted)

    def over(self, tally: np.ndarray) -> float:
        """The value over all rows of an (N, C) tally."""
        return float(self.value(tally.sum(axis=0)))

    def right(self, tally: np.ndarray) -> np.ndarray:
        """(...) bool from (..., C) lines of a tally: which rows are right, for a metric that is their share."""
        right: np.ndarray = tally[..., self.counted.index(self.metric.counts[0])] > 0
        return right


def share(sums: np.ndarray) -> np.ndarray:
    """The first of two sums over the second; 0 where the second is 0."""
    part, whole = sums[..., 0], sums[..., 1]
    shares: np.ndarray = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)
    return shares


def f1(sums: np.ndarray) -> np.ndarray:
    """(...) values from (..., 3) true positives, false positives and false negatives; 0 where nothing was found."""
    right, wrong, missed = sums[..., 0], sums[..., 1], sums[..., 2]
    return share(np.stack([2 * right, 2 * right + wrong + missed], axis=-1))


ACCURACY = Metric("accuracy", ("correct", "rows"), share, is_share_of_rows=True)


def correct_of_rows(predictions: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """(N, 2): the tally that accuracy is made of, from (N,) predictions and right answers."""
    return np.stack([predictions == gold, np.ones(len(gold))], axis=1)


def compute(measure: Measure, tally: np.ndarray) -> dict[str, float]:
    """The metric's value and the sums that it was made of, by name, from an (N, C) `tally`."""
    columns = {name: tally[:, measure.counted.index(name)] for name in measure.metric.counts}
    result: dict[str, float] = as_evaluate(measure.metric).compute(**columns)
    return result


@cache
def as_evaluate(metric: Metric) -> evaluate.Metric:
    """`metric` for the `evaluate` library: its inputs are the counts, a value for each row.

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

    return SumsOverRows(keep_in_memory=True)
