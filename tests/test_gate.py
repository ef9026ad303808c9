"""What the gate says about which results. Its arithmetic and error rates are in `test_gate_statistics.py`."""

import math

import pytest
from scipy import stats

from tests.helpers.sample_record import INVOCATION, SHA, environment, run_record, score, stored
from xeval.judging.gate import bless as blessing
from xeval.judging.gate import check as gate
from xeval.judging.gate.baseline import Baseline
from xeval.judging.gate.findings import Outcome, Thresholds
from xeval.report.gate.text import by_configuration
from xeval.results.records import DataRecord, Failure, Invocation, Limits, ModelRecord, RecipeRecord, RunRecord, Timing
from xeval.support.errors import StoreError

LUCK = (-0.4, 0.1, 0.3)  # of three seeds, in points; their mean is zero
BLESSED = {"en": 80.0, "es": 70.0, "th": 60.0}
OTHER_SHA = "b" * 64


def bless(records: list[RunRecord]) -> Baseline:
    return blessing.bless(stored(records))


def check(baseline: Baseline, records: list[RunRecord], thresholds: Thresholds | None = None) -> Outcome:
    return gate.check(baseline, stored(records), thresholds)


def a_seed(seed: int, weights: str = "a", n_rows: int = 5000, **changes) -> RunRecord:
    """A run; changes named by a language code are its accuracies in percent."""
    percent = {code: changes.pop(code) for code in list(changes) if len(code) == 2}
    values = {
        "seed": seed,
        "limits": Limits(),
        "scores": {code: score(value / 100, n_rows) for code, value in percent.items()},
        "data": data(),
        "training": run_record().training.model_copy(update={"weights_sha256": weights * 64}),
        "timing": {"train": Timing(wall_s=10.0 + seed / 10, rows=1000, invocation=INVOCATION)},
    }
    return run_record(**(values | changes))


def made_in(**changes) -> dict[str, Invocation]:
    return {INVOCATION: Invocation(environment=environment(**changes))}


def data(train: str = SHA, **test: str) -> DataRecord:
    test_sha256 = dict.fromkeys(BLESSED, SHA) | test
    sha256 = {"test": test_sha256, "train": {"en": train}}
    return DataRecord(source="hub/x", revision=None, sha256=sha256, train_rows={"found": 9, "expected": 9, "used": 9})


def seeds(weights: str = "b", moves: dict[str, float] | None = None, **changes) -> list[RunRecord]:
    """Three seeds like the blessed ones, except for `moves` in points."""
    means = {code: value + (moves or {}).get(code, 0.0) for code, value in BLESSED.items()}
    return [
        a_seed(number, weights, **{code: mean + luck for code, mean in means.items()}, **changes)
        for number, luck in enumerate(LUCK, 1)
    ]


BASELINE = bless(seeds("a"))


def kinds(outcome: Outcome) -> dict[str, str]:
    return {finding.what: finding.kind for finding in outcome.findings if finding.kind != "note"}


def sentence(outcome: Outcome, what: str) -> str:
    [found] = [finding.sentence for finding in outcome.findings if finding.what == what]
    return found


# ── what is a regression ──


def test_unchanged_results_pass():
    outcome = check(BASELINE, seeds())
    assert outcome.passed
    assert set(kinds(outcome).values()) == {"unchanged"}
    assert set(kinds(outcome)) == {"mean of 3 languages", "en", "es", "th", "train throughput"}


def test_drop_beyond_threshold_and_chance_fails():
    outcome = check(BASELINE, seeds(moves={"th": -6.0}))
    assert kinds(outcome)["th"] == kinds(outcome)["mean of 3 languages"] == "regression"
    assert kinds(outcome)["es"] == "unchanged" and not outcome.passed
    assert sentence(outcome, "th") == (
        "cats: org/m, r, epochs 2.0, float32: th fell by 6.0 points, from 60.0 to 54.0 %, more than the allowed 1.5,"
        " and more than chance in training explains (3 seeds each, p < 0.001, wanted at most 0.02)."
    )


def test_a_supported_drop_within_the_threshold_passes():
    outcome = check(BASELINE, seeds(moves={"th": -6.0}), Thresholds(cell=7.0, mean=3.0))
    assert outcome.passed and kinds(outcome)["th"] == "unchanged"


def test_drop_within_chance_passes_and_names_its_limit():
    wide = [a_seed(n, "a", en=80 + luck, es=70 + luck, th=60 + luck) for n, luck in enumerate((-3.0, 0.0, 3.0), 1)]
    now = [a_seed(n, "b", en=77 + luck, es=67 + luck, th=57 + luck) for n, luck in enumerate((-3.0, 0.0, 3.0), 1)]
    outcome = check(bless(wide), now)
    assert outcome.passed and kinds(outcome)["mean of 3 languages"] == "drop within chance"
    # t at 2 % and 4 degrees of freedom is 2.999, the error 3 times the root of 2/3
    assert "it could not explain a drop of 7.3 points or more" in sentence(outcome, "mean of 3 languages")


def test_drop_of_identical_weights_is_never_chance():
    wide = (-3.0, 0.0, 3.0)
    blessed = [a_seed(n, "a", en=80 + luck, es=70 + luck, th=60 + luck) for n, luck in enumerate(wide, 1)]
    now = [a_seed(n, "a", en=80 + luck, es=70 + luck, th=58 + luck) for n, luck in enumerate(wide, 1)]
    outcome = check(bless(blessed), now)
    assert kinds(outcome)["th"] == "regression" and kinds(outcome)["es"] == "unchanged"
    assert "chance cannot explain it: the weights are the blessed ones bit for bit" in sentence(outcome, "th")


def test_an_improvement_is_named_and_passes():
    outcome = check(BASELINE, seeds(moves={"es": 6.0}))
    assert outcome.passed and kinds(outcome)["es"] == "improvement"
    assert "bless it to make it the new baseline" in sentence(outcome, "es")


def test_p_values_are_corrected_over_configurations():
    """The same drop alone and with a second configuration: twice the questions, twice the smallest p."""
    other = RecipeRecord(name="r", values={"epochs": 3.0}, overrides={"epochs": 3.0})
    blessed, now = seeds("a"), seeds(moves={"th": -2.0})
    alone = check(bless(blessed), now)
    beside = check(bless([*blessed, *seeds("a", recipe=other)]), [*now, *seeds(moves={}, recipe=other)])
    [p] = [finding.numbers.p for finding in alone.findings if finding.what == "th"]
    ps = [finding.numbers.p for finding in beside.findings if finding.what == "th"]
    assert min(ps) == pytest.approx(2 * p) and 0 < p < 0.5


@pytest.mark.parametrize(
    ("speeds", "kind"),
    [
        ((100, 99, 98), "unchanged"),
        ((75, 74, 76), "unchanged"),
        ((50, 50.5, 49.5), "regression"),
        ((20, 50, 120), "drop within chance"),
        ((200, 201, 199), "improvement"),
    ],
)
def test_throughput_is_compared_as_a_ratio(speeds, kind):
    runs = [
        record.model_copy(update={"timing": {"train": Timing(wall_s=1000 / speed, rows=1000, invocation=INVOCATION)}})
        for record, speed in zip(seeds(), speeds, strict=True)
    ]
    outcome = check(BASELINE, runs)
    assert kinds(outcome)["train throughput"] == kind and outcome.passed == (kind != "regression")


def test_throughput_on_other_hardware_is_not_compared():
    elsewhere = made_in(hardware={"cpu": "another", "threads": 2})
    slow = {"train": Timing(wall_s=1e6, rows=1000, invocation=INVOCATION)}
    outcome = check(BASELINE, seeds(invocations=elsewhere, timing=slow))
    assert outcome.passed and kinds(outcome)["train throughput"] == "not compared"
    assert "the hardware is not the blessed one" in sentence(outcome, "train throughput")


def timed_by(record: RunRecord, **invocations: str) -> RunRecord:
    """`record` with these phases (`train`, `en`, `es` …) timed by these invocations."""
    timing = {
        phase if phase == "train" else f"evaluate/{phase}": Timing(wall_s=10.0, rows=1000, invocation=invocation)
        for phase, invocation in invocations.items()
    }
    return record.model_copy(update={"timing": timing})


def test_mixed_hardware_speed_is_not_compared():
    """English was evaluated on the training machine and Thai on another, so the speed of evaluation means nothing."""
    here = dict.fromkeys(("train", "en", "es", "th"), INVOCATION)
    baseline = bless([timed_by(record, **here) for record in seeds("a")])
    assert set(baseline.configurations[0].throughput_pairs_per_s) == {"train", "evaluate"}
    both = made_in() | {"elsewhere": Invocation(environment=environment(hardware={"cpu": "another", "threads": 2}))}
    now = [timed_by(record, **(here | {"th": "elsewhere"})) for record in seeds(invocations=both)]
    outcome = check(baseline, now)
    assert kinds(outcome)["train throughput"] == "unchanged"
    assert kinds(outcome)["evaluate throughput"] == "not compared"
    assert "the hardware is not the blessed one" in sentence(outcome, "evaluate throughput")


def test_training_in_several_invocations_has_no_speed():
    outcome = check(BASELINE, [timed_by(record, train=None) for record in seeds()])
    assert outcome.passed and kinds(outcome)["train throughput"] == "not compared"
    assert "the hardware that it was timed on is not known" in sentence(outcome, "train throughput")


def test_baseline_from_two_machines_is_refused():
    both = made_in() | {"elsewhere": Invocation(environment=environment(hardware={"cpu": "another", "threads": 2}))}
    with pytest.raises(StoreError, match="use one machine for a baseline"):
        bless(seeds("a", invocations=both))


# ── results that are not compared ──


FAILED = {"train": Failure(reason="the loss became nan", invocation=INVOCATION)}


def failed(record: RunRecord) -> RunRecord:
    return record.model_copy(update={"status": "failed", "failures": FAILED, "scores": {}})


def without(record: RunRecord, language: str) -> RunRecord:
    return record.model_copy(
        update={"scores": {code: kept for code, kept in record.scores.items() if code != language}}
    )


THREE = seeds()
OTHER_RECIPE = RecipeRecord(name="r", values={"learning_rate": 3e-5, "epochs": 2.0}, overrides={"epochs": 2.0})
NEW_TEST_ROWS = [record.model_copy(update={"data": data(th=OTHER_SHA)}) for record in THREE]


@pytest.mark.parametrize(
    ("runs", "what", "kind", "said"),
    [
        (THREE[:2], "seed 3", "missing seed", "seed 3 is in the baseline but was not run"),
        ([*THREE, a_seed(9, en=80, es=70, th=60)], "seed 9", "extra seed", "seed 9 is not in the baseline"),
        ([failed(THREE[0]), *THREE[1:]], "seed 1", "failed training", "seed 1 failed: the loss became nan"),
        (
            [a_seed(1, en=33.4, es=33.3, th=33.3), *THREE[1:]],
            "seed 1",
            "collapsed training",
            "seed 1 collapsed in training: accuracy in en is 33.4 %",
        ),
        (seeds(data=data(train=OTHER_SHA)), "train rows", "other data", "train rows are not the blessed ones"),
        (
            seeds(recipe=OTHER_RECIPE),
            "settings",
            "other settings",
            "was run with other settings: learning_rate is 3e-05, blessed 5e-05",
        ),
        (seeds(limits=Limits(max_eval=9)), "settings", "other settings", "max_eval is 9, blessed not set"),
        (seeds(dtype="bfloat16"), "settings", "other settings", "dtype is bfloat16, blessed float32"),
    ],
)
def test_mismatched_results_fail_without_comparison(runs, what, kind, said):
    outcome = check(BASELINE, runs)
    assert kinds(outcome) == {what: kind} and not outcome.passed
    assert said in sentence(outcome, what)
    assert all(finding.numbers is None for finding in outcome.findings)


@pytest.mark.parametrize(
    ("runs", "kind", "said"),
    [
        (
            [without(THREE[0], "th"), *THREE[1:]],
            "missing language",
            "th is in the baseline but was not evaluated (seed 1)",
        ),
        (
            [a_seed(n, n_rows=4999, en=80, es=70, th=60) for n in (1, 2, 3)],
            "other number of rows",
            "th was evaluated on 4,999 rows, blessed 5,000",
        ),
        (NEW_TEST_ROWS, "other data", "th was evaluated on rows other than the blessed"),
    ],
)
def test_mismatched_language_is_left_out_with_the_mean(runs, kind, said):
    outcome = check(BASELINE, runs)
    assert kinds(outcome)["th"] == kind and said in sentence(outcome, "th") and not outcome.passed
    assert kinds(outcome)["mean of 3 languages"] == "not compared"
    numbers = {finding.what for finding in outcome.findings if finding.numbers}
    assert numbers == ({"train throughput"} if kind == "other number of rows" else {"en", "es", "train throughput"})


def test_missing_and_extra_configurations_are_found():
    another = ModelRecord(id="org/n", origin="hub", revision="abc", sha256=SHA, n_parameters=1, architecture="bert")
    outcome = check(BASELINE, seeds(model=another))
    assert [finding.kind for finding in outcome.findings] == ["missing configuration", "extra configuration"]
    assert "cats: org/n, r, epochs 2.0, float32 is not in the baseline" in outcome.failures[1].sentence


def test_replaced_model_is_compared_and_noted():
    retrained = ModelRecord(id="org/m", origin="hub", revision="d", sha256=OTHER_SHA, n_parameters=1, architecture="b")
    outcome = check(BASELINE, seeds(model=retrained, moves={"th": -6.0}))
    assert kinds(outcome)["th"] == "regression"
    assert "the model's files are not the blessed ones" in sentence(outcome, "model")


def test_new_versions_and_languages_are_noted():
    runs = [
        record.model_copy(
            update={"invocations": made_in(versions={"torch": "3"}), "scores": record.scores | {"zh": score(0.5)}}
        )
        for record in seeds()
    ]
    outcome = check(BASELINE, runs)
    assert outcome.passed
    assert "torch 3, blessed 2" in sentence(outcome, "versions")
    assert "zh not in the baseline" in sentence(outcome, "languages")


def test_two_runs_of_one_seed_are_refused():
    with pytest.raises(StoreError, match=r"seed 1 of org/m, r, epochs 2.0 is there twice.*: run-0 and run-3;"):
        check(BASELINE, [*seeds(), a_seed(1, en=80, es=70, th=60)])


def test_seeds_on_other_training_data_are_refused():
    with pytest.raises(StoreError, match="use a separate results folder"):
        check(BASELINE, [*seeds(), a_seed(4, en=80, es=70, th=60, data=data(train=OTHER_SHA))])


# ── checkpoints evaluated without training ──


def as_it_is(sha256: str, **percent: float) -> RunRecord:
    model = ModelRecord(id="org/m", origin="hub", revision=None, sha256=sha256, n_parameters=1, architecture="bert")
    recipe = RecipeRecord(name="no-train", values={"max_length": 128}, overrides={})
    return a_seed(42, model=model, recipe=recipe, training=None, timing={}, **percent)


def test_without_training_the_rows_are_the_sample():
    blessed = bless([as_it_is(SHA, en=80.0, es=70.0)])
    # both sides have an interval of ±1 point: an error of 2/3.92 each, of the difference 0.72
    small, large = (check(blessed, [as_it_is(OTHER_SHA, en=80.0, es=es)]) for es in (68.4, 66.0))
    assert kinds(small)["es"] == "drop within chance" and small.passed
    assert "chance in the choice of rows may explain it" in sentence(small, "es")
    assert kinds(large)["es"] == "regression"
    [p] = [finding.numbers.p for finding in large.findings if finding.what == "es"]
    assert p == pytest.approx(2 * stats.norm.sf(4 / math.hypot(2 / 3.92, 2 / 3.92)), rel=0.01)


def test_without_training_same_files_must_score_the_same():
    blessed = bless([as_it_is(SHA, en=80.0, es=70.0)])
    outcome = check(blessed, [as_it_is(SHA, en=80.0, es=68.4)])
    assert kinds(outcome)["es"] == "regression" and "bit for bit" in sentence(outcome, "es")


# ── thresholds and metrics ──


@pytest.mark.parametrize(("n_correct", "kind"), [(801, "unchanged"), (800, "regression")])
def test_drop_of_exactly_the_threshold_passes(n_correct, kind):
    """80.2 - 80.1 is a little more than 0.1 in floating point."""
    blessed = bless([a_seed(seed, n_rows=1000, en=80.2) for seed in (1, 2)])
    now = [a_seed(seed, n_rows=1000, en=n_correct / 10) for seed in (1, 2)]
    assert kinds(check(blessed, now, Thresholds(cell=0.1)))["en"] == kind


def test_another_metric_is_named_as_the_difference():
    by_f1 = [record.model_copy(update={"metric": "span_f1"}) for record in seeds()]
    said = sentence(check(BASELINE, by_f1), "settings")
    assert said.endswith("was run with other settings: metric is span_f1, blessed accuracy.")


def test_speed_without_one_languages_time_says_so():
    """The runs do have times: those of the other languages."""
    here = dict.fromkeys(("train", "en", "es", "th"), INVOCATION)
    baseline = bless([timed_by(record, **here) for record in seeds("a")])
    now = [timed_by(without(record, "th"), train=INVOCATION, en=INVOCATION, es=INVOCATION) for record in seeds()]
    said = sentence(check(baseline, now), "evaluate throughput")
    assert said.endswith("is not compared: these runs lack some of its times.")


@pytest.mark.parametrize("faulty", [2.0, 3.0])
def test_mismatch_of_one_configuration_stays_beside_a_sound_one(faulty):
    by_epochs = {n: seeds(recipe=RecipeRecord(name="r", values={"epochs": n}, overrides={})) for n in (2.0, 3.0)}
    baseline = bless([record for records in by_epochs.values() for record in records])
    by_epochs[faulty].pop()
    outcome = check(baseline, [record for records in by_epochs.values() for record in records])
    assert not outcome.passed and [finding.kind for finding in outcome.failures] == ["missing seed"]


# ── names of configurations that cannot be compared ──


def test_extra_configurations_have_whole_names():
    """The blessed configuration has the same model and recipe; the extra ones differ only in a value, and in dtype."""
    recipe = OTHER_RECIPE.model_copy(update={"overrides": {"learning_rate": 3e-5}})
    extra = [*seeds(recipe=recipe), *seeds(dtype="bfloat16")]
    failures = check(BASELINE, [*seeds(), *extra]).failures
    assert [failure.sentence.split(" is not ")[0] for failure in failures] == [
        "cats: org/m, r, learning_rate 3e-05, float32",
        "cats: org/m, r, epochs 2.0, bfloat16",
    ]


def test_other_settings_are_those_of_the_nearest_runs():
    """On a processor that chooses another arithmetic, whatever order the runs' folders have."""
    by_epochs = {n: RecipeRecord(name="r", values={"epochs": n}, overrides={"epochs": n}) for n in (2, 3, 4)}
    baseline = bless([record for recipe in by_epochs.values() for record in seeds(recipe=recipe)])
    runs = [record for n in (4, 3) for record in seeds(recipe=by_epochs[n], dtype="bfloat16")]
    failures = check(baseline, runs).failures
    assert [(failure.configuration, failure.sentence.rpartition(": ")[2]) for failure in failures] == [
        ("cats: org/m, r, epochs 2, float32", "org/m, r, epochs 2, float32 is in the baseline but was not run."),
        ("cats: org/m, r, epochs 3, float32", "dtype is bfloat16, blessed float32."),
        ("cats: org/m, r, epochs 4, float32", "dtype is bfloat16, blessed float32."),
    ]


@pytest.mark.parametrize(
    ("blessed", "now", "said"),
    [
        (Limits(max_eval=9), Limits(max_eval=9, eval_seed=1), "version 0.1.0 blessed the first ones; bless new runs."),
        (Limits(), Limits(max_eval=9, eval_seed=1), "other settings: max_eval is 9, blessed not set."),
    ],
)
def test_change_in_how_rows_are_drawn_is_put_into_words(blessed, now, said):
    """No option is called `eval_seed`."""
    [failure] = check(bless(seeds("a", limits=blessed)), seeds(limits=now)).failures
    assert failure.sentence.endswith(said)


# ── failures beside scores of an earlier time ──


@pytest.mark.parametrize("keeps_score", [False, True])
def test_missing_language_says_why_it_failed(keeps_score):
    """The command did ask for it; a score that is still there is from before the failure."""
    failure = Failure(reason="a logit is not a number", invocation=INVOCATION)
    update = {"status": "incomplete", "failures": {"evaluate/th": failure}}
    runs = [(record if keeps_score else without(record, "th")).model_copy(update=update) for record in THREE]
    outcome = check(BASELINE, runs)
    assert kinds(outcome)["th"] == "missing language" and not outcome.passed
    assert sentence(outcome, "th").endswith("was not evaluated (seeds 1, 2, 3): a logit is not a number.")


def test_failed_training_beside_old_scores_fails_the_check():
    failing = THREE[0].model_copy(update={"status": "incomplete", "failures": FAILED})
    assert kinds(check(BASELINE, [failing, *THREE[1:]])) == {"seed 1": "failed training"}


def test_language_with_other_rows_in_one_seed_is_not_compared():
    outcome = check(BASELINE, [*THREE[:2], NEW_TEST_ROWS[2]])
    assert kinds(outcome)["th"] == "other data" and not outcome.passed
    assert "th" not in {finding.what for finding in outcome.findings if finding.numbers}


def test_of_two_candidates_the_one_with_fewer_other_settings_is_named():
    """The other is an extra configuration, wherever its folder is in the order."""
    baseline = bless([*seeds(), *seeds(recipe=OTHER_RECIPE)])
    far, near = seeds(dtype="bfloat16", limits=Limits(max_eval=9, eval_seed=1)), seeds(dtype="bfloat16")
    for runs in ([*far, *near], [*near, *far]):
        failures = check(baseline, [*seeds(recipe=OTHER_RECIPE), *runs]).failures
        assert [failure.kind for failure in failures] == ["other settings", "extra configuration"]
        assert failures[0].sentence.endswith("was run with other settings: dtype is bfloat16, blessed float32.")


def test_configurations_of_an_edited_recipe_are_told_apart():
    """They had one name, and so one table in the terminal and one test suite in JUnit's XML."""
    before, after = (
        RecipeRecord(name="mine", values={"learning_rate": 1e-5, "batch_size": size}, overrides={}) for size in (8, 16)
    )
    baseline = bless([*seeds("a", recipe=before), *seeds("b", recipe=after)])
    outcome = check(baseline, [*seeds("a", recipe=before), *seeds("b", {"es": -9.0}, recipe=after)])
    groups = by_configuration(outcome.findings)
    assert list(groups) == ["cats: org/m, mine, batch_size 8, float32", "cats: org/m, mine, batch_size 16, float32"]
    [failure] = [finding for finding in outcome.failures if finding.what == "es"]
    assert failure.configuration == "cats: org/m, mine, batch_size 16, float32"
    [alone] = bless(seeds("a", recipe=before)).configurations
    assert alone.name == "cats: org/m, mine, float32"


def test_names_have_no_limit_on_training_rows_without_training():
    """It was set for other tasks of a suite; the matrix leaves it out too."""
    run = as_it_is(SHA, en=80.0, es=70.0).model_copy(update={"limits": Limits(max_train=960)})
    [blessed] = bless([run]).configurations
    assert "max train" not in blessed.name and blessed.name == blessing.name_in_words(run)
    [trained] = bless(seeds("a", limits=Limits(max_train=960))).configurations
    assert "max train 960" in trained.name
