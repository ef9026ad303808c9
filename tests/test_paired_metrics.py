"""Two models compared by a metric that is not a share of rows: intervals and p values against slow versions."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.paired_answers import paired_difference
from xeval.definitions.suite import SuiteTask
from xeval.judging.comparison.compare import compare, difference_of
from xeval.judging.comparison.paired_metrics import PairedTallies, exchange_p, paired_metric_difference
from xeval.judging.comparison.paired_runs import PairedLanguage, PairedRuns, pair
from xeval.judging.comparison.paired_tests import group_p
from xeval.judging.comparison.ranked_runs import load_contest
from xeval.judging.comparison.resampling import SEED, Places, shared_places
from xeval.judging.comparison.retention import retention
from xeval.judging.score import wilson_interval
from xeval.judging.suite import score_of
from xeval.kinds.answers import Answers
from xeval.kinds.metric import ACCURACY, Measure, Metric
from xeval.results.configurations import by_configuration
from xeval.runs.score_given import score_given

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


# ── questions that only some languages share ──

ASKED = {"en": range(240), "de": range(120), "zh": range(60, 180)}  # of 240 questions, two on each context


def right_answers() -> dict[str, dict[str, np.ndarray]]:
    """Model → language → whether it has each question right: the same in all languages, but for a few."""
    rng, right = np.random.default_rng(8), {}
    for model, share in (("a", 0.6), ("b", 0.7)):
        everywhere = rng.random(240) < share
        right[model] = {language: everywhere ^ (rng.random(240) < 0.1) for language in ASKED}
    return right


RIGHT = right_answers()


def squad(numbers: range) -> dict:
    def question(number: int) -> dict:
        answers = [{"text": "cat", "answer_start": 0}]
        return {"id": f"q{number}", "question": f"Who is {number}?", "answers": answers}

    paragraphs = [
        {"context": f"cat or dog {place}", "qas": [question(number) for number in numbers if number // 2 == place]}
        for place in sorted({number // 2 for number in numbers})
    ]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}


@pytest.fixture(scope="module")
def parallel(tmp_path_factory):
    """Runs of two models on questions; German and Chinese have one half of them each."""
    folder, runs = tmp_path_factory.mktemp("parallel"), {}
    for name in ("key", *RIGHT):
        (folder / name).mkdir()
    for language, numbers in ASKED.items():
        (folder / "key" / f"test-{language}.json").write_text(json.dumps(squad(numbers)))
        for model, right in RIGHT.items():
            said = {f"q{number}": "cat" if right[language][number] else "dog" for number in numbers}
            (folder / model / f"test-{language}.json").write_text(json.dumps(said))
    for model in RIGHT:
        options = {"labels": folder / "key", "results": folder / "results"}
        runs[model] = [score_given("mlqa", folder / model, model=model, **options)]
    return runs


def mean_over_languages(right: dict[str, np.ndarray], contexts: np.ndarray) -> float:
    """Return the mean over languages of the share of right answers on `contexts`, which may repeat some."""
    drawn = [2 * place + one for place in contexts for one in (0, 1)]
    return float(np.mean([np.mean([right[lang][q] for q in drawn if q in ASKED[lang]]) for lang in ASKED]))


def slow_variance(values: list[float]) -> float:
    """Return the jackknife's variance of values with each context left out in turn."""
    return (len(values) - 1) / len(values) * float(np.sum((np.array(values) - np.mean(values)) ** 2))


LEFT_OUT = [np.delete(np.arange(120), place) for place in range(120)]


def test_shared_questions_are_drawn_together(parallel):
    compared = compare(pair(parallel["a"], parallel["b"]))
    rng, slow = np.random.default_rng(9), []
    for _ in range(1000):
        contexts = rng.integers(120, size=120)
        slow.append(mean_over_languages(RIGHT["b"], contexts) - mean_over_languages(RIGHT["a"], contexts))
    everything = np.arange(120)
    expected = mean_over_languages(RIGHT["b"], everything) - mean_over_languages(RIGHT["a"], everything)
    assert (compared.mean.difference, compared.mean.n_groups) == (pytest.approx(expected), 120)
    exact = Answers.measure("mlqa_exact_match")  # right or wrong here, as F1 is
    languages = [replace(own, measure=exact) for own in pair(parallel["a"], parallel["b"]).languages]
    assert difference_of(languages, SEED) == compared.mean
    low, high = np.quantile(slow, [0.025, 0.975])
    wavers = np.std(slow) / 4
    assert (compared.mean.low, compared.mean.high) == pytest.approx((low, high), abs=wavers)
    apart = sum((own.interval.high - own.interval.low) ** 2 for own in compared.languages) ** 0.5 / 3
    assert compared.mean.high - compared.mean.low > 1.2 * apart, "wider than if languages were drawn on their own"


def test_shared_questions_count_together_in_ranks(parallel):
    runs = [run for runs in parallel.values() for run in runs]
    pulls = [model.pulls.mean(axis=0) for model in load_contest(by_configuration(runs)).models]
    sides = [[mean_over_languages(right, contexts) for contexts in LEFT_OUT] for right in RIGHT.values()]
    slow = slow_variance([b - a for a, b in zip(*sides, strict=True)])
    assert float(np.sum((pulls[1] - pulls[0]) ** 2)) == pytest.approx(slow)


def test_shared_questions_count_together_in_suites(parallel):
    found = score_of(parallel["a"], SuiteTask(task="mlqa", group="g"), list(ASKED))
    slow = slow_variance([mean_over_languages(RIGHT["a"], contexts) for contexts in LEFT_OUT])
    assert found.interval == pytest.approx(wilson_interval(found.value, found.value * (1 - found.value) / slow))


def test_shared_questions_are_drawn_together_for_retention(parallel):
    kept = retention(pair(parallel["a"], parallel["b"]), parallel["a"], parallel["b"]).mean_kept
    rng, slow = np.random.default_rng(9), []
    for _ in range(1000):
        contexts = rng.integers(120, size=120)
        slow.append(mean_over_languages(RIGHT["b"], contexts) / mean_over_languages(RIGHT["a"], contexts))
    assert (kept.low, kept.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=np.std(slow) / 4)


def test_rows_are_shared_by_id_only_where_that_is_certain():
    def places_of(*ids: list[str] | None, n_groups: int = 20) -> list[Places] | None:
        return shared_places(ids, [np.arange(n_groups) for _ in ids])

    places = places_of(["a", "b", "c"], ["c", "d"])
    assert [own.rows.tolist() for own in places] == [[0, 1, 2], [2, 3]] and places[0].n_rows == 4
    assert places[1].tally(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[0, 0], [0, 0], [1, 2], [3, 4]]
    assert places[1].groups(np.array([7, 7])).tolist() == [-1, -2, 7, 7]
    assert [own.rows.tolist() for own in places_of(["a", "b"], ["b", "c"])] == [[0, 1], [1, 2]]
    for ids in ([["a", "b"], None], [["a", "b"], ["c"]], [["a", "b"], ["a", "b"]], [["a", "a"], ["a"]]):
        assert places_of(*ids) is None
    assert places_of(["a", "b"], ["b", "c"], n_groups=19) is None


def test_questions_of_long_contexts_are_shared_too():
    sides = []
    for contexts in (range(100), range(60, 160)):  # of five questions each, 40 contexts in common
        ids = [f"{context}-{question}" for context in contexts for question in range(5)]
        right = np.array([float(context % 3 > 0) for context in contexts for _ in range(5)])
        tally = np.stack([right, np.ones(500)], axis=1)[None]
        sides.append(PairedTallies(Measure(ACCURACY, ACCURACY.counts), 0 * tally, tally, np.arange(500) // 5, ids))
    assert paired_metric_difference(sides, n_resamples=50).n_groups == 160
    unrelated = [replace(side, ids=[str(row) for row in range(500)]) for side in sides]
    last = replace(unrelated[1], groups=(np.arange(500) + 2) // 5, ids=[str(row) for row in range(1, 501)])
    found = paired_metric_difference([unrelated[0], last], n_resamples=50)
    assert found.n_groups == 100 + 101, "row numbers instead of ids would merge all contexts into one group"


@pytest.mark.parametrize("n_shared", [1, 3])
def test_draws_without_any_row_of_a_language_are_not_zeros(n_shared):
    sides = []
    for ids in (range(30), range(30 - n_shared, 30)):  # B has all of them right, and A none
        tally = np.ones((1, len(ids), 2))
        names, groups = [str(place) for place in ids], np.arange(len(ids))
        sides.append(PairedTallies(Measure(ACCURACY, ACCURACY.counts), tally * [0, 1], tally, groups, names))
    found = paired_metric_difference(sides, n_resamples=500)
    assert (found.difference, found.low, found.high) == (1, 1 if n_shared > 1 else -1, 1)
