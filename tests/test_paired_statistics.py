"""The statistics of comparisons, checked against slow versions, published examples and known truths."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tests.helpers.compare_simulation import describe, rates
from tests.helpers.paired_answers import paired_difference
from xeval.judging.comparison.paired_tests import group_p, holm, mcnemar_p
from xeval.judging.comparison.resampling import (
    PairedRows,
    drawn_together,
    joint_groups,
    paired_mean_difference,
)

RNG = np.random.default_rng(1)
N = 60
GROUPS = np.repeat(np.arange(N // 3), 3)
LABELS = np.arange(N) % 3
RIGHT_A, RIGHT_B = RNG.random(N) < 0.5, RNG.random(N) < 0.75


# ── the bootstrap ──


def slow_interval(a, b, groups, seed, n_resamples):
    """By definition: draw premises with replacement, pool their rows, take both accuracies."""
    rng, names, found = np.random.default_rng(seed), sorted(set(groups)), []
    for drawn in rng.integers(0, len(names), (n_resamples, len(names))):
        rows = [row for place in drawn for row in range(len(groups)) if groups[row] == names[place]]
        found.append(sum(float(b[row]) for row in rows) / len(rows) - sum(float(a[row]) for row in rows) / len(rows))
    return np.quantile(found, [0.025, 0.975])


def test_interval_matches_a_slow_bootstrap_of_premises():
    uneven = np.minimum(GROUPS, 11)  # the last premise has 27 rows
    for groups in (GROUPS, uneven):
        found = paired_difference(RIGHT_A, RIGHT_B, groups, seed=5, n_resamples=60)
        assert (found.low, found.high) == pytest.approx(slow_interval(RIGHT_A, RIGHT_B, groups, 5, 60))
        assert found.difference == pytest.approx(RIGHT_B.mean() - RIGHT_A.mean())
    assert found.n_groups == 12 and (found.seed, found.n_resamples) == (5, 60)


def test_rows_repeated_within_a_group_count_once():
    once = paired_difference(RIGHT_A, RIGHT_B, np.arange(N))
    thrice = paired_difference(np.repeat(RIGHT_A, 3), np.repeat(RIGHT_B, 3), np.repeat(np.arange(N), 3))
    as_rows = paired_difference(np.repeat(RIGHT_A, 3), np.repeat(RIGHT_B, 3), np.arange(3 * N))
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high))
    assert as_rows.high - as_rows.low < 0.7 * (once.high - once.low)


def test_interval_agrees_with_the_textbook_standard_error():
    a, b, groups = RNG.random(6000) < 0.6, RNG.random(6000) < 0.65, np.repeat(np.arange(2000), 3)
    of_premises = (b.astype(float) - a).reshape(2000, 3).mean(axis=1)
    half = 1.96 * of_premises.std(ddof=1) / math.sqrt(2000)
    found = paired_difference(a, b, groups)
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half), abs=0.001)


def test_one_premise_gives_the_widest_interval():
    found = paired_difference(RIGHT_A, RIGHT_B, np.zeros(N))
    assert (found.low, found.high, found.excludes_zero) == (-1.0, 1.0, False)


def test_only_translations_are_drawn_together():
    """Three copies of one language say no more than one of them; three independent ones say more."""
    one = PairedRows(RIGHT_A, RIGHT_B, GROUPS, LABELS)
    alone, copies = paired_mean_difference([one]), paired_mean_difference([one] * 3)
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high))
    shuffled = [PairedRows(RIGHT_A, RIGHT_B, GROUPS, np.roll(LABELS, shift)) for shift in range(3)]
    apart = paired_mean_difference(shuffled)
    assert apart.high - apart.low == pytest.approx((alone.high - alone.low) / math.sqrt(3), rel=0.1)


def test_mean_over_translations_matches_a_slow_bootstrap():
    other = PairedRows(~RIGHT_A, RIGHT_B, GROUPS, LABELS)
    found = paired_mean_difference([PairedRows(RIGHT_A, RIGHT_B, GROUPS, LABELS), other], seed=5, n_resamples=60)
    a = (RIGHT_A.astype(float) + ~RIGHT_A) / 2
    assert (found.low, found.high) == pytest.approx(slow_interval(a, RIGHT_B, GROUPS, 5, 60))


def test_premises_with_the_same_translation_are_joined():
    translated = np.where(GROUPS == 1, 0, GROUPS)  # the second premise reads like the first in this language
    joint = joint_groups([GROUPS, translated])
    together = [{row for row in range(N) if joint[row] == number} for number in dict.fromkeys(joint)]
    assert together == [set(range(6)), *({*range(start, start + 3)} for start in range(6, N, 3))]


# ── the tests ──


def test_mcnemar_matches_a_published_example():
    """Bentur et al. (2009) as Fagerland et al. (2013), doi:10.1186/1471-2288-13-91, work it out: of 21 children one
    changed one way and seven the other; exact conditional p = 0.070."""
    assert mcnemar_p(1, 7) == pytest.approx(0.070, abs=0.0005)
    assert mcnemar_p(7, 1) == mcnemar_p(1, 7) and mcnemar_p(0, 0) == mcnemar_p(4, 4) == 1


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 3), (5, 9), (140, 200)])
def test_premise_test_of_single_rows_is_mcnemars_test(only_a, only_b):
    differences = np.array([-1] * only_a + [1] * only_b + [0] * 20)
    assert group_p(differences, np.arange(len(differences))) == pytest.approx(mcnemar_p(only_a, only_b))


def test_premise_test_counts_every_exchange_of_signs():
    differences, groups = RNG.integers(-3, 4, 30), np.repeat(np.arange(10), 3)
    sums = differences.reshape(10, 3).sum(axis=1)
    totals = [abs(int(np.dot(signs, sums))) for signs in itertools.product((-1, 1), repeat=10)]
    expected = sum(total >= abs(int(sums.sum())) for total in totals) / len(totals)
    assert group_p(differences, groups) == pytest.approx(expected)


def test_premise_test_approaches_clustered_mcnemar():
    """Durkalski et al. 2003, for clusters of one size: (Σ d)² / Σ d² against chi-square with one degree of freedom."""
    differences, groups = RNG.integers(-1, 2, 6000), np.repeat(np.arange(2000), 3)
    sums = differences.reshape(2000, 3).sum(axis=1)
    statistic = sums.sum() ** 2 / (sums**2).sum()
    assert group_p(differences, groups) == pytest.approx(stats.chi2.sf(statistic, 1), abs=0.02)


def test_holm_matches_a_worked_example():
    """Four p values of which the smallest two are significant at 5 %: 0.005 < 0.05/4, 0.01 < 0.05/3, 0.03 > 0.05/2
    (the worked example of Wikipedia's article on the Holm-Bonferroni method)."""
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [p <= 0.05 for p in adjusted] == [True, False, False, True]


def test_holm_matches_the_step_down_procedure():
    for _ in range(50):
        p_values = (RNG.random(8) ** 3).tolist()
        rejected, left = set(), len(p_values)
        for index in sorted(range(8), key=p_values.__getitem__):
            if p_values[index] > 0.05 / left:
                break
            rejected.add(index)
            left -= 1
        assert {index for index, p in enumerate(holm(p_values)) if p <= 0.05} == rejected
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


# ── error rates, with the truth known ──


@pytest.mark.parametrize("n_seeds", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_false_positives_are_as_rare_as_promised(n_seeds):
    n = 300
    shares = rates(0.0, n_seeds, n, seed=11)
    print(describe(0.0, n_seeds, shares))
    slack = 3.09 * math.sqrt(0.05 * 0.95 / n)  # chance alone exceeds it once in a thousand; several are tested
    assert shares["mean"] <= 0.05 + slack and shares["family"] <= 0.05 + slack
    assert 0.05 - slack <= shares["mean"]  # no wider than need be
    assert abs(shares["cell"] - 0.05) <= 0.02


# ── which languages are drawn together ──


def test_translations_may_differ_in_a_few_labels():
    """PAWS-X's annotators gave up to 2.4 % of its pairs another label in one language than in another."""
    one = PairedRows(RIGHT_A, RIGHT_B, GROUPS, LABELS)
    changed = PairedRows(RIGHT_A, RIGHT_B, GROUPS, np.where(np.arange(N) < 2, (LABELS + 1) % 3, LABELS))
    alone, both = paired_mean_difference([one]), paired_mean_difference([one, changed])
    assert (both.low, both.high) == pytest.approx((alone.low, alone.high))


def test_shorter_language_is_drawn_on_its_own():
    """AmericasNLI's test sets have 750 rows, two languages of the ten fewer."""
    shorter, labels = GROUPS[:-3], [LABELS, LABELS[:-3], LABELS]
    parts = drawn_together([GROUPS, shorter, GROUPS], labels)
    assert [places for places, _ in parts] == [[0, 2], [1]]
    assert [len(np.unique(groups)) for _, groups in parts] == [20, 19]


def test_unrelated_groups_are_not_merged():
    """Rows of one size that are no translations: as one set, the groups of all would be a single group."""
    chained = np.arange(N) // 2
    other = np.concatenate([[0], 1 + np.arange(N - 1) // 2])
    assert len(np.unique(joint_groups([chained, other]))) == 1
    assert [places for places, _ in drawn_together([chained, other])] == [[0], [1]]


def test_one_language_without_groups_makes_the_mean_unknown():
    """What another draw would do to a language is unknown if it has one group, however many the others have."""
    one, other = (
        PairedRows(RIGHT_A, RIGHT_B, own, labels) for own, labels in ((GROUPS, LABELS), (LABELS * 0, -LABELS))
    )
    found = paired_mean_difference([one, other], n_resamples=20)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_two_groups_are_resampled():
    found = paired_difference(RIGHT_A, RIGHT_B, np.repeat([0, 1], N // 2), n_resamples=20)
    assert -1.0 < found.low <= found.difference <= found.high < 1.0
