"""A task's score in a suite, with its interval checked against a slow bootstrap."""

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.sample_record import run_record, score, stored
from xeval.definitions.suite import Suite, SuiteTask
from xeval.judging.score import clustered_wilson_interval, wilson_interval
from xeval.judging.suite import score_of
from xeval.report.suite.table import build
from xeval.results.predictions import save_predictions
from xeval.results.records import Limits, RecipeRecord, Score
from xeval.results.store import StoredRun


def seeds(folder, correct: dict[str, np.ndarray], groups: dict[str, np.ndarray], n_seeds: int = 1) -> list[StoredRun]:
    """Runs whose rows are right where each language's (n_seeds, N) booleans are true."""
    runs = []
    for seed in range(n_seeds):
        own, scores = folder / str(seed), {}
        for language, every in correct.items():
            right = every[seed]
            tally = np.stack([right, np.ones(len(right))], axis=1).astype(np.float64)
            answers = pa.table(
                {
                    "label": pa.array(np.ones(len(right)), pa.int32()),
                    "prediction": pa.array(right, pa.int32()),
                    "logits": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(3 * len(right)), pa.float32()), 3),
                }
            )
            sha256 = save_predictions(own, language, answers, tally, groups[language])
            example = run_record().scores["de"].model_dump()
            changes = {"value": float(right.mean()), "n_rows": len(right), "predictions_sha256": sha256}
            scores[language] = Score.model_validate(example | changes)
        runs.append(StoredRun(own, run_record(seed=seed, scores=scores)))
    return runs


MEMBER = SuiteTask(task="cats", group="g")


def slow_interval(correct, groups, n_resamples=1500):
    """Percentiles over draws of groups, one draw at a time, with the same groups in every language."""
    rng, values = np.random.default_rng(1), []
    n_groups = len(np.unique(groups["en"]))
    rows_of = [np.flatnonzero(groups["en"] == group) for group in range(n_groups)]
    for _ in range(n_resamples):
        rows = np.concatenate([rows_of[group] for group in rng.integers(0, n_groups, n_groups)])
        values.append(np.mean([every[:, rows].mean() for every in correct.values()]))
    return np.quantile(values, [0.025, 0.975])


@pytest.mark.parametrize("correlation", [0.0, 0.9], ids=["unlike", "translations"])
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_mean_interval_matches_a_slow_group_bootstrap(tmp_path, correlation, n_seeds):
    rng = np.random.default_rng(7)
    base = rng.random((100, 1)) < 0.7  # one per premise
    groups = {language: np.repeat(np.arange(100), 3) for language in ("de", "en", "zh")}
    correct = {}
    for language in groups:
        own = rng.random((n_seeds, 300)) < 0.7
        shared = np.repeat(base, 3, axis=1).reshape(1, 300)
        correct[language] = np.where(rng.random((1, 300)) < correlation, shared, own)
    score = score_of(seeds(tmp_path, correct, groups, n_seeds), MEMBER, ["de", "en", "zh"])
    low, high = slow_interval(correct, groups)
    assert score.value == pytest.approx(np.mean([every.mean() for every in correct.values()]))
    assert score.interval == pytest.approx((low, high), abs=0.015)  # Wilson's is pulled toward the middle
    assert score.interval[1] - score.interval[0] == pytest.approx(high - low, rel=0.1)


def test_translations_do_not_count_as_independent_rows(tmp_path):
    right = np.random.default_rng(3).random((1, 400)) < 0.6
    rows = np.arange(400)
    one = score_of(seeds(tmp_path / "1", {"en": right}, {"en": rows}), MEMBER, ["en"])
    three = score_of(
        seeds(tmp_path / "3", dict.fromkeys(("de", "en", "zh"), right), dict.fromkeys(("de", "en", "zh"), rows)),
        MEMBER,
        ["de", "en", "zh"],
    )
    assert three.interval == pytest.approx(one.interval)


def test_languages_with_unrelated_groups_are_independent(tmp_path):
    rng = np.random.default_rng(5)
    correct = {language: rng.random((1, 600)) < 0.5 for language in ("de", "en")}
    groups = {"de": np.sort(rng.integers(0, 150, 600)), "en": rng.permutation(np.repeat(np.arange(150), 4))}
    score = score_of(seeds(tmp_path, correct, groups), MEMBER, ["de", "en"])
    low, high = score.interval
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 1200), rel=0.15)


def test_missing_languages_are_named_not_scored_as_zero(tmp_path):
    right, rows = np.ones((1, 20), dtype=bool), np.arange(20)
    score = score_of(seeds(tmp_path, {"en": right}, {"en": rows}), MEMBER, ["en", "th"])
    assert (score.value, score.languages, score.lacking) == (1.0, ("en",), ("th",))
    assert score_of(seeds(tmp_path, {"en": right}, {"en": rows}), MEMBER, ["th"]) is None


def test_metric_missing_from_the_runs_gives_no_score(tmp_path):
    right, rows = np.ones((1, 20), dtype=bool), np.arange(20)
    member = SuiteTask(task="cats", group="g", metrics=("accuracy", "f1"))
    assert score_of(seeds(tmp_path, {"en": right}, {"en": rows}), member, ["en"]) is None


def test_score_without_predictions_has_no_interval(tmp_path):
    [run] = seeds(tmp_path, {"en": np.ones((1, 20), dtype=bool)}, {"en": np.arange(20)})
    (run.folder / "predictions" / "en.parquet").unlink()
    score = score_of([run], MEMBER, ["en"])
    assert (score.value, score.interval) == (1.0, None)
    assert "cannot be read" in score.problem


def test_interval_of_one_group_is_nearly_0_to_1(tmp_path):
    right = np.array([[True, False, True, True]])
    score = score_of(seeds(tmp_path, {"en": right}, {"en": np.zeros(4, dtype=int)}), MEMBER, ["en"])
    low, high = score.interval
    assert low < 0.1 and high > 0.98


@pytest.mark.parametrize("right", [True, False])
def test_score_of_0_or_1_still_has_an_interval(tmp_path, right):
    """Wilson's interval, as for one language with as many rows."""
    every = {language: np.full((1, 60), right) for language in ("de", "en")}
    score = score_of(seeds(tmp_path, every, dict.fromkeys(every, np.arange(60))), MEMBER, ["de", "en"])
    assert score.interval == pytest.approx(clustered_wilson_interval(every["en"][0], np.arange(60)))
    assert score.interval[1] - score.interval[0] > 0.05


def test_single_language_keeps_its_scores_interval(tmp_path):
    rng = np.random.default_rng(11)
    right, groups = rng.random((1, 600)) < 0.7, np.repeat(np.arange(200), 3)
    score = score_of(seeds(tmp_path, {"en": right}, {"en": groups}), MEMBER, ["en"])
    assert score.interval == pytest.approx(clustered_wilson_interval(right[0], groups), abs=0.002)


def test_rounding_errors_are_no_variance(tmp_path):
    """One label throughout is right on one row in three of every premise, whose means differ by rounding alone."""
    groups = np.repeat(np.arange(20), 3)
    correct = np.tile([True, False, False], 20)[None]
    score = score_of(seeds(tmp_path, {"en": correct}, {"en": groups}), MEMBER, ["en"])
    assert score is not None and score.interval == wilson_interval(score.value, 20)


# ── which runs a table shows ──

SUITE = Suite(name="s", title="S", tasks=(MEMBER,), source_url="https://example.org")
ENGLISH = {"en": score(0.8), "de": score(0.6)}


def recipe(name: str, batch_size: int) -> RecipeRecord:
    return RecipeRecord(name=name, values={"batch_size": batch_size}, overrides={})


def test_collapsed_seed_is_left_out_of_a_suites_mean():
    at_chance = {"en": score(1 / 3), "de": score(1 / 3)}
    of_seeds = [ENGLISH, {"en": score(0.7), "de": score(0.5)}, at_chance]
    records = [run_record(seed=seed, scores=own) for seed, own in enumerate(of_seeds)]
    [row] = build(stored(records), SUITE, {}).rows
    assert row.cells["cats"].value == pytest.approx(100 * (0.8 + 0.6 + 0.7 + 0.5) / 4)
    assert any(problem.startswith("cats: seed 2 collapsed") and "; left out" in problem for problem in row.problems)
    [alone] = build(stored(records[2:]), SUITE, {}).rows
    assert alone.cells["cats"].value == pytest.approx(100 / 3)
    assert any(problem.endswith("shown, since there is no other seed") for problem in alone.problems)


def test_suites_cell_prefers_test_split_recipe_and_languages():
    """In this order, before the number of seeds."""
    suite = SUITE.model_copy(update={"tasks": (SuiteTask(task="cats", group="g", recipe="own"),)})
    dev = Limits(max_train=10, test_split="dev")
    on_dev = [run_record(seed=seed, recipe=recipe("own", 1), scores=ENGLISH, limits=dev) for seed in (1, 2, 3)]
    others = [run_record(seed=seed, recipe=recipe("other", 2), scores={"en": score(0.6)}) for seed in (1, 2, 3)]
    wider = [run_record(seed=seed, recipe=recipe("third", 3), scores=ENGLISH) for seed in (1, 2)]
    own = [run_record(seed=1, recipe=recipe("own", 4), scores={"en": score(0.5)})]
    for runs, value in (
        ([*on_dev, *others, *wider, *own], 50),
        ([*on_dev, *others, *wider], 70),
        (on_dev + others, 60),
    ):
        [row] = build(stored(runs), suite, {}).rows
        assert (row.cells["cats"].value, row.cells["cats"].split) == (pytest.approx(value), "test")
