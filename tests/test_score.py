"""Scores checked against hand counts, intervals against a slow bootstrap and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tests.helpers.checkpoints import KIND
from xeval.judging.score import (
    Judged,
    clustered_wilson_interval,
    design_effect,
    interval,
    judge,
    score_of,
)
from xeval.kinds.metric import Measure, Metric, compute
from xeval.kinds.rows import Rows
from xeval.kinds.tokenization import Tokenization
from xeval.results.records import Score

SHA, INVOCATION = "0" * 64, "1" * 32


TOKENIZATION = Tokenization(truncated_share=0.25, unknown_piece_share=0.125, pieces_per_word=1.5, pieces_per_row=20.0)


def judged(logits: np.ndarray, labels: list[int]) -> Judged:
    """Independent rows, judged by their kind of task."""
    texts = {"premise": ["a"] * len(labels), "hypothesis": ["b"] * len(labels)}
    return judge(KIND, logits, None, Rows("en", "test", texts, np.array(labels), np.arange(len(labels))))


def scored(logits: np.ndarray, labels: list[int]) -> Score:
    return score_of(KIND, "accuracy", judged(logits, labels), TOKENIZATION, SHA, INVOCATION)


def logits_that_say(predictions: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[predictions] * 2 - 1


def test_accuracy_matches_a_hand_count():
    logits = np.array([[3, 1, 2], [0, 5, 1], [-3, -2, -1], [9, 0, 0], [0, 1, 2]], dtype=np.float32)
    score = scored(logits, [0, 1, 1, 2, 2])
    assert (score.totals, score.n_rows, score.value) == ({"correct": 3, "rows": 5}, 5, 0.6)
    assert (score.n_groups, score.invocation, score.predictions_sha256) == (5, INVOCATION, SHA)
    assert (score.tokenization, score.more, score.n_most_predicted) == (TOKENIZATION, {}, 2)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_accuracy_is_the_share_of_correct_rows(rows):
    predictions, labels = map(list, zip(*rows, strict=True))
    score = scored(logits_that_say(predictions), labels)
    assert score.totals["correct"] == sum(prediction == label for prediction, label in rows)
    assert score.value == score.totals["correct"] / len(rows)
    assert score.value == KIND.measure("accuracy").over(judged(logits_that_say(predictions), labels).tally)
    assert score.ci95[0] <= score.value <= score.ci95[1]


# ── metrics other than shares of rows ──

F1_METRIC = Metric(
    "f1", ("tp", "fp", "fn"), lambda sums: 2 * sums[..., 0] / (2 * sums[..., 0] + sums[..., 1] + sums[..., 2])
)
F1 = Measure(F1_METRIC, F1_METRIC.counts)


def made_up_tally(n_groups: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three counts per row, for rows in groups of one to three that are good or bad as a whole."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), rng.integers(1, 4, n_groups))
    rate = rng.choice([0.5, 4.0], n_groups)[groups]
    return np.stack([rng.poisson(rate), rng.poisson(1.0, len(groups)), rng.poisson(0.8, len(groups))], axis=1), groups


def slow_f1(tally: np.ndarray) -> float:
    true, false, missed = (sum(int(row[place]) for row in tally) for place in range(3))
    precision, recall = true / (true + false), true / (true + missed)
    return 2 * precision * recall / (precision + recall)


def test_a_metric_is_a_function_of_sums_over_rows():
    tally, _ = made_up_tally(40, 0)
    assert F1.value(tally.sum(axis=0)) == pytest.approx(slow_f1(tally))
    more = np.concatenate(
        [np.full((len(tally), 1), 7), tally[:, ::-1]], axis=1
    )  # with another count, and in another order
    assert F1_METRIC.value(more.sum(axis=0), ("other", "fn", "fp", "tp")) == pytest.approx(slow_f1(tally))
    assert compute(F1, tally) == {
        "f1": pytest.approx(slow_f1(tally)),
        **dict(zip(F1_METRIC.counts, tally.sum(axis=0), strict=True)),
    }


def test_f1_interval_matches_a_slow_group_bootstrap():
    tally, groups = made_up_tally(150, 1)
    rng, rows_of = np.random.default_rng(2), [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = [
        slow_f1(tally[np.concatenate([rows_of[i] for i in rng.integers(len(rows_of), size=len(rows_of))])])
        for _ in range(2000)
    ]
    low, high = interval(F1, tally, groups)
    # A quantile of 2,000 draws varies by a tenth of a standard error.
    expected, wavers = np.quantile(values, [0.025, 0.975]), np.std(values) / 5
    assert (low, high) == (pytest.approx(expected[0], abs=wavers), pytest.approx(expected[1], abs=wavers))
    assert (low, high) == interval(F1, tally, groups)
    assert low <= slow_f1(tally) <= high


def test_interval_of_one_group_is_0_to_1():
    tally, groups = made_up_tally(1, 0)
    assert interval(F1, tally, groups) == (0.0, 1.0)


# ── intervals ──


@pytest.mark.parametrize(("n_correct", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (1, 30), (17, 40), (3340, 5010)])
def test_interval_of_independent_rows_is_wilsons(n_correct, n):
    correct = np.arange(n) < n_correct
    expected = binomtest(n_correct, n).proportion_ci(method="wilson")
    # The variance between premises is estimated with n - 1, which widens the interval by about 1/(2n) of its width.
    tolerance = (expected.high - expected.low) / n if 0 < n_correct < n else 1e-12
    assert clustered_wilson_interval(correct, np.arange(n)) == (
        pytest.approx(expected.low, abs=tolerance),
        pytest.approx(expected.high, abs=tolerance),
    )


def clustered_rows(n_premises: int, seed: int, shares: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Three rows per premise; a premise is easy or hard as a whole, so its rows go right or wrong together."""
    rng = np.random.default_rng(seed)
    share = rng.choice(shares, size=n_premises)
    groups = np.repeat(np.arange(n_premises), 3)
    return rng.random(3 * n_premises) < share[groups], groups


def bootstrap_means(correct: np.ndarray, groups: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Means over premises drawn with replacement, the slow way."""
    rng, rows_of = (
        np.random.default_rng(seed),
        [np.flatnonzero(groups == group) for group in np.unique(groups)],
    )
    means = []
    for _ in range(n):
        drawn = np.concatenate([rows_of[i] for i in rng.integers(len(rows_of), size=len(rows_of))])
        means.append(correct[drawn].mean())
    return np.array(means)


@pytest.mark.parametrize(
    ("shares", "least", "most"), [((0.05, 0.95), 1.8, 3.0), ((0.3, 0.9), 1.1, 2.2), ((0.7,), 0.8, 1.25)]
)
def test_design_effect_matches_a_bootstrap_variance(shares, least, most):
    correct, groups = clustered_rows(400, 1, shares)
    binomial = correct.mean() * (1 - correct.mean()) / len(correct)
    # The variance of 3,000 draws is known to within about 2.6 %; four times that is allowed.
    slow = bootstrap_means(correct, groups, 3000, seed=2).var() / binomial
    assert design_effect(correct, groups) == pytest.approx(slow, rel=0.105)
    assert least < design_effect(correct, groups) < most


def test_interval_matches_a_slow_premise_bootstrap():
    correct, groups = clustered_rows(400, 3, (0.2, 0.95))
    low, high = clustered_wilson_interval(correct, groups)
    slow_low, slow_high = np.quantile(bootstrap_means(correct, groups, 3000, seed=4), [0.025, 0.975])
    # A quantile of 3,000 draws varies by a tenth of a standard error; half a point allows for that and Wilson's shape.
    assert (low, high) == (pytest.approx(slow_low, abs=0.005), pytest.approx(slow_high, abs=0.005))
    alone = clustered_wilson_interval(correct, np.arange(len(correct)))
    assert high - low > 1.2 * (alone[1] - alone[0])


def test_interval_coverage_is_95_percent():
    """Over 400 samples of 100 premises with a true accuracy of 0.575, give or take 3.3 points (3 sigma)."""
    held = sum(
        low <= 0.575 <= high
        for seed in range(400)
        for low, high in [clustered_wilson_interval(*clustered_rows(100, seed, (0.2, 0.95)))]
    )
    assert 0.917 <= held / 400 <= 0.983


def test_row_order_and_premise_names_do_not_matter():
    correct, groups = clustered_rows(50, 5, (0.2, 0.9))
    order = np.random.default_rng(6).permutation(len(correct))
    renamed = (groups * 7919 + 13) % 100_003
    assert clustered_wilson_interval(correct[order], renamed[order]) == pytest.approx(
        clustered_wilson_interval(correct, groups)
    )


def test_negative_correlation_does_not_narrow_interval():
    """A model that always predicts one label gets exactly one of each premise's three rows right."""
    correct, groups = np.tile([True, False, False], 100), np.repeat(np.arange(100), 3)
    assert design_effect(correct, groups) == pytest.approx(0)
    expected = binomtest(100, 300).proportion_ci(method="wilson")
    assert clustered_wilson_interval(correct, groups) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    "groups", [np.repeat(np.arange(10), 3), np.zeros(30, dtype=int)], ids=["premises", "one premise"]
)
def test_interval_at_0_or_1_extends_to_one_side(groups):
    low, high = clustered_wilson_interval(np.zeros(30, dtype=bool), groups)
    assert low == 0 and 0 < high < 0.2
    low, high = clustered_wilson_interval(np.ones(30, dtype=bool), groups)
    assert high == 1 and 0.8 < low < 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=60))
def test_interval_lies_in_0_to_1_around_the_accuracy(rows):
    correct, groups = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    low, high = clustered_wilson_interval(correct, groups)
    assert 0 <= low <= correct.mean() <= high <= 1
    assert low < high


@pytest.mark.parametrize("times", [1, 2, 5])
def test_equal_rows_of_a_group_are_worth_one(times):
    once = np.arange(12) % 3 == 0
    effect = design_effect(np.repeat(once, times), np.repeat(np.arange(12), times))
    assert effect == pytest.approx((12 * times - 1) / (12 - 1))
