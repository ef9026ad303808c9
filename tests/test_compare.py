"""Comparing two runs: how they are named, which rows are paired, and the numbers and the sentence that follow."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from tests.helpers.paired_answers import answers_with, paired_difference, write_run
from xeval.judging.comparison.compare import compare
from xeval.judging.comparison.flips import flipped_rows
from xeval.judging.comparison.named_runs import find_runs
from xeval.judging.comparison.paired_runs import pair
from xeval.judging.comparison.paired_tests import group_p
from xeval.results.records import Failure, Limits, RecipeRecord
from xeval.results.store import save_record
from xeval.support.errors import DataError, StoreError, UnknownNameError

NAN = Failure(reason="the loss became nan", invocation=None)
RNG = np.random.default_rng(1)
N = 60
GROUPS = np.repeat(np.arange(N // 3), 3)
LABELS = np.arange(N) % 3
RIGHT_A, RIGHT_B = RNG.random(N) < 0.5, RNG.random(N) < 0.75


# ── runs side by side ──


@pytest.fixture
def two(tmp_path):
    """`two(...)`: runs A and B in separate folders, with these changes to B."""

    def write(right_a=RIGHT_A, right_b=RIGHT_B, languages=("en", "de"), **changes_of_b):
        a = {language: answers_with(LABELS, right_a) for language in languages}
        b = {language: answers_with(LABELS, right_b) for language in languages}
        first = write_run(tmp_path / "a", a, LABELS, GROUPS)
        return [first], [write_run(tmp_path / "b", b, **({"labels": LABELS, "groups": GROUPS} | changes_of_b))]

    return write


def test_numbers_are_computed_from_the_rows(two):
    comparison = compare(pair(*two(model="org/n")), seed=7, n_resamples=100)
    en = comparison.languages[0]
    assert (en.language, en.n_rows) == ("en", N)
    assert (en.value_a, en.value_b) == pytest.approx((RIGHT_A.mean(), RIGHT_B.mean()))
    table = Counter(zip(RIGHT_A.tolist(), RIGHT_B.tolist(), strict=True))
    assert (en.only_a_right, en.only_b_right) == (table[True, False], table[False, True])
    assert en.mcnemar_p == stats.binomtest(table[True, False], table[True, False] + table[False, True]).pvalue
    assert en.group_p == group_p(RIGHT_B.astype(int) - RIGHT_A, GROUPS)
    assert en.holm_p == pytest.approx(min(1, 2 * en.group_p))  # two languages with the same p
    assert en.interval == paired_difference(RIGHT_A, RIGHT_B, GROUPS, 7, 100)
    assert comparison.mean.difference == pytest.approx(en.interval.difference)
    assert (comparison.mean.seed, comparison.mean.n_resamples, comparison.resampled) == (7, 100, "premises")
    assert (comparison.name_a, comparison.name_b) == ("org/m", "org/n")


def test_the_same_seed_gives_the_same_comparison(two):
    runs = two()
    assert compare(pair(*runs), 3, 200) == compare(pair(*runs), 3, 200) != compare(pair(*runs), 4, 200)


def test_runs_on_other_rows_are_refused_in_one_line(two):
    for changes in ({"rows_sha256": "b" * 64}, {"labels": LABELS[:30], "groups": None, "right_b": RIGHT_B[:30]}):
        right = changes.pop("right_b", RIGHT_B)
        a, _ = two()
        answers = {"en": answers_with(changes.get("labels", LABELS), right)}
        b = write_run(a[0].folder / "other", answers, **({"labels": LABELS} | changes))
        with pytest.raises(DataError, match="en: not evaluated on the same rows") as refused:
            pair(a, [b])
        assert "\n" not in str(refused.value)


def test_other_gold_labels_under_the_same_hash_are_refused(two):
    with pytest.raises(DataError, match="gold labels in en differ"):
        pair(*two(labels=(LABELS + 1) % 3))


def test_same_run_or_another_task_is_refused(two):
    a, b = two()
    with pytest.raises(StoreError, match="is on both sides"):
        pair(a, [*a, *b])
    with pytest.raises(StoreError, match="A is of task cats and B of task dogs"):
        pair(*two(task="dogs"))


def test_languages_that_one_side_lacks_are_left_out(two, tmp_path):
    a, _ = two(languages=("en", "de", "es"))
    b = write_run(tmp_path / "c", dict.fromkeys(("de", "en", "zh"), LABELS), LABELS, GROUPS)
    paired = pair(a, [b])
    assert [language.language for language in paired.languages] == ["en", "de"]
    assert "Languages that some runs lack are left out: es zh." in paired.notes
    c = write_run(tmp_path / "d", {"zh": LABELS}, LABELS, GROUPS)
    with pytest.raises(StoreError, match="no language in common"):
        pair(a, [c])


def test_old_files_without_premises_are_compared_by_row(tmp_path):
    a = write_run(tmp_path / "a", {"en": answers_with(LABELS, RIGHT_A)}, LABELS)
    b = write_run(tmp_path / "b", {"en": answers_with(LABELS, RIGHT_B)}, LABELS)
    comparison = compare(pair([a], [b]))
    assert comparison.resampled == "rows" and "those intervals are too narrow" in comparison.notes[-1]
    assert comparison.languages[0].interval == paired_difference(RIGHT_A, RIGHT_B, np.arange(N))
    newer = write_run(tmp_path / "c", {"en": answers_with(LABELS, RIGHT_B)}, LABELS, GROUPS)
    assert compare(pair([a], [newer])).resampled == "premises"  # the same rows, so the other file's premises apply


def some_seeds(folder, seeds, share, **changes):
    rng = np.random.default_rng([int(100 * share), *seeds])
    rights = {seed: rng.random(N) < share for seed in seeds}
    runs = [
        write_run(folder, {"en": answers_with(LABELS, right)}, LABELS, GROUPS, seed, **changes)
        for seed, right in rights.items()
    ]
    return runs, rights


def test_seeds_are_paired_by_number_and_averaged_by_row(tmp_path):
    a, rights_a = some_seeds(tmp_path / "a", [1, 2, 3], 0.5)
    b, rights_b = some_seeds(tmp_path / "b", [2, 3, 4], 0.7)
    comparison = compare(pair(a, b), n_resamples=100)
    assert comparison.seeds_a == comparison.seeds_b == [2, 3]
    assert [note for note in comparison.notes if "left out" in note] == [
        "A: seeds that the other side lacks are left out: 1.",
        "B: seeds that the other side lacks are left out: 4.",
    ]
    mean_a, mean_b = (np.mean([rights[seed] for seed in (2, 3)], axis=0) for rights in (rights_a, rights_b))
    assert comparison.languages[0].interval == paired_difference(mean_a, mean_b, GROUPS, n_resamples=100)
    by_seed = [rights_b[seed].mean() - rights_a[seed].mean() for seed in (2, 3)]
    assert comparison.languages[0].seed_differences == comparison.mean_seed_differences == pytest.approx(by_seed)
    assert comparison.languages[0].mcnemar_p is None  # a test of one answer per row
    sums = sum(rights_b[seed].astype(int) - rights_a[seed] for seed in (2, 3))
    assert comparison.languages[0].group_p == group_p(sums, GROUPS)


def test_sides_without_common_seeds_average_their_own(tmp_path):
    a, rights_a = some_seeds(tmp_path / "a", [1, 2], 0.5)
    b, rights_b = some_seeds(tmp_path / "b", [3, 4, 5], 0.7)
    comparison = compare(pair(a, b), n_resamples=100)
    assert (comparison.seeds_a, comparison.seeds_b, comparison.mean_seed_differences) == ([1, 2], [3, 4, 5], [])
    sums = 2 * sum(right.astype(int) for right in rights_b.values()) - 3 * sum(map(np.int64, rights_a.values()))
    assert comparison.languages[0].group_p == group_p(sums, GROUPS)
    assert any("no seed in common" in note for note in comparison.notes)


def test_failed_or_collapsed_seed_is_left_out(tmp_path):
    a, _ = some_seeds(tmp_path / "a", [1, 2, 3], 0.8)
    b, _ = some_seeds(tmp_path / "b", [1], 0.9)
    b += [write_run(tmp_path / "b", {"en": np.zeros(N, int)}, LABELS, GROUPS, seed=2)]  # one label throughout
    b += [write_run(tmp_path / "b", {}, LABELS, seed=3, status="failed", failures={"train": NAN})]
    comparison = compare(pair(a, b), n_resamples=100)
    assert comparison.seeds_a == comparison.seeds_b == [1]
    assert any(
        note.startswith("B: seed 2 is left out; its training collapsed: accuracy in en") for note in comparison.notes
    )
    assert any(note == "B: seed 3 is left out because it failed: the loss became nan." for note in comparison.notes)
    with pytest.raises(StoreError, match="B: none of its runs has scores"):
        pair(a, b[2:])


# ── the sentence ──


def conclusion(two, right_a, right_b, **changes):
    return compare(pair(*two(right_a, right_b, model="org/n", **changes))).conclusion


def test_conclusion_names_the_better_side(two):
    worse, better = np.arange(N) % 3 == 0, np.arange(N) % 10 != 0
    assert conclusion(two, worse, better).startswith(
        "B (org/n) is better than A (org/m) by 56.7 points on the mean of 2 languages (95 % interval of B minus A"
    )
    text = conclusion(two, better, worse)
    assert text.startswith("A (org/m) is better than B (org/n)") and "A is better in 2 (en de)" in text
    assert text.endswith("one training run on each side cannot show what other seeds would give.")


def test_conclusion_without_a_difference_claims_no_equality(two):
    flipped = RIGHT_A.copy()
    flipped[0] = ~flipped[0]
    text = conclusion(two, RIGHT_A, flipped, languages=("en",))
    assert text.startswith("No difference is shown in en: A (org/m) and B (org/n) are 1.7 points apart (95 % interval")
    assert "which does not show that they are equal" in text and "Holm" not in text


# ── which rows flipped ──


def test_flips_are_the_rows_whose_correctness_differs(two):
    flipped = flipped_rows(pair(*two()), "de", None)
    assert [flip.row for flip in flipped.rows] == np.flatnonzero(RIGHT_A != RIGHT_B).tolist()
    assert flipped.n_won == int((RIGHT_B & ~RIGHT_A).sum())
    for flip in flipped.rows:
        assert flip.label == LABELS[flip.row]
        assert (flip.prediction_a == flip.label, flip.prediction_b == flip.label) == (flip.right_a, flip.right_b)
    with pytest.raises(UnknownNameError, match="unknown language that A and B share 'dd': did you mean 'de'"):
        flipped_rows(pair(*two()), "dd", None)


def test_flip_with_several_seeds_is_one_of_most_seeds(tmp_path):
    right = {"a": [(1, 1, 1, 0), (1, 1, 0, 0), (1, 0, 0, 0)], "b": [(0, 0, 1, 1), (0, 1, 0, 1), (0, 1, 0, 1)]}
    labels = np.arange(12) % 3
    always = (1,) * 8  # rows that all runs get right, so that no training counts as collapsed
    a, b = (
        [
            write_run(tmp_path / side, {"en": answers_with(labels, np.array(row + always, bool))}, labels, seed=seed)
            for seed, row in enumerate(rows)
        ]
        for side, rows in right.items()
    )
    flipped = flipped_rows(pair(a, b), "en", None)
    assert [(flip.row, flip.right_a, flip.right_b) for flip in flipped.rows] == [(0, 3, 0), (3, 0, 3)]
    assert flipped.n_seeds == (3, 3) and flipped.n_won == 1


# ── names of runs and models ──


@pytest.fixture
def results(tmp_path):
    answers = {"en": answers_with(LABELS, RIGHT_A)}
    for seed in (1, 2):
        for learning_rate in (2e-5, 5e-5):
            write_run(tmp_path / "results", answers, LABELS, GROUPS, seed, learning_rate=learning_rate)
    write_run(tmp_path / "results", answers, LABELS, GROUPS, model="mini")
    return tmp_path / "results"


def test_runs_and_models_are_found_by_folder_or_name(results):
    folder = results / "cats" / "org--m"
    assert [run.folder.name for run in find_runs(str(folder / "r-seed1-2e-05"), results)] == ["r-seed1-2e-05"]
    for word in (f"{folder}:learning_rate=0.00002", "org/m:learning_rate=2e-05", "org/m:learning_rate=2e-5,recipe=r"):
        assert [run.folder.name for run in find_runs(word, results)] == ["r-seed1-2e-05", "r-seed2-2e-05"]
    assert [run.folder.name for run in find_runs("org/m:learning_rate=2e-5,seed=2", results)] == ["r-seed2-2e-05"]
    assert [run.folder.parent.name for run in find_runs("mini", results)] == ["mini"]


def test_ambiguous_name_is_refused_with_the_choices(results):
    with pytest.raises(StoreError) as refused:
        find_runs("org/m", results)
    assert str(refused.value) == (
        "org/m: it holds 2 configurations; name one: org/m:learning_rate=2e-05, org/m:learning_rate=5e-05"
    )
    with pytest.raises(StoreError, match=r"org/m:learning_rate=2e-05,seed=1, org/m:learning_rate=5e-05,seed=1$"):
        find_runs("org/m:seed=1", results)
    for named in ("org/m:learning_rate=2e-05", "org/m:learning_rate=5e-05"):
        assert len(find_runs(named, results)) == 2
    with pytest.raises(StoreError, match="none of its runs matches; name one"):
        find_runs("org/m:learning_rate=1", results)


def test_unknown_name_gets_the_nearest_model_suggested(results, tmp_path):
    with pytest.raises(UnknownNameError, match="'mimi': did you mean 'mini'"):
        find_runs("mimi", results)
    with pytest.raises(UnknownNameError):
        find_runs("m" * 5000, results)
    with pytest.raises(StoreError, match="nowhere: no runs in a folder of that name"):
        find_runs("nowhere", tmp_path / "empty")


def test_sides_are_named_by_what_distinguishes_them(results, tmp_path):
    low, high = (find_runs(f"org/m:learning_rate={rate}", results) for rate in ("2e-5", "5e-5"))
    paired = pair(low, high)
    assert (paired.name_a, paired.name_b) == ("org/m, learning_rate 2e-05", "org/m, learning_rate 5e-05")
    paired = pair(low[:1], low[1:])
    assert (paired.name_a, paired.name_b) == ("org/m", "org/m")
    assert "A (org/m, seed 1) and B (org/m, seed 2) are 0.0 points apart" in compare(paired, n_resamples=10).conclusion
    again = write_run(tmp_path / "again", {"en": LABELS}, LABELS, GROUPS, learning_rate=2e-5)
    paired = pair(low[:1], [again])
    assert (paired.name_a, paired.name_b) == (str(low[0].folder), str(again.folder))


def test_choices_name_no_more_than_tells_them_apart(results):
    """The name of a recipe implies its values."""
    run = write_run(results, {"en": answers_with(LABELS, RIGHT_A)}, LABELS, GROUPS, model="mini", seed=2)
    values = {"learning_rate": 1e-5, "epochs": 5.0, "max_length": 256, "patience": 30}
    recipe = RecipeRecord(name="another", values=values, overrides={})
    save_record(run.folder, run.record.model_copy(update={"recipe": recipe}))
    limits = Limits(max_train=1000)
    run = write_run(results, {"en": answers_with(LABELS, RIGHT_A)}, LABELS, GROUPS, model="mini", seed=3)
    save_record(run.folder, run.record.model_copy(update={"limits": limits}))
    with pytest.raises(StoreError) as refused:
        find_runs("mini", results)
    choices = str(refused.value).partition("name one: ")[2].split(", ")
    assert set(choices) == {"mini:recipe=another", "mini:recipe=r,max_train=None", "mini:recipe=r,max_train=1000"}
    assert [len(find_runs(choice, results)) for choice in choices] == [1, 1, 1]
