"""Two models compared by a metric that is not a share of rows: intervals and p values against slow versions."""

import itertools

import numpy as np
import pytest

from tests.helpers.paired_answers import paired_difference
from xeval.judging.comparison.compare import compare
from xeval.judging.comparison.paired_metrics import PairedTallies, exchange_p, paired_metric_difference
from xeval.judging.comparison.paired_runs import PairedLanguage, PairedRuns
from xeval.judging.comparison.paired_tests import group_p
from xeval.kinds.metric import ACCURACY, Measure, Metric

F1 = Metric("f1", ("tp", "fp", "fn"), lambda sums: 2 * sums[..., 0] / (sums @ np.array([2, 1, 1])))
MEASURE = Measure(F1, F1.counts)


def tallies(seed: int, n_groups: int = 60, better: float = 0.0, n_seeds: int = 1) -> np.ndarray:
    """(S, N, 3) counts, with two rows to a group; a group is hard or easy for every model."""
    hard = np.repeat(np.random.default_rng(0).random(n_groups), 2)
    rng = np.random.default_rng(seed)
    rates = np.stack([3 + better - 2 * hard, 0.5 + hard, 0.5 + hard], axis=1)
    return rng.poisson(rates, (n_seeds, 2 * n_groups, 3)).astype(np.float64)


def paired(a: np.ndarray, b: np.ndarray) -> PairedTallies:
    return PairedTallies(MEASURE, a, b, np.repeat(np.arange(a.shape[1] // 2), 2))


def slow_value(tally: np.ndarray) -> float:
    true, false, missed = (sum(row[place] for row in tally) for place in range(3))
    return 2 * true / (2 * true + false + missed)


def slow_difference(a: np.ndarray, b: np.ndarray, rows: np.ndarray) -> float:
    return np.mean([slow_value(tally[rows]) for tally in b]) - np.mean([slow_value(tally[rows]) for tally in a])


@pytest.mark.parametrize("n_seeds", [(1, 1), (2, 3)])
def test_difference_and_interval_match_a_slow_bootstrap(n_seeds):
    a, b = tallies(1, n_seeds=n_seeds[0]), tallies(2, better=0.5, n_seeds=n_seeds[1])
    found = paired_metric_difference([paired(a, b)], seed=3, n_resamples=4000)
    assert found.difference == pytest.approx(slow_difference(a, b, np.arange(120)))
    rng, slow = np.random.default_rng(4), []
    for _ in range(1500):
        groups = rng.integers(60, size=60)
        slow.append(slow_difference(a, b, np.stack([2 * groups, 2 * groups + 1], axis=1).ravel()))
    wavers = np.std(slow) / 5  # a tenth of a standard error for 1,500 draws, and twice that to be safe
    low, high = np.quantile(slow, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=wavers), pytest.approx(high, abs=wavers))
    assert (found.n_groups, found.seed, found.n_resamples) == (60, 3, 4000)


def test_share_of_rows_matches_the_usual_bootstrap():
    rng = np.random.default_rng(5)
    right_a, right_b, groups = rng.random(90) < 0.6, rng.random(90) < 0.7, np.repeat(np.arange(30), 3)
    measure = Measure(ACCURACY, ACCURACY.counts)
    a, b = (np.stack([right, np.ones(90)], axis=1)[None] for right in (right_a, right_b))
    found = paired_metric_difference([PairedTallies(measure, a, b, groups)], seed=6, n_resamples=500)
    expected = paired_difference(right_a, right_b, groups, seed=6, n_resamples=500)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_translations_are_drawn_together():
    """The same answers in two languages tell no more than in one."""
    one = paired(tallies(1), tallies(2, better=0.5))
    alone, twice = (paired_metric_difference([one] * n, seed=7, n_resamples=500) for n in (1, 2))
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high))
    shorter = PairedTallies(MEASURE, one.tallies_a[:, :100], one.tallies_b[:, :100], one.groups[:100])
    apart = paired_metric_difference([one, shorter], seed=7, n_resamples=500)
    assert apart.high - apart.low < 0.9 * (alone.high - alone.low), "languages of other sizes are drawn on their own"


def test_p_value_matches_all_exchanges_of_groups():
    a, b = tallies(1, n_groups=10), tallies(2, n_groups=10, better=1.0)
    observed, n_as_large = abs(slow_difference(a, b, np.arange(20))), 0
    for swaps in itertools.product([False, True], repeat=10):
        swapped = np.repeat(swaps, 2)[:, None]
        one, other = np.where(swapped, b[0], a[0]), np.where(swapped, a[0], b[0])
        n_as_large += abs(slow_value(other) - slow_value(one)) >= observed - 1e-12
    assert exchange_p(paired(a, b)) == pytest.approx(n_as_large / 2**10, abs=0.02)


def test_p_value_of_a_share_of_rows_is_near_the_exact_one():
    rng = np.random.default_rng(8)
    right_a, right_b, groups = rng.random(60) < 0.6, rng.random(60) < 0.75, np.repeat(np.arange(20), 3)
    a, b = (np.stack([right, np.ones(60)], axis=1)[None] for right in (right_a, right_b))
    found = exchange_p(PairedTallies(Measure(ACCURACY, ACCURACY.counts), a, b, groups))
    assert found == pytest.approx(group_p(right_b.astype(int) - right_a, groups), abs=0.02)


def test_models_that_answer_alike_do_not_differ():
    found = paired_metric_difference([paired(tallies(1), tallies(1))], n_resamples=50)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert exchange_p(paired(tallies(1), tallies(1))) == 1.0


def test_one_group_gives_the_widest_interval():
    found = paired_metric_difference([paired(tallies(1, n_groups=1), tallies(2, n_groups=1))], n_resamples=50)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_p_value_does_not_depend_on_how_often_a_seed_is_there():
    """Where one side has more seeds, its counts weigh no more than the other's in an exchange."""
    a, b = tallies(1, n_groups=10), tallies(2, n_groups=10, better=0.5)
    assert exchange_p(paired(np.concatenate([a, a, a]), b)) == exchange_p(paired(a, b))


def test_comparison_by_f1_exchanges_groups():
    a, b = tallies(1), tallies(2, better=1.5)
    rows = paired(a, b)
    none = np.zeros(len(rows.groups), np.int32)
    language = PairedLanguage("de", "0" * 64, MEASURE, rows.groups, a, b, none, None, None, has_groups=True)
    runs = PairedRuns("t", "T", "A", "B", [1], [2], [language], [], metric="f1")
    [found] = compare(runs, seed=3, n_resamples=50).languages
    assert found.group_p == exchange_p(rows, seed=3) < 0.05
    assert (found.only_a_right, found.only_b_right, found.mcnemar_p) == (None, None, None)
