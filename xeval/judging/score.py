"""Outputs → answers → scores with intervals, using the metric of each kind of task. No torch here.

The metric's library is loaded only when something is scored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from xeval.judging.calibration import as_recorded, reliability
from xeval.judging.grouped import draws, sums_of_groups
from xeval.kinds.encoded import Encoded
from xeval.kinds.kind import Kind
from xeval.kinds.metric import Measure, compute
from xeval.kinds.rows import Rows
from xeval.kinds.tokenization import Tokenization
from xeval.results.records import Float32Check, Majority, Score

if TYPE_CHECKING:
    import pyarrow as pa

SEED = 20181101  # for the bootstrap
N_RESAMPLES = 10_000
LEVEL = 0.95  # of every interval
MOST_LABELS = 20  # a record holds no confusion matrix for more labels


@dataclass(frozen=True)
class Judged:
    """A run's answers on the rows of one language, and what each answer adds to a metric's sums."""

    answers: pa.Table  # one line for each of N rows
    tally: np.ndarray  # (N, K) float64
    groups: np.ndarray  # (N,) int64; rows with the same number depend on each other
    places: np.ndarray | None = None  # (N,) int64, positions of the rows in the split; None: from the first on
    majority: tuple[str, int] | None = None  # the most frequent label and its number of rows, if rows have labels


def judge(kind: Kind, outputs: np.ndarray, encoded: Encoded, rows: Rows) -> Judged:
    """Turn `outputs` on `rows` into answers and their tally. Raises TypeError unless there is one answer per row."""
    return judged_of(kind, kind.answers(outputs, encoded, rows), rows)


def judged_of(kind: Kind, answers: pa.Table, rows: Rows) -> Judged:
    """Tally `answers` on `rows`. Raises TypeError unless there is one answer per row."""
    tally = np.asarray(kind.tally(answers, rows), dtype=np.float64)
    if len(answers) != len(rows) or "prediction" not in answers.column_names:
        raise TypeError(f"{kind.name}: answers wants {len(rows)} rows with a column 'prediction', got {answers.shape}")
    if tally.shape != (len(rows), len(kind.counts)) or not np.isfinite(tally).all():
        raise TypeError(f"{kind.name}: tally wants ({len(rows)}, {len(kind.counts)}) numbers, got {tally.shape}")
    return Judged(answers, tally, rows.groups, rows.places, kind.majority(rows))


def score_of(
    kind: Kind,
    metric: str,
    judged: Judged,
    tokenization: Tokenization | None,
    predictions_sha256: str,
    invocation: str,
) -> Score:
    """Return the score of the answers in one language. `invocation` is the one that made them."""
    result = compute(kind.measure(metric), judged.tally)
    return Score(
        value=result[metric],
        ci95=interval(kind.measure(metric), judged.tally, judged.groups),
        n_rows=len(judged.tally),
        n_groups=len(np.unique(judged.groups)),
        totals={name: _whole(total) for name, total in zip(kind.counts, judged.tally.sum(axis=0), strict=True)},
        more={
            other.name: kind.measure(other.name).over(judged.tally) for other in kind.metrics if other.name != metric
        },
        tokenization=tokenization,
        predictions_sha256=predictions_sha256,
        invocation=invocation,
        n_most_predicted=kind.most_predicted(judged.answers),
        majority=Majority(label=judged.majority[0], n_rows=judged.majority[1]) if judged.majority else None,
        **_of_logits(judged),
    )


def _of_logits(judged: Judged) -> dict[str, Any]:
    """Return the confusion matrix and the calibration, which reports of many runs show.

    Empty if `judged` covers only part of the rows, without logits, or with more than MOST_LABELS labels.
    """
    from xeval.results.predictions import column, has_logits, label_counts, n_logits

    answers = judged.answers
    if judged.places is not None or not has_logits(answers) or n_logits(answers) > MOST_LABELS:
        return {}
    bins = reliability(column(answers, "logits"), column(answers, "label"))
    return {"confusion": label_counts(answers).tolist(), "calibration": as_recorded(bins)}


def _whole(number: float) -> int | float:
    return int(number) if float(number).is_integer() else float(number)


def compare_with_float32(
    outputs: np.ndarray, in_float32: np.ndarray, answers: pa.Table, answers_in_float32: pa.Table
) -> Float32Check:
    """Compare `outputs` and `answers` with those of the same rows in float32."""
    both = zip(answers["prediction"].to_pylist(), answers_in_float32["prediction"].to_pylist(), strict=True)
    return Float32Check(
        n_rows=len(answers),
        n_flips=sum(some != other for some, other in both),
        max_logit_difference=float(np.abs(outputs - in_float32).max()),
    )


def interval(measure: Measure, tally: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a metric over an (N, K) `tally` whose rows were drawn in (N,) `groups`.

    It is Wilson's if the metric is a share of rows. Otherwise its ends are percentiles of a bootstrap over groups.
    """
    if measure.metric.is_share_of_rows:
        return clustered_wilson_interval(measure.right(tally), groups)
    sums = sums_of_groups(tally, groups)
    if len(sums) < 2:
        return 0.0, 1.0  # a single group says nothing about other groups
    rng, value = np.random.default_rng(SEED), measure.over(tally)
    values = np.concatenate([measure.value(sums[chosen].sum(axis=1)) for chosen in draws(rng, len(sums), N_RESAMPLES)])
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return min(low, value), max(high, value)


def clustered_wilson_interval(correct: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Return Wilson's 95 % score interval for the mean of (N,) booleans drawn in groups.

    The number of rows is divided by the design effect: the variance of the mean with groups as the sampling unit,
    divided by the binomial variance (Korn and Graubard 1998, Survey Methodology 24(2); Miller 2024, arXiv:2411.00640).
    A design effect below 1 is treated as 1.
    """
    n, accuracy = len(correct), float(np.mean(correct))
    return wilson_interval(accuracy, n / max(1.0, design_effect(correct, groups)))


def wilson_interval(accuracy: float, n_effective: float) -> tuple[float, float]:
    """Return Wilson's 95 % score interval for a share of rows that are worth `n_effective` independent rows."""
    z = float(norm.ppf((1 + LEVEL) / 2))
    centre = (accuracy + z * z / (2 * n_effective)) / (1 + z * z / n_effective)
    half = (
        z
        / (1 + z * z / n_effective)
        * math.sqrt(accuracy * (1 - accuracy) / n_effective + z * z / (4 * n_effective**2))
    )
    return max(0.0, min(accuracy, centre - half)), min(1.0, max(accuracy, centre + half))  # rounding errors at 0 and 1


def design_effect(correct: np.ndarray, groups: np.ndarray) -> float:
    """Divide the variance of the mean of (N,) booleans with (N,) groups resampled by that with rows resampled.

    Returns 1 if there is only one group, or if all booleans are the same.
    """
    n, accuracy = len(correct), float(np.mean(correct))
    _, group_of_row = np.unique(groups, return_inverse=True)
    n_groups = int(group_of_row.max()) + 1
    if n_groups < 2 or accuracy in (0.0, 1.0):
        return 1.0
    deviations = np.bincount(group_of_row, weights=correct.astype(np.float64) - accuracy)
    clustered = n_groups / (n_groups - 1) * float(np.sum(deviations**2)) / n**2
    return clustered / (accuracy * (1 - accuracy) / (n - 1))
