"""Verdicts: the interval against its definition and a published example, and the effect of each kind of seed."""

import math
import statistics

import pytest
from scipy import stats

from tests.helpers.sample_record import run_record, score, stored
from tests.helpers.verdict_simulation import describe, rates, share_reproduced
from xeval.definitions.reference import Reference
from xeval.definitions.registry import all_references, get_reference, get_task
from xeval.definitions.toml import Printed
from xeval.judging.equivalence import (
    UNSETTLED,
    Published,
    Spread,
    assumed_spread,
    compare,
    half_width,
    read,
    seed_spread,
    spread_of_mean,
)
from xeval.judging.health import collapse
from xeval.judging.verdict import Tolerance, assumed_of, judge, row_of, why_none, why_other_numbers
from xeval.kinds.kind import WIDE
from xeval.kinds.pairs import PairClassification
from xeval.kinds.registry import all_kinds, get_kind
from xeval.kinds.tags import Tagging
from xeval.report.matrix import build
from xeval.results.records import (
    ELSEWHERE,
    NO_TRAINING,
    Failure,
    Limits,
    Majority,
    ModelRecord,
    RecipeRecord,
    RunRecord,
)

FIVE = [69.0, 69.4, 69.8, 69.2, 69.6]  # mean 69.4, variance 0.40 / 4
ONE_DECIMAL = 0.1**2 / 12
EN_ES = {"en": 80.0, "es": 70.0}


def a_table(cells: dict[str, float] | None = None, **more) -> Reference:
    row = {"name": "Model", "model": "org/m", "cells": cells or EN_ES, "how": "computed", "recipe": "r"} | more
    table = {"name": "t", "title": "t", "task": "cats", "split": "test", "source_url": "x"}
    return Reference.model_validate(table | {"languages": [*row["cells"]], "rows": [row]}, strict=False)


def a_seed(seed: int, n_rows: int = 5010, **changes) -> RunRecord:
    """A run; the changes may include accuracies in percent, by language."""
    percent = {code: changes.pop(code) for code in list(changes) if code in ("en", "es", "zh", "de")}
    scores = {code: score(value / 100, n_rows) for code, value in percent.items()}
    return run_record(**({"seed": seed, "scores": scores, "limits": Limits()} | changes))


def one_label(record: RunRecord) -> RunRecord:
    """The same scores, but with one label predicted throughout."""
    said = {code: cell.model_copy(update={"n_most_predicted": cell.n_rows}) for code, cell in record.scores.items()}
    return record.model_copy(update={"scores": said})


def seeds(*english: float, es: float = 70.0) -> list[RunRecord]:
    return [a_seed(number, en=value, es=es + value - 80) for number, value in enumerate(english, 1)]


def judged(records, table=None, **more):
    [verdict] = judge(stored(records), table or a_table(), **more)
    return verdict


# ── the arithmetic ──


def test_five_seeds_against_one_match_hand_arithmetic():
    comparison = compare(FIVE, Published(69.1, 1, ONE_DECIMAL), 1.5, Spread(0.8, 4))
    # 0.1 (1/5 + 1/1) + 0.01/12 = 0.120833, its root 0.3476; 4.06 degrees of freedom, quantile 2.12
    assert comparison.difference == pytest.approx(0.3)
    assert (comparison.low, comparison.high) == (pytest.approx(-0.44, abs=0.005), pytest.approx(1.04, abs=0.005))
    assert (comparison.outcome, comparison.assumed, comparison.seeds_needed) == ("reproduced", False, None)


@pytest.mark.parametrize("n", [3, 4, 5])
@pytest.mark.parametrize("theirs", [None, (0.4, 5)])
@pytest.mark.parametrize("tolerance", [0.5, 1.0, 1.5])
def test_interval_matches_two_one_sided_tests(n, theirs, tolerance):
    scores, published = FIVE[:n], 68.7
    own = statistics.variance(scores)
    if theirs is None:
        m, parts = 1, [(own * (1 / n + 1), n - 1)]
    else:
        sd, m = theirs
        parts = [(own / n, n - 1), (sd**2 / m, m - 1)]
    error = math.sqrt(sum(part for part, _ in parts) + ONE_DECIMAL)
    df = error**4 / sum(part**2 / part_df for part, part_df in parts)
    difference = statistics.fmean(scores) - published
    above_low = stats.t.sf((difference + tolerance) / error, df)
    below_high = stats.t.cdf((difference - tolerance) / error, df)

    spread = Spread(theirs[0], theirs[1] - 1) if theirs else None
    comparison = compare(scores, Published(published, m, ONE_DECIMAL, spread), tolerance, Spread(9.9, 4))
    assert (comparison.outcome == "reproduced") == (max(above_low, below_high) < 0.05)
    low, high = stats.t.interval(0.9, df, loc=difference, scale=error)
    assert (comparison.low, comparison.high) == (pytest.approx(low), pytest.approx(high))


def test_published_equivalence_example_is_reproduced():
    """Moery and Calin-Jageman 2016, Study 2, as the documentation of the R package TOSTER works it out: means 5.25 and
    5.22, deviations 0.95 and 0.83, 95 and 89 people, bounds of d = ±0.43: t = -2.69, p = 0.004, equivalent."""
    bound = 0.43 * math.sqrt((0.95**2 + 0.83**2) / 2)
    half = half_width(Spread(0.95, 94), 95, Published(5.22, 89, 0.0, Spread(0.83, 88)))
    error = half / stats.t.ppf(0.95, 181.3)
    assert (0.03 - bound) / error == pytest.approx(-2.69, abs=0.005)
    assert stats.t.cdf((0.03 - bound) / error, 181.3) == pytest.approx(0.004, abs=0.0005)
    assert read(0.03, half, bound) == "reproduced"


def test_one_or_two_seeds_use_the_assumed_spread():
    assert seed_spread([70.0], Spread(0.8, 4)) == Spread(0.8, 4)
    assert seed_spread([70.0, 71.0], Spread(0.8, 4)).sd == pytest.approx(math.sqrt((0.5 + 4 * 0.64) / 5))
    assert seed_spread([70.0, 71.0], Spread(0.8, 4)).df == 5
    assert seed_spread([70.0, 71.0, 72.0], Spread(0.8, 4)) == Spread(1.0, 2)


def test_assumed_spread_depends_on_rows_and_averaging():
    assumed = PairClassification.assumed_spread
    assert assumed_spread(assumed, True, 5010) == Spread(0.5, 4)
    assert assumed_spread(assumed, False, 10_000).sd == pytest.approx(0.8)
    # two trainings that disagree on a fifth of 1,200 rows: 100² · 0.1 / 1200 points² each, instead of / 5010
    assert assumed_spread(assumed, True, 1200).sd == pytest.approx(math.sqrt(0.25 + 1000 / 1200 - 1000 / 5010))
    assert spread_of_mean(assumed, [Spread(0.8, 4)] * 2).sd == pytest.approx(0.8 * math.sqrt((1 + 0.5) / 2))


def test_each_kind_of_task_has_a_sourced_assumption():
    for kind in map(get_kind, all_kinds()):
        assert kind.assumed_spread.source
    assert assumed_of("pair-classification") == PairClassification.assumed_spread
    assert assumed_of("of a package that is not installed") == WIDE


def test_unknown_kind_of_task_has_a_wider_spread():
    """With the same numbers as for pairs, but a wider assumed spread."""
    of_pairs, of_others = (
        judged([a_seed(1, en=80.0, es=70.0, kind=kind)]) for kind in ("pair-classification", "not-installed")
    )
    for language, cell in of_pairs.cells.items():
        assert of_others.cells[language].comparison.seed_sd > cell.comparison.seed_sd


@pytest.mark.parametrize(
    ("low", "high", "outcome", "mirrored"),
    [
        (-1.4, 1.4, "reproduced", "reproduced"),
        (-1.5, 1.4, "agrees", "agrees"),
        (0.0, 3.0, "agrees", "agrees"),
        (0.1, 3.0, "leans high", "leans low"),
        (1.5, 3.0, "leans high", "leans low"),
        (1.6, 3.0, "not reproduced", "not reproduced"),
    ],
)
def test_the_edge_of_the_tolerance_is_not_inside(low, high, outcome, mirrored):
    middle, half = (low + high) / 2, (high - low) / 2
    assert (read(middle, half, 1.5), read(-middle, half, 1.5)) == (outcome, mirrored)


def test_seeds_needed_is_the_least_that_settles():
    published = Published(69.4, 5, 0.0, Spread(0.5, 4))
    comparison = compare([69.0, 69.4, 70.7], published, 1.0, Spread(0.8, 4))
    assert comparison.outcome == "agrees" and comparison.seeds_needed > 3

    def settled(n: int) -> bool:
        half = half_width(Spread(comparison.seed_sd, n - 1), n, published)
        return read(comparison.difference, half, 1.0) not in UNSETTLED

    assert settled(comparison.seeds_needed) and not settled(comparison.seeds_needed - 1)


# ── records and tables ──


def test_cells_and_mean_each_have_a_verdict():
    verdict = judged(seeds(80.0, 80.4, 79.8, 80.2, 80.1))
    assert [verdict.mean.outcome, *(cell.outcome for cell in verdict.cells.values())] == ["reproduced"] * 3
    assert verdict.cells["en"].sentence == (
        "Model (r, epochs 2.0), en: reproduced; our 80.1 (mean of 5 seeds) is 0.1 points above the published 80.0, and"
        " the 90 % interval of the difference, -0.4 to +0.6, lies inside the tolerance of ±1.5."
    )
    assert verdict.mean.what == "mean of 2 languages" and verdict.mean.tolerance == 1.0


def test_the_mean_is_taken_within_each_seed():
    """Languages that rise and fall together leave the mean as uncertain as they are; opposite ones cancel out."""
    together = [a_seed(n, en=80 + move, es=70 + move) for n, move in enumerate((-0.5, 0.0, 0.5))]
    against = [a_seed(n, en=80 + move, es=70 - move) for n, move in enumerate((-0.5, 0.0, 0.5))]
    assert judged(together).mean.comparison.seed_sd == pytest.approx(0.5)
    assert judged(against).mean.comparison.seed_sd == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("ours", [80.6, 81.3, 85.0])
def test_a_row_of_one_language_has_one_verdict(ours):
    """Its mean is its cell: 1.3 points apart must not agree as the one and lean high as the other."""
    verdict = judged([a_seed(1, en=ours)], a_table({"en": 80.0}), tolerance=Tolerance(cell=1.5, mean=1.0))
    cell = verdict.cells["en"]
    assert (verdict.mean.outcome, verdict.mean.tolerance) == (cell.outcome, 1.5)
    assert verdict.mean.comparison == cell.comparison


def test_unreproduced_mean_is_listed_before_cells():
    verdict = judged(seeds(70.0, 70.2, 70.4))
    assert [stray.what for stray in verdict.not_reproduced] == ["mean of 2 languages", "en", "es"]
    assert "9.8 points below" in verdict.mean.sentence and "wholly outside" in verdict.mean.sentence


def test_single_seed_states_its_assumed_spread():
    cell = judged(seeds(80.0)).cells["es"]
    assert cell.comparison.assumed and cell.outcome == "agrees"
    assert "0.80 points, is assumed, not measured" in cell.sentence and "(one seed)" in cell.sentence
    assert "12 seeds would settle it" in cell.sentence
    far = judged(seeds(80.9)).cells["es"]
    assert "not even 50 seeds of ours would settle it as long as the published side has one seed" in far.sentence


def test_two_seeds_state_the_pooled_spread():
    sentence = judged(seeds(80.0, 80.4)).cells["en"].sentence
    assert "is assumed, not measured, and pooled with what our seeds show" in sentence


def test_published_spread_replaces_the_assumption():
    table = a_table(spread={"en": 0.2, "es": 0.3}, n_seeds=5)
    cell = judged(seeds(80.0), table).cells["en"]
    assert cell.outcome == "reproduced" and "0.20 points, is taken from the source" in cell.sentence


def test_custom_tolerance_is_applied_and_recorded():
    records = seeds(80.0, 80.4, 79.8, 80.2, 80.1)
    verdict = judged(records, tolerance=Tolerance(cell=0.3, mean=0.2))
    assert verdict.cells["en"].outcome == verdict.mean.outcome == "agrees"
    assert (verdict.cells["en"].tolerance, verdict.mean.tolerance) == (0.3, 0.2)
    assert "±0.3" in verdict.cells["en"].sentence and verdict.tolerance == Tolerance(0.3, 0.2)


@pytest.mark.parametrize(
    ("collapsed", "reason"),
    [
        (a_seed(9, en=33.4, es=33.3), "accuracy in en is 33.4 % where chance is 33.3 %"),
        (one_label(a_seed(9, en=55.0, es=55.0)), "every prediction is one label, in each of 2 languages"),
    ],
)
def test_a_collapsed_seed_is_left_out_and_named(collapsed, reason):
    healthy = seeds(80.0, 80.2, 80.4)
    verdict = judged([*healthy, collapsed])
    assert verdict.mean.comparison == judged(healthy).mean.comparison
    assert f"Seed 9 is left out because its training collapsed: {reason}" in verdict.mean.sentence
    assert verdict.cells["es"].sentence.endswith(" Seed 9 is left out because its training collapsed.")


def test_dev_rows_show_a_collapse_without_english_score():
    assert collapse(a_seed(9, es=35.0)) == "accuracy on en development rows is 33.3 % where chance is 33.3 %"
    assert collapse(a_seed(9, en=80.0, es=35.0)) is None


def test_coinciding_errors_are_not_a_collapse():
    alike = a_seed(9, en=80.0, es=80.0, zh=80.0)
    assert collapse(alike) is None
    mixed = alike.model_copy(
        update={"scores": {k: v.model_copy(update={"n_most_predicted": 4000}) for k, v in alike.scores.items()}}
    )
    assert collapse(mixed) is None
    assert collapse(one_label(alike)) is not None
    assert collapse(one_label(a_seed(9, n_rows=60, en=80.0, es=80.0))) is None  # too few rows to tell
    assert collapse(one_label(a_seed(9, en=100.0, es=100.0))) is None  # the gold labels are one label too


def test_all_seeds_collapsed_means_no_verdict():
    verdict = judged([a_seed(1, en=33.3, es=33.3)])
    assert verdict.mean.outcome == verdict.cells["en"].outcome == "no verdict"
    assert verdict.mean.comparison is None and "collapsed" in verdict.mean.sentence


def test_failed_and_partial_runs_get_no_verdict():
    failure = Failure(reason="the loss became nan", invocation=None)
    failed = a_seed(1, status="failed", failures={"train": failure}, training=None)
    limited = a_seed(2, en=80.0, es=70.0, limits=Limits(max_eval=100))
    for record, said in (
        (failed, "Seed 1 failed: the loss became nan"),
        (limited, "it was evaluated on the first 100 rows"),
    ):
        verdict = judged([record])
        assert verdict.mean.outcome == "no verdict" and said in verdict.mean.sentence
        assert verdict.not_reproduced == []


def test_failed_extra_language_keeps_other_verdicts():
    failure = Failure(reason="zh: 3 rows have no finite logits", invocation=None)
    broken = a_seed(1, en=80.0, es=70.0, status="incomplete", failures={"evaluate/zh": failure})
    ours, plain = judged([broken]), judged([a_seed(1, en=80.0, es=70.0)])
    assert ours.cells == plain.cells and ours.mean.comparison == plain.mean.comparison
    assert ours.mean.sentence.endswith("Seed 1 failed: zh: 3 rows have no finite logits.")


def test_missing_language_and_mean_have_no_verdict():
    verdict = judged([a_seed(1, en=80.0)])
    assert verdict.cells["es"].outcome == verdict.mean.outcome == "no verdict"
    assert "there is no score of ours" in verdict.cells["es"].sentence
    assert verdict.cells["en"].comparison is not None


def test_other_models_tasks_and_local_folders_are_not_judged():
    hub = a_seed(1, en=80.0).model
    local = ModelRecord(id="org/m", origin="local", revision=None, sha256="a" * 64, n_parameters=1, architecture="bert")
    others = [a_seed(1, en=80.0, model=hub.model_copy(update={"id": name})) for name in ("org/m2", "other/m", "org/M")]
    others += [a_seed(1, en=80.0, task="dogs"), a_seed(1, en=80.0, model=local)]
    assert (hub.id, hub.origin) == ("org/m", "hub") and len(judge(stored([a_seed(1, en=80.0)]), a_table())) == 1
    for other in others:
        assert judge(stored([other]), a_table()) == []


def test_more_printed_decimals_mean_less_rounding():
    tables = [a_table({"en": Printed(en), "es": 70}) for en in ("80", "80.0", "80.00")]
    verdicts = [judged(seeds(80.0, 80.0, 80.0), table).cells["en"].comparison for table in tables]
    widths = [verdict.high - verdict.low for verdict in verdicts]
    assert widths == pytest.approx([2 * 1.645 * step / 12**0.5 for step in (1, 0.1, 0.01)], rel=1e-3)


# ── error rates, with the truth known ──

N_EXPERIMENTS = 150
SLACK = 2.33 * math.sqrt(0.05 * 0.95 / N_EXPERIMENTS)  # for a share of 5 %: chance alone exceeds it once in a hundred


@pytest.mark.parametrize(
    ("difference", "n_published", "most", "least"),
    [
        (0.0, 1, {}, {"mean": 0.35, "cells": 0.4}),  # a single published training leaves half of them open
        (0.0, 5, {}, {"mean": 0.9, "cells": 0.9}),
        (1.0, 1, {"mean": 0.05 + SLACK}, {}),  # at the tolerance of the mean
        (1.5, 1, {"mean": 0.01, "cells": 0.05 + SLACK}, {}),  # at the tolerance of a cell
        (1.5, 5, {"mean": 0.01, "cells": 0.05 + SLACK}, {}),
        (4.0, 1, {"mean": 0.001, "cells": 0.001}, {}),
    ],
)
def test_simulated_error_rates_are_as_promised(difference, n_published, most, least):
    shares = rates(difference, 5, n_published, N_EXPERIMENTS, seed=11)
    print(describe(difference, 5, n_published, shares))
    assert all(shares[what]["reproduced"] <= share for what, share in most.items())
    assert all(shares[what]["reproduced"] >= share for what, share in least.items())
    if difference == 0:
        assert shares["mean"]["not reproduced"] == shares["cells"]["not reproduced"] == 0


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_wrong_assumption_is_harmless_from_three_seeds(n_seeds):
    share = share_reproduced(1.5, n_seeds, true_sd=0.5, assumed_sd=0.05, n_experiments=1000, seed=11)
    print(f"{n_seeds} seeds: reproduced {100 * share:.1f} % at the tolerance")
    assert share <= 0.05 + 2.33 * math.sqrt(0.05 * 0.95 / 1000)


# ── runs that do not attempt the published number ──


def test_task_file_with_fewer_rows_gets_no_verdict():
    """A task file edited to fit a partial copy of the data is only part of the task."""
    xnli, table = get_task("xnli"), a_table().model_copy(update={"task": "xnli"})
    sizes = {"found": 392_702, "expected": 392_702, "used": 392_702}
    whole = a_seed(1, en=80.0, es=70.0, task="xnli")
    whole = whole.model_copy(update={"data": whole.data.model_copy(update={"train_rows": sizes})})
    assert judged([whole], table, task=xnli).mean.outcome != "no verdict"
    few_rows = whole.data.model_copy(update={"train_rows": dict.fromkeys(sizes, 10_000)})
    few_tests = whole.scores | {"es": score(0.7, n_rows=500)}
    for changes, why in (
        ({"data": few_rows}, "its data had 10,000 training rows instead of the task's 392,702"),
        ({"scores": few_tests}, "it was evaluated on 500 rows in es instead of the task's 5,010"),
    ):
        row_verdict = judged([whole.model_copy(update=changes)], table, task=xnli)
        for verdict in (row_verdict.mean, *row_verdict.cells.values()):
            assert verdict.outcome == "no verdict" and f"Seed 1 is left out: {why}." in verdict.sentence


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"limits": Limits(max_train=1000)}, "it was trained on the first 1,000 rows alone"),
        ({"limits": Limits(max_eval=100)}, "it was evaluated on the first 100 rows of each language"),
        ({"limits": Limits(max_eval=100, eval_seed=1)}, "it was evaluated on 100 rows of each language"),
        ({"limits": Limits(test_split="dev")}, "it was evaluated on dev rows, not on the test split"),
        (
            {"train_rows": {"found": 10_000, "expected": 392_702, "used": 10_000}},
            "its data had 10,000 training rows instead of the task's 392,702",
        ),
    ],
)
def test_run_on_other_rows_gets_no_verdict_and_a_reason(changes, reason):
    run = a_seed(1, en=80.0, es=70.0)
    if "train_rows" in changes:
        changes = {"data": run.data.model_copy(update=changes)}
    row_verdict = judged([run.model_copy(update=changes)])
    for verdict in (row_verdict.mean, *row_verdict.cells.values()):
        assert verdict.outcome == "no verdict"
        assert f"Seed 1 is left out: {reason}." in verdict.sentence


def test_a_reason_shared_by_seeds_is_given_once():
    runs = [a_seed(seed, en=80.0, es=70.0, limits=Limits(max_train=1000)) for seed in (1, 2, 3)]
    sentence = judged(runs).mean.sentence
    assert sentence.endswith("Seed 1 is left out: it was trained on the first 1,000 rows alone. So are seeds 2, 3.")


def test_evaluated_checkpoint_needs_no_training_rows():
    run = a_seed(1, en=80.0, es=70.0)
    row_verdict = judged([run.model_copy(update={"data": run.data.model_copy(update={"train_rows": {}})})])
    assert row_verdict.mean.outcome != "no verdict"


# ── rows adapted differently are not compared ──


def trained_as(**settings) -> list[RunRecord]:
    """Three seeds at the published numbers, with these recipe values."""
    records = seeds(80.0, 80.1, 79.9)
    changed = [record.recipe.model_copy(update={"values": record.recipe.values | settings}) for record in records]
    return [record.model_copy(update={"recipe": recipe}) for record, recipe in zip(records, changed, strict=True)]


WAYS = [{}, {"adaptation": "lora"}, {"adaptation": "frozen"}, {"layers_frozen": 0}, {"layers_frozen": 6}]


@pytest.mark.parametrize("ours", WAYS, ids=str)
@pytest.mark.parametrize("theirs", WAYS, ids=str)
def test_row_is_judged_only_by_the_same_adaptation(ours, theirs):
    row_verdict = judged(trained_as(**ours), a_table(**theirs))
    outcomes = {verdict.outcome for verdict in (row_verdict.mean, *row_verdict.cells.values())}
    if ours == theirs:
        assert outcomes <= {"reproduced", *UNSETTLED}
        return
    assert outcomes == {"no verdict"}
    assert row_verdict.mean.sentence.count(". ") == 0 and "so the two are not comparable" in row_verdict.mean.sentence


@pytest.mark.parametrize("recipe", [NO_TRAINING, ELSEWHERE])
def test_reason_does_not_guess_how_others_trained(recipe):
    others = RecipeRecord(name=recipe, values={}, overrides={})
    records = [record.model_copy(update={"recipe": others, "training": None}) for record in seeds(80.0, 80.1)[:1]]
    assert {cell.outcome for cell in judged(records).cells.values()} <= set(UNSETTLED)
    sentence = judged(records, a_table(layers_frozen=0)).mean.sentence
    assert "comes from frozen embeddings, and how ours was trained is not known" in sentence


def test_reason_names_both_adaptations():
    said = judged(trained_as(adaptation="lora"), a_table()).mean.sentence
    assert "no verdict; the published row comes from full fine-tuning, ours from LoRA, so the two" in said
    said = judged(trained_as(adaptation="frozen"), a_table(layers_frozen=6)).mean.sentence
    assert "the published row comes from frozen embeddings and 6 frozen layers, ours from a frozen encoder" in said


def test_row_with_the_same_adaptation_is_chosen():
    full = a_table().rows[0]
    rows = [full, full.model_copy(update={"name": "Frozen", "adaptation": "frozen"})]
    table = a_table().model_copy(update={"rows": tuple(rows)})
    for settings, name in (({}, "Model"), ({"adaptation": "frozen"}, "Frozen")):
        records = trained_as(**settings)
        assert [verdict.row for verdict in judge(stored(records), table)] == [name]
        assert row_of(records[0], table).name == name


def test_row_with_two_adaptations_is_refused():
    with pytest.raises(ValueError, match="layers_frozen and adaptation lora; leave out one"):
        a_table(adaptation="lora", layers_frozen=2)


@pytest.mark.parametrize("n", [1, 2])
def test_a_spread_used_for_both_sides_has_its_own_doubt(n):
    """With one or two seeds, the published spread is all that is known of either side, so it is not counted twice."""
    published, scores = Spread(0.4, 4), FIVE[:n]
    pooled = seed_spread(scores, published)
    half = stats.t.ppf(0.95, pooled.df) * pooled.sd * math.sqrt(1 / n + 1 / 5)
    comparison = compare(scores, Published(69.1, 5, 0.0, published), 1.5, published)
    assert comparison.high - comparison.low == pytest.approx(2 * half)


def test_a_mean_is_as_uncertain_as_its_least_known_language():
    spreads = [Spread(0.4, 2), Spread(0.8, 4)]
    assert spread_of_mean(WIDE, spreads).df == spread_of_mean(WIDE, spreads[::-1]).df == 2


def test_a_judged_row_gives_no_reason_for_a_missing_verdict():
    record = a_seed(1, **EN_ES)
    assert judged([record]).mean.outcome != "no verdict" and why_none(record, a_table()) == ""
    translated = a_table(protocol="translate-train")
    assert judge(stored([record]), translated) == []
    assert why_none(record, translated) == "its published numbers are not zero-shot (translate-train)"


def test_mean_of_several_published_seeds_is_better_known():
    for n_seeds in (1, 5):
        comparison = judged(seeds(*FIVE), a_table(n_seeds=n_seeds)).mean.comparison
        ours = [(value + 70.0 + value - 80) / 2 for value in FIVE]
        error = math.sqrt(statistics.variance(ours) * (1 / 5 + 1 / n_seeds) + ONE_DECIMAL / 2)
        part = statistics.variance(ours) * (1 / 5 + 1 / n_seeds)
        half = stats.t.ppf(0.95, error**4 / (part**2 / 4)) * error
        assert comparison.high - comparison.low == pytest.approx(2 * half)


@pytest.mark.parametrize(("n_majority", "is_said"), [(3499, False), (3500, True), (4000, True), (None, False)])
def test_label_that_scores_as_much_as_ours_is_mentioned(n_majority, is_said):
    majority = Majority(label="neutral", n_rows=n_majority) if n_majority else None
    record = a_seed(1, n_rows=5000, **EN_ES)
    spanish = record.scores["es"].model_copy(update={"majority": majority})
    verdict = judged([record.model_copy(update={"scores": record.scores | {"es": spanish}})])
    remark = (
        f" Always answering the most frequent label gives {(n_majority or 0) / 50:.1f}, which ours does not exceed."
    )
    assert verdict.cells["es"].sentence.endswith(remark) == is_said
    assert "most frequent" not in verdict.mean.sentence  # that of English is not known


def test_tagging_assumes_the_spread_that_wikiann_shows():
    """Five seeds of XLM-R base and of XLM-V base, and the means of each seed over 48 languages, from their files."""
    means = {"XLM-R": (62.9, 62.4, 62.2, 62.3, 63.4), "XLM-V": (64.2, 65.8, 66.1, 63.9, 65.2)}
    spreads = {row.name[:5]: row.spread for row in get_reference("xlmv-wikiann").rows if row.spread}
    assumed = Tagging.assumed_spread
    others = [sd**2 for of_model in spreads.values() for language, sd in of_model.items() if language != "en"]
    assert assumed.other_sd == round(math.sqrt(statistics.mean(others)), 1)
    assert assumed.training_sd == max(of_model["en"] for of_model in spreads.values())
    given = [spread_of_mean(assumed, [Spread(sd, 4) for sd in spreads[model].values()]).sd ** 2 for model in means]
    shown = [statistics.variance(of_model) for of_model in means.values()]
    assert statistics.mean(given) == pytest.approx(statistics.mean(shown), rel=0.1)


def test_without_a_table_the_reason_is_that_none_was_named():
    """There may be tables of the task, as of UDPOS, whose published numbers are of another metric than its own."""
    reason = "no published table to compare it with was named; --reference names one"
    assert why_none(run_record(task="udpos", metric="udpos_f1"), None) == reason


@pytest.mark.parametrize(
    ("split", "task", "is_judged"),
    [
        ("test", None, True),
        ("Test (the source calls it dev)", None, True),
        ("validation", get_task("xnli"), False),
        ("test sets of another release", get_task("udpos"), False),
        ("dev", get_task("tydiqa-goldp"), True),  # whose test rows are called so
    ],
)
def test_numbers_on_other_rows_than_the_test_split_are_not_judged(split, task, is_judged):
    name = task.name if task else "cats"
    table = a_table().model_copy(update={"split": split, "task": name})
    [run, *_] = runs = stored([a_seed(number, task=name, en=80.0, es=70.0) for number in (1, 2, 3)])
    assert bool(judge(runs, table, task=task)) is is_judged
    reason = f"the published numbers are not on the task's test split (their split: {split})"
    assert why_none(run.record, table, task) == ("" if is_judged else reason)
    assert [reason in line for line in build(runs, name, table, known=task).footer].count(True) == (not is_judged)


def test_numbers_on_a_split_of_an_unknown_task_are_not_judged():
    """It may be what the data call their test split."""
    table = a_table().model_copy(update={"split": "validation", "task": "cats"})
    runs = stored([a_seed(number, task="cats", en=80.0, es=70.0) for number in (1, 2, 3)])
    reason = why_none(runs[0].record, table, None)
    assert judge(runs, table) == []
    assert reason.startswith("the published numbers are on split validation, and the name of the task's test split is")
    assert reason.endswith("give the folder of its task file with --tasks-dir")


def test_bundled_tables_are_judged_unless_they_are_on_other_data():
    apart = {
        table.name
        for table in all_references().values()
        if why_other_numbers(table, table.task, table.metric, get_task(table.task))
    }
    assert apart == {"xpos-2022"}


def test_retrieval_has_no_seeds_that_would_settle_it():
    table, task = get_reference("jiant-tatoeba"), get_task("tatoeba")
    [row] = table.rows
    run = run_record(
        task="tatoeba",
        kind="sentence-retrieval",
        chance=None,
        training=None,
        limits=Limits(),
        model=run_record().model.model_copy(update={"id": row.model}),
        recipe=RecipeRecord(name="xtreme-vectors", values={"layer": 14, "pooling": "mean"}, overrides={}),
        scores={
            language: score(value / 100 + 0.014, task.expected_rows.of("test", language))
            for language, value in row.cells.items()
        },
    )
    verdict = judged([run], table, task=task)
    cell = verdict.cells["te"]
    assert (cell.outcome, cell.comparison.seeds_needed, verdict.mean.outcome) == ("agrees", None, "not reproduced")
    for sentence in (cell.sentence, verdict.mean.sentence):
        assert "seed" not in sentence and " The standard deviation between evaluations, 0." in sentence


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_spread_of_a_mean_is_not_credited_to_the_source(n_seeds):
    verdict = judged(seeds(*[80.0] * n_seeds), a_table(spread={"en": 0.2, "es": 0.3}, n_seeds=5))
    of_mean = math.sqrt(0.2**2 + 0.3**2 + 2 * 0.5 * 0.2 * 0.3) / 2
    pooled = of_mean * math.sqrt(4 / (4 + n_seeds - 1))  # our seeds do not differ
    how = "follows from the source's for each language, with an assumed correlation of 0.5"
    assert f"The standard deviation between seeds, {pooled:.2f} points, {how}" in verdict.mean.sentence
    assert "points, is taken from the source" in verdict.cells["es"].sentence
