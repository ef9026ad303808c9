"""How much of its teacher a student keeps, checked against hand counts and a slow bootstrap."""

import json
import re
import sys
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from scipy import stats

from tests.helpers.paired_answers import answers_with, write_run
from xeval.cli import main
from xeval.judging.comparison.paired_runs import pair
from xeval.judging.comparison.retention import Cost, cohens_kappa, retention
from xeval.report.comparison.retention import markdown as shown_in_markdown
from xeval.results.records import Timing
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError

N = 600
RNG = np.random.default_rng(11)
LABELS = RNG.integers(0, 3, N)
GROUPS = np.repeat(np.arange(N // 3), 3)


def right(share: float) -> np.ndarray:
    """(N,) bool, true in exactly this share of the rows."""
    places = np.random.default_rng(int(1000 * share)).permutation(N)
    return places < round(share * N)


TEACHER = {"en": 0.90, "de": 0.80, "ur": 0.70}
STUDENT = {"en": 0.85, "de": 0.72, "ur": 0.49}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    sides = [
        [write_run(results, {lang: answers_with(LABELS, right(n)) for lang, n in scores.items()}, LABELS, GROUPS,
                   model=name)]
        for name, scores in (("org/teacher", TEACHER), ("org/student", STUDENT))
    ]  # fmt: skip
    return results, *sides


@pytest.fixture(scope="module")
def found(runs):
    _, a, b = runs
    return retention(pair(a, b), a, b)


def test_kept_share_is_student_over_teacher(found):
    chance = 1 / 3
    for row in found.languages:
        a, b = TEACHER[row.language], STUDENT[row.language]
        assert row.kept.value == pytest.approx(b / a)
        assert row.kept_above_chance.value == pytest.approx((b - chance) / (a - chance))
        assert row.kept.low < row.kept.value < row.kept.high
    assert found.mean_kept.value == pytest.approx(sum(STUDENT.values()) / sum(TEACHER.values()))


def test_loss_splits_into_training_and_transfer(found):
    for row in found.languages:
        assert row.training_loss + row.transfer_loss == pytest.approx(row.value_a - row.value_b)
        assert row.training_loss == pytest.approx(0.05)
    by_language = {row.language: row.transfer_loss for row in found.languages}
    assert by_language == pytest.approx({"en": 0.0, "de": 0.03, "ur": 0.16}, abs=1e-9)
    assert "it loses 5.0 points in English and 9.5 more elsewhere on average, and keeps least in ur" in found.conclusion


def test_interval_matches_a_slow_group_bootstrap(found):
    a, b = right(TEACHER["ur"]).reshape(-1, 3), right(STUDENT["ur"]).reshape(-1, 3)
    rng, shares = np.random.default_rng(1), []
    for _ in range(2000):
        chosen = rng.integers(0, len(a), len(a))
        shares.append(b[chosen].sum() / a[chosen].sum())
    [row] = [row for row in found.languages if row.language == "ur"]
    assert (row.kept.low, row.kept.high) == pytest.approx(np.quantile(shares, [0.025, 0.975]), abs=0.01)


def test_kappa_matches_a_contingency_table(found):
    [row] = [row for row in found.languages if row.language == "de"]
    a, b = (answers_with(LABELS, right(side["de"])) for side in (TEACHER, STUDENT))
    table = np.zeros((3, 3))
    for one, other in zip(a, b, strict=True):
        table[one, other] += 1 / N
    agreed, expected = np.trace(table), (table.sum(axis=0) * table.sum(axis=1)).sum()
    assert row.kappa == pytest.approx((agreed - expected) / (1 - expected))


def test_kappa_of_full_and_of_chance_agreement():
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert cohens_kappa(labels, labels) == 1.0
    assert cohens_kappa(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])) == 0.0
    assert cohens_kappa(np.zeros(4, int), np.zeros(4, int)) == 1.0


def test_loss_is_not_split_without_english(tmp_path):
    sides = [
        [write_run(tmp_path, {"de": answers_with(LABELS, right(value))}, LABELS, GROUPS, model=name)]
        for name, value in (("org/a", 0.8), ("org/b", 0.6))
    ]
    [row] = retention(pair(*sides), *sides).languages
    assert (row.training_loss, row.transfer_loss) == (None, None)


def test_teacher_at_chance_has_no_share_above_chance(tmp_path):
    sides = [
        [write_run(tmp_path, {"de": answers_with(LABELS, right(value))}, LABELS, GROUPS, model=name)]
        for name, value in (("org/a", 0.34), ("org/b", 0.34))
    ]
    [row] = retention(pair(*sides), *sides).languages
    assert row.kept_above_chance is None


@pytest.mark.parametrize("how", ["terminal", "markdown", "json"])
def test_retention_is_shown_in_every_format(runs, found, how, monkeypatch, capsys):
    results = str(runs[0])
    words = ["xeval", "compare", "org/teacher", "org/student", "--retention", "--results", results, "--format", how]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as left:
        main()
    shown = capsys.readouterr().out
    assert left.value.code == 0
    if how == "json":
        content = json.loads(shown)
        assert content["conclusion"] == found.conclusion
        assert content["mean_kept"]["value"] == found.mean_kept.value
    else:
        assert found.conclusion in shown and "70.0" in shown and "49.0" in shown


def test_teacher_without_student_is_refused(runs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["xeval", "compare", "org/teacher", "--retention", "--results", str(runs[0])])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "wanted a student B as well as the teacher A" in said and said.count("\n") == 1


def sides_with(folder, teacher: dict[str, float], student: dict[str, float]):
    """Runs of a teacher and a student that are right in these shares of the rows."""
    return [
        [write_run(folder, {lang: answers_with(LABELS, right(n)) for lang, n in scores.items()}, LABELS, GROUPS,
                   model=name)]
        for name, scores in (("org/teacher", teacher), ("org/student", student))
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["terminal", "markdown", "json"])
def test_nothing_is_kept_of_a_teacher_at_zero(tmp_path, how, monkeypatch, capsys):
    a, b = sides_with(tmp_path, {"en": 0.9, "th": 0.0, "ur": 0.6}, {"en": 0.8, "th": 0.2, "ur": 0.5})
    found = retention(pair(a, b), a, b)
    assert [row.kept is None for row in found.languages] == [row.language == "th" for row in found.languages]
    assert "keeps least in ur (83.3 %)" in found.conclusion
    words = ["xeval", "compare", "org/teacher", "org/student", "--retention", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*words, "--format", how])
    with pytest.raises(SystemExit) as left:
        main()
    shown = capsys.readouterr().out
    assert left.value.code == 0 and "nan" not in shown.lower()
    if how == "json":
        assert [row["kept"] for row in json.loads(shown)["languages"] if row["language"] == "th"] == [None]


def test_teacher_at_zero_everywhere_is_refused(tmp_path):
    a, b = sides_with(tmp_path, {"en": 0.0, "th": 0.0}, {"en": 0.8, "th": 0.2})
    with pytest.raises(StoreError, match="org/teacher scores 0 in every language"):
        retention(pair(a, b), a, b)


def test_rows_of_one_group_give_no_interval(tmp_path):
    """As the three hypotheses of one premise, which say nothing about another premise."""
    labels, one_group = np.array([0, 1, 2]), np.zeros(3, dtype=int)
    a, b = (
        [write_run(tmp_path, {"en": answers_with(labels, correct)}, labels, one_group, model=name)]
        for name, correct in (("org/teacher", np.array([True] * 3)), ("org/student", np.array([True, True, False])))
    )
    found = retention(pair(a, b), a, b)
    assert (found.mean_kept.value, found.mean_kept.low, found.mean_kept.high) == (pytest.approx(2 / 3), None, None)
    assert "keeps 66.7 % of the accuracy" in found.conclusion
    assert "(no interval, since a language's rows are all of one group)" in found.conclusion
    [line] = [line for line in shown_in_markdown(found, None).splitlines() if line.startswith("| en")]
    assert [cell.strip() for cell in line.split("|")][4:6] == ["66.7", "–"]


def test_better_student_is_said_to_gain(tmp_path):
    a, b = sides_with(tmp_path, {"en": 0.8, "ur": 0.5}, {"en": 0.9, "ur": 0.55})
    found = retention(pair(a, b), a, b)
    assert "; it gains 10.0 points in English and 5.0 fewer elsewhere on average" in found.conclusion
    costs = (Cost(1000.0, 3_000_000), Cost(2000.0, 2_000_000))
    shown = shown_in_markdown(replace(found, costs=costs), None)
    assert "it gains 15.0 points for each millisecond saved" in shown and "it gains 1.88 points for each MB" in shown


def test_printed_parts_of_a_loss_add_up(tmp_path):
    # zh: 46.83 - 54.67 = -7.83, printed as 46.8 - 54.7; of that, 1.17 in transfer
    a, b = sides_with(tmp_path, {"en": 310 / N, "zh": 281 / N}, {"en": 364 / N, "zh": 328 / N})
    table = shown_in_markdown(retention(pair(a, b), a, b), None)
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 2 and cells[1] in ("en", "zh"):
            loss, at_home, in_transfer = map(Decimal, cells[7:10])
            assert loss == Decimal(cells[2]) - Decimal(cells[3]) == at_home + in_transfer


def test_sentence_agrees_with_the_printed_parts(tmp_path):
    a, b = sides_with(tmp_path, {"en": 541 / N, "de": 482 / N}, {"en": 540 / N, "de": 481 / N})
    text = shown_in_markdown(retention(pair(a, b), a, b), None)
    [line] = [line for line in text.splitlines() if line.startswith("| de")]
    assert [cell.strip() for cell in line.split("|")][7:10] == ["0.1", "0.2", "-0.1"]
    assert "it loses 0.2 points in English and 0.1 fewer elsewhere on average" in text


def test_table_has_one_line_a_language_at_80_columns(tmp_path, command, monkeypatch):
    sides_with(tmp_path, {"en": 0.9, "hi": 0.7}, {"en": 0.8, "hi": 0.5})
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = command("compare", "org/teacher", "org/student", "--retention", "--results", tmp_path)
    lines = re.sub(r"\x1b\[[\d;]*m", "", out).splitlines()
    [row] = [line for line in lines if line.startswith("hi ")]
    assert row.endswith(" Devanagari") and len(row) <= 80
    assert re.search(r" 7\d\.\d +6\d\.\d to \d\d\.\d ", row)  # what is kept, and its interval


def test_interval_of_the_mean_matches_a_slow_bootstrap(found):
    a, b = ([right(value).reshape(-1, 3) for value in side.values()] for side in (TEACHER, STUDENT))
    rng, shares = np.random.default_rng(2), []
    for _ in range(2000):
        chosen = rng.integers(0, N // 3, N // 3)  # the languages are translations, so they are drawn together
        shares.append(sum(own[chosen].sum() for own in b) / sum(own[chosen].sum() for own in a))
    kept = found.mean_kept
    assert (kept.low, kept.high) == pytest.approx(np.quantile(shares, [0.025, 0.975]), abs=0.01)


def test_only_evaluation_counts_as_speed(tmp_path):
    timing = {
        "train": Timing(wall_s=100.0, rows=9000),
        "evaluate/de": Timing(wall_s=2.0, rows=600),
        "evaluate/ur": Timing(wall_s=3.0, rows=600),
    }
    answers = dict.fromkeys(("de", "ur"), answers_with(LABELS, right(0.8)))
    sides = [[write_run(tmp_path, answers, LABELS, GROUPS, model=name, timing=timing)] for name in ("org/a", "org/b")]
    assert [cost.rows_per_s for cost in retention(pair(*sides), *sides).costs] == [1200 / 5] * 2


def test_speeds_are_of_the_languages_that_both_have(tmp_path):
    """Rows of other languages have other lengths."""
    seconds = {"en": 1.0, "de": 2.0, "ur": 30.0}
    sides = []
    for name, languages in (("org/a", ["en", "de", "ur"]), ("org/b", ["en", "de"])):
        answers = {language: answers_with(LABELS, right(0.8)) for language in languages}
        timing = {f"evaluate/{language}": Timing(wall_s=seconds[language], rows=N) for language in languages}
        sides.append([write_run(tmp_path, answers, LABELS, GROUPS, model=name, timing=timing)])
    assert [cost.rows_per_s for cost in retention(pair(*sides), *sides).costs] == [2 * N / 3] * 2


def test_fertility_is_that_of_the_student_where_known(tmp_path):
    kept = {"en": 0.9, "de": 0.8, "es": 0.82, "sw": 0.4, "th": 0.5, "ur": 0.6}
    pieces = {"en": 1.2, "de": 1.5, "es": 1.4, "sw": 2.5, "th": None, "ur": 2.1}
    sides = [
        [write_run(tmp_path, {lang: answers_with(LABELS, right(n)) for lang, n in own.items()}, LABELS, GROUPS,
                   model=name)]
        for name, own in (("org/a", dict.fromkeys(kept, 0.95)), ("org/b", kept))
    ]  # fmt: skip
    record = sides[1][0].record
    scores = {
        lang: own.model_copy(
            update={"tokenization": own.tokenization.model_copy(update={"pieces_per_word": pieces[lang]})}
        )
        for lang, own in record.scores.items()
    }
    student = [StoredRun(sides[1][0].folder, record.model_copy(update={"scores": scores}))]
    found = retention(pair(sides[0], student), sides[0], student, n_resamples=50)
    assert {row.language: row.fertility for row in found.languages} == pieces
    known = [lang for lang in kept if pieces[lang] is not None]
    expected = stats.spearmanr([pieces[lang] for lang in known], [kept[lang] for lang in known])
    assert found.fertility_correlation == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize(
    ("teacher", "student", "said"),
    [
        ({"en": 0.5, "ur": 0.5}, {"en": 0.52, "ur": 0.46}, "it gains 2.0 points in English and loses 4.0 elsewhere"),
        ({"en": 0.5, "ur": 0.5}, {"en": 0.46, "ur": 0.52}, "it loses 4.0 points in English and gains 2.0 elsewhere"),
        ({"en": 0.5, "ur": 0.5}, {"en": 0.46, "ur": 0.50}, "it loses 4.0 points in English and 4.0 fewer elsewhere"),
    ],
)
def test_loss_beside_a_gain_is_said_plainly(tmp_path, teacher, student, said):
    a, b = sides_with(tmp_path, teacher, student)
    assert f"; {said} on average" in retention(pair(a, b), a, b).conclusion


def test_notes_leave_out_a_home_that_was_not_tested(tmp_path):
    a, b = sides_with(tmp_path, {"de": 0.5, "ur": 0.5}, {"de": 0.4, "ur": 0.4})
    found = retention(pair(a, b), a, b)
    text = shown_in_markdown(found, None)
    assert "Loss, in points. Kappa" in text and "trained models" not in text
