"""The gate's arithmetic against slow computations by definition, and its error rates when the truth is known."""

import math
import statistics

import numpy as np
import pytest
from scipy import optimize, special, stats

from tests.helpers.gate_simulation import WORLDS, Drop, of_rows, of_world
from xeval.judging.gate import drops
from xeval.judging.gate.check import ALPHA_LANGUAGES, ALPHA_MEANS, ALPHA_THROUGHPUT

# ── the arithmetic ──


def test_mean_uses_students_test_on_seed_means():
    rng = np.random.default_rng(1)
    blessed, now = rng.normal(70, 1, (4, 6)), rng.normal(69, 1, (4, 6))
    change = drops.of_mean(blessed, now)
    found = stats.ttest_ind(now.mean(axis=1), blessed.mean(axis=1), equal_var=True, alternative="less")
    assert change.p_of_drop() == pytest.approx(found.pvalue)
    assert change.p_of_rise() == pytest.approx(1 - found.pvalue)
    assert stats.t.sf(change.least(0.02) / change.error, 6) == pytest.approx(0.02)


def test_single_language_uses_students_test():
    rng = np.random.default_rng(2)
    blessed, now = rng.normal(70, 1, (3, 1)), rng.normal(69, 1, (3, 1))
    [change] = drops.of_languages(blessed, now)
    found = stats.ttest_ind(now[:, 0], blessed[:, 0], equal_var=True, alternative="less")
    assert change.df == pytest.approx(4) and change.p_of_drop() == pytest.approx(found.pvalue)


def test_languages_share_a_split_plot_variance():
    """Mean squares of the two-way layout within each side, seeds by languages, in loops; the spreads are even."""
    rng = np.random.default_rng(4)
    n_seeds, n_languages = 3, 5
    blessed, now = rng.normal(70, 1, (n_seeds, n_languages)), rng.normal(69, 1, (n_seeds, n_languages))
    between = within = 0.0
    for side in (blessed, now):
        grand = side.mean()
        for s in range(n_seeds):
            between += n_languages * (side[s].mean() - grand) ** 2
            for k in range(n_languages):
                within += (side[s, k] - side[s].mean() - side[:, k].mean() + grand) ** 2
    df_between, df_within = 2 * (n_seeds - 1), 2 * (n_seeds - 1) * (n_languages - 1)
    between, within = between / df_between, within / df_within
    shared = (between + (n_languages - 1) * within) / n_languages
    df = (between + (n_languages - 1) * within) ** 2 / (
        between**2 / df_between + ((n_languages - 1) * within) ** 2 / df_within
    )
    for k, change in enumerate(drops.of_languages(blessed, now)):
        own = (statistics.variance(blessed[:, k]) + statistics.variance(now[:, k])) / 2
        assert change.df == pytest.approx(df)
        assert change.error == pytest.approx(math.sqrt(2 * max(own, shared) / n_seeds))
        assert change.difference == pytest.approx(now[:, k].mean() - blessed[:, k].mean())


def test_perfectly_correlated_languages_count_as_one():
    moves = np.array([[-1.0], [0.2], [0.8]])
    blessed, now = np.array([[80.0, 70, 60]]) + moves, np.array([[80.0, 70, 60]]) + moves[::-1]
    assert {round(change.df, 9) for change in drops.of_languages(blessed, now)} == {4}


def test_zero_spread_gives_p_of_0_or_1():
    same = np.full((2, 3), 70.0)
    assert [change.p_of_drop() for change in drops.of_languages(same, same - 1)] == [0, 0, 0]
    assert drops.of_mean(same, same).p_of_drop() == 1


def test_the_levels_add_up_to_five_percent():
    assert sum((ALPHA_MEANS, ALPHA_LANGUAGES, ALPHA_THROUGHPUT)) == pytest.approx(0.05)


# ── error rates, with the truth known ──

N_EXPERIMENTS = 150
SLACK = 2.33 * math.sqrt(0.05 * 0.95 / N_EXPERIMENTS)  # chance alone exceeds this once in a hundred


@pytest.mark.parametrize(
    ("world", "n_seeds"),
    [
        *[("small encoder", n_seeds) for n_seeds in (2, 3, 5)],
        ("small encoder, languages independent", 2),
        ("small encoder, languages nearly alike", 2),
        ("base encoder", 3),
    ],
)
def test_gate_fails_in_at_most_5_percent_without_a_drop(world, n_seeds):
    found = of_world(WORLDS[world], n_seeds, Drop(), N_EXPERIMENTS, seed=11)
    print(f"{world}, {n_seeds} seeds: {found}")
    assert found.failed <= 0.05 + SLACK


@pytest.mark.parametrize(
    ("world", "drop", "n_seeds", "least"),
    [
        ("small encoder", Drop(5.0), 3, 0.8),
        ("small encoder", Drop(10.0, ("th",)), 3, 0.7),
        ("base encoder", Drop(3.0), 3, 0.9),
        ("base encoder", Drop(5.0, ("th",)), 3, 0.8),
        ("base encoder", Drop(speed=0.5), 5, 0.8),
    ],
)
def test_a_true_drop_is_found(world, drop, n_seeds, least):
    found = of_world(WORLDS[world], n_seeds, drop, N_EXPERIMENTS, seed=11)
    print(f"{world}, {drop}, {n_seeds} seeds: {found}")
    assert found.failed >= least


@pytest.mark.slow
@pytest.mark.parametrize(("points", "most", "least"), [(0.0, 0.05 + SLACK, 0.0), (3.0, 1.0, 0.9)])
def test_gate_holds_its_rates_on_simulated_rows(points, most, least):
    assert least <= of_rows(3, Drop(points), N_EXPERIMENTS, seed=11).failed <= most


# ── languages that spread unevenly ──


def test_uneven_languages_have_a_moderated_variance():
    """Smyth's method of moments by definition, with the inverse of the trigamma function by bisection."""
    rng = np.random.default_rng(5)
    sds = np.geomspace(0.2, 5, 9)
    blessed, now = rng.normal(70, sds, (3, 9)), rng.normal(69, sds, (3, 9))
    own = [(statistics.variance(blessed[:, k]) + statistics.variance(now[:, k])) / 2 for k in range(9)]
    logs = [math.log(variance) - special.digamma(2) + math.log(2) for variance in own]
    wanted = statistics.variance(logs) - special.polygamma(1, 2)
    half = optimize.brentq(lambda y: special.polygamma(1, y) - wanted, 1e-3, 1e6)
    typical = math.exp(statistics.fmean(logs) + special.digamma(half) - math.log(half))
    for variance, change in zip(own, drops.of_languages(blessed, now), strict=True):
        moderated = max(variance, (2 * half * typical + 4 * variance) / (2 * half + 4))
        assert change.error == pytest.approx(math.sqrt(2 * moderated / 3))
        assert change.df == pytest.approx(2 * half + 4)


def test_language_without_spread_borrows_one():
    """A score of 100 % in every seed does not show that the language cannot move."""
    rng = np.random.default_rng(6)
    blessed, now = rng.normal(70, 3, (3, 6)), rng.normal(70, 0.5, (3, 6))
    blessed[:, 0] = 100.0
    now[:, 0] = 99.0
    first, *others = drops.of_languages(blessed, now)
    assert 0 < first.error <= max(change.error for change in others)


def test_rounding_does_not_count_as_spread():
    """Three times the same score may have a variance of 1e-28, which would be an extremely uneven one."""
    rng = np.random.default_rng(6)
    blessed, now = rng.normal(70, [0, 0, 1, 2, 3], (3, 5)), rng.normal(70, [0, 0, 1, 2, 3], (3, 5))
    without = [change.df for change in drops.of_languages(blessed, now)]
    blessed[:, :2] += [[0], [1e-14], [3e-14]]
    assert [change.df for change in drops.of_languages(blessed, now)] == pytest.approx(without)


@pytest.mark.parametrize("n_seeds", [2, 3])
def test_gate_fails_in_at_most_5_percent_on_tagging(n_seeds):
    found = of_world(WORLDS["tagging"], n_seeds, Drop(), 400, seed=11)
    print(f"tagging, {n_seeds} seeds: {found}")
    assert found.failed <= 0.05 + 2.33 * math.sqrt(0.05 * 0.95 / 400)


def test_untrained_checkpoint_is_judged_by_its_rows():
    blessed, now, errors = [70.0, 60.0], [68.0, 61.0], ([1.0, 2.0], [2.0, 1.5])
    mean, cells = drops.as_drawn(blessed, now, *errors)
    assert [change.error for change in cells] == pytest.approx([math.sqrt(1 + 4), math.sqrt(4 + 2.25)])
    assert mean.error == pytest.approx((math.sqrt(5) + 2.5) / 2)  # languages move together, so errors add up
    assert mean.p_of_drop() == pytest.approx(stats.norm.cdf(-0.5 / mean.error))
