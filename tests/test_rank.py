"""Many models on the same rows are compared, ranked and shown: checked against slow variances and a known truth."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from tests.helpers.paired_answers import answers_with, write_run
from tests.helpers.rank_simulation import WORLDS, describe, rates
from xeval.judging.comparison.paired_runs import usable
from xeval.judging.comparison.ranked_runs import load_contest
from xeval.judging.comparison.ranking import ALPHA, Scope, ScoredModel, letters_of, pulls_of, rank
from xeval.judging.equivalence import Spread
from xeval.report.matrix import build
from xeval.results.configurations import by_configuration
from xeval.results.records import NO_TRAINING, RecipeRecord
from xeval.results.store import StoredRun
from xeval.support.errors import DataError, StoreError

RNG = np.random.default_rng(3)
N = 600
GROUPS = np.repeat(np.arange(N // 3), 3)
LABELS = np.arange(N) % 3
HARD = RNG.random(N)  # how hard a row is, for every model
SCOPE = Scope("cats", "Cats", "accuracy", "pairs", "premises", ["en"], N, [])
ASSUMED = Spread(0.5, 4.0)
MODELS = {"org/good": 0.9, "org/fair": 0.7, "org/alike": 0.69, "org/poor": 0.5}


def model(name: str, right: np.ndarray, is_drawn: bool = True) -> ScoredModel:
    """From (S, N) booleans, leaving out groups one by one."""
    left_out = np.array([[own[group != GROUPS].mean() for group in range(N // 3)] for own in right])
    values = right.mean(axis=1).tolist()
    return ScoredModel(name, list(range(len(right))), is_drawn, {}, values, pulls_of(left_out))


def rights(share: float, n_seeds: int, rng: np.random.Generator = RNG) -> np.ndarray:
    return HARD + 0.2 * rng.standard_normal((n_seeds, N)) < share


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("results"), np.random.default_rng(5)
    for name, share in MODELS.items():
        for seed in (1, 2, 3):
            answers = {
                lang: answers_with(LABELS, rights(share - less, 1, rng)[0]) for lang, less in (("en", 0), ("de", 0.1))
            }
            write_run(folder, answers, LABELS, GROUPS, seed, name)
    return folder


# ── the statistics ──


def test_pulls_sum_to_the_variance_of_the_mean():
    [right] = rights(0.7, 1)
    sums = np.array([right[group == GROUPS].sum() for group in range(N // 3)])
    expected = sums.var(ddof=1) / len(sums) / 9  # three rows to a group
    assert float(np.sum(model("m", right[None]).pulls ** 2)) == pytest.approx(expected)


def test_variance_without_seeds_is_that_of_group_differences():
    a, b = rights(0.7, 1), rights(0.75, 1)
    ranking = rank([model("a", a, False), model("b", b, False)], ASSUMED, SCOPE)
    differences = [(b[0].astype(int) - a[0].astype(int))[group == GROUPS].sum() / 3 for group in range(N // 3)]
    [pair] = ranking.pairs
    assert pair.standard_error == pytest.approx(np.std(differences, ddof=1) / math.sqrt(N // 3))
    assert pair.difference == pytest.approx(abs(b.mean() - a.mean())) and pair.holm_p == pair.p
    assert ranking.expected_sd is None


def test_seeds_add_variance_that_rows_do_not_show():
    """Rows × seeds: the variance is that of rows, plus that of seeds, less what both count."""
    sides = [rights(0.7, 4), rights(0.75, 4)]
    ranking = rank([model(str(place), own) for place, own in enumerate(sides)], ASSUMED, SCOPE)
    by_group = [own.reshape(4, N // 3, 3).mean(axis=2) for own in sides]  # (S, G)
    n_groups = N // 3
    difference = by_group[1].mean(axis=0) - by_group[0].mean(axis=0)
    rows = difference.var(ddof=1) / n_groups
    spreads = [own.mean(axis=1).var(ddof=1) for own in by_group]
    seeds = sum(max(own, np.mean(spreads)) / 4 for own in spreads)
    both = sum(
        own.var(axis=0, ddof=1).sum() / n_groups**2 / 4 for own in (side - side.mean(1)[:, None] for side in by_group)
    )
    both *= n_groups / (n_groups - 1)  # the jackknife's
    expected = max(0, rows - both) + max(0, seeds - both) + both
    assert ranking.pairs[0].standard_error == pytest.approx(math.sqrt(expected), rel=1e-6)
    assert not ranking.is_assumed


def test_single_seeds_take_the_assumed_spread():
    sides = [model(str(place), rights(share, 1)) for place, share in enumerate((0.7, 0.75))]
    found, wide = (rank(sides, Spread(sd, 4.0), SCOPE) for sd in (0.0, 5.0))
    assert found.is_assumed and wide.expected_sd == pytest.approx(0.05)
    more = wide.pairs[0].standard_error ** 2 - found.pairs[0].standard_error ** 2
    assert more == pytest.approx(2 * 0.05**2)


def test_model_with_varied_seeds_has_larger_errors():
    steady = [model(str(place), rights(0.7, 3)) for place in range(3)]
    shaky = model("shaky", np.concatenate([rights(share, 1) for share in (0.5, 0.7, 0.9)]))
    ranking = rank([*steady, shaky], ASSUMED, SCOPE)
    names = [one.model.name for one in ranking.models]
    errors = {True: [], False: []}
    for pair in ranking.pairs:
        errors["shaky" in (names[pair.better], names[pair.worse])].append(pair.standard_error)
    assert min(errors[True]) > max(errors[False])


def test_ranks_count_models_shown_better_and_worse(results):
    contest = load_contest(by_configuration_of(results))
    ranking = rank(contest.models, contest.assumed, contest.scope)
    places = {one.model.name.partition(",")[0]: (one.best_rank, one.worst_rank, one.letters) for one in ranking.models}
    assert places == {
        "org/good": (1, 1, "a"), "org/fair": (2, 3, "b"), "org/alike": (2, 3, "b"), "org/poor": (4, 4, "c"),
    }  # fmt: skip
    assert (
        ranking.languages == ["en", "de"] and "is first on the mean of 2 languages. 5 of 6 pairs" in ranking.conclusion
    )


def by_configuration_of(results):
    from xeval.results.store import load_runs

    return by_configuration(load_runs(results))


def test_values_are_those_of_the_records(results):
    configurations = by_configuration_of(results)
    for own, one in zip(configurations.values(), load_contest(configurations).models, strict=True):
        for language in ("en", "de"):
            expected = np.mean([run.record.scores[language].value for run in own])
            assert one.languages[language] == pytest.approx(expected)
        assert one.value == pytest.approx(np.mean(list(one.languages.values())))


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_letters_are_shared_by_indistinguishable_models(n):
    pairs = list(combinations(range(n), 2))
    for _ in range(30):
        apart = {pair for pair in pairs if RNG.random() < 0.5}
        letters = [set(own.split()) for own in letters_of(n, apart)]
        assert all(letters)
        assert {pair for pair in pairs if not letters[pair[0]] & letters[pair[1]]} == apart


def test_more_than_26_groups_have_letters_too():
    letters = letters_of(30, set(combinations(range(30), 2)))
    assert letters[:2] == ["a", "b"] and letters[25:28] == ["z", "aa", "ab"]


def test_rows_needed_would_distinguish_neighbours():
    rng = np.random.default_rng(0)
    sides = [model(name, rights(share, 1, rng), False) for name, share in (("a", 0.7), ("b", 0.72))]
    ranking = rank(sides, ASSUMED, SCOPE)
    below = ranking.models[0].next
    assert not below.pair.is_told_apart and below.seeds_needed is None and below.rows_needed > N
    times = math.ceil(below.rows_needed / N)  # repeat each row this often
    more = [replace(side, pulls=np.tile(side.pulls / times, (1, times))) for side in sides]
    assert rank(more, ASSUMED, SCOPE).pairs[0].is_told_apart


def test_seeds_needed_would_distinguish_neighbours():
    values = [[0.70, 0.72, 0.74], [0.68, 0.70, 0.72]]
    sides = [ScoredModel(str(place), [1, 2, 3], True, {}, own, np.zeros((3, 200))) for place, own in enumerate(values)]
    below = rank(sides, ASSUMED, SCOPE).models[0].next
    n = below.seeds_needed
    assert below.rows_needed is None
    t = 0.02 / (0.02 * math.sqrt(2 / n))
    df = 2 * (4 + n - 3)  # the spread is that of both models' three seeds and of the seeds to come
    assert 2 * stats.t.sf(t, df) <= ALPHA < 2 * stats.t.sf(0.02 / (0.02 * math.sqrt(2 / (n - 1))), df - 2)


def test_equal_answers_are_not_distinguished():
    right = rights(0.7, 3)
    ranking = rank([model("a", right), model("b", right)], ASSUMED, SCOPE)
    assert (ranking.pairs[0].p, ranking.models[0].next.rows_needed) == (1.0, None)
    assert "None of the 2 models is shown to be better than another" in ranking.conclusion


# ── what is refused ──


def test_other_rows_and_too_few_models_are_refused(tmp_path):
    a = write_run(tmp_path, {"en": LABELS}, LABELS, GROUPS)
    with pytest.raises(StoreError, match="at least two models with scores, got 1"):
        load_contest(by_configuration([a]))
    b = write_run(tmp_path, {"en": LABELS}, LABELS, GROUPS, model="org/other", rows_sha256="b" * 64)
    with pytest.raises(DataError, match=r"^org/m and org/other: en: not evaluated on the same rows"):
        load_contest(by_configuration([a, b]))


def test_languages_that_one_model_lacks_are_left_out(tmp_path):
    a = write_run(tmp_path, dict.fromkeys(("en", "de"), LABELS), LABELS, GROUPS)
    b = write_run(tmp_path, dict.fromkeys(("en", "es"), LABELS), LABELS, GROUPS, model="org/other")
    c = write_run(tmp_path, {"zh": LABELS}, LABELS, GROUPS, model="org/third")
    contest = load_contest(by_configuration([a, b]))
    assert contest.scope.languages == ["en"]
    assert "Languages that some runs lack are left out: de es." in contest.scope.notes
    with pytest.raises(StoreError, match="no language in which all 3 models have scores"):
        load_contest(by_configuration([a, b, c]))
    with pytest.raises(StoreError, match="org/other: not all of its runs have a score in de; it has en es"):
        load_contest(by_configuration([a, b]), ["de"])


# ── how it is shown ──


@pytest.mark.parametrize("ending", ["md", "html", "csv", "json"])
def test_every_format_lists_each_model_once_in_order(results, tmp_path, ending, command):
    path = tmp_path / f"ranking.{ending}"
    code, out, err = command("rank", "--results", results, "--output", path)
    assert (code, out, err) == (0, "", "")
    text = path.read_text()
    if ending == "json":
        content = json.loads(text)
        assert [line["model"].partition(",")[0] for line in content["models"]] == list(MODELS)
        assert len(content["pairs"]) == 6 and content["level"] == ALPHA
        assert content["models"][0]["languages"].keys() == {"en", "de"}
    elif ending == "csv":
        lines = list(csv.DictReader(io.StringIO(text)))
        assert [line["model"].partition(",")[0] for line in lines] == list(MODELS)
        assert [line["best_rank"] for line in lines] == ["1", "2", "2", "4"]
    else:
        begin = "| " if ending == "md" else '<tr><th scope="row">'
        rows = [line for line in text.splitlines() if line.startswith(f"{begin}org/")]
        assert [re.search(r"org/\w+", row)[0] for row in rows] == list(MODELS)
        assert ["2–3" in row for row in rows] == [False, True, True, False]


def test_models_are_named_as_in_compare(results, command):
    words = ("org/poor", "org/good", "--language", "de", "--results", results)
    code, out, _ = command("rank", *words)
    assert code == 0 and "org/good is first in de" in out and "org/fair" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--output", "x.pdf"), "wanted a name that ends in .md, .html, .csv, .json, got '.pdf'"),
        (("--task", "dogs"), "dogs"),
        (("org/poor",), "at least two models with scores, got 1"),
        (("org/none", "org/poor"), "org/none"),
    ],
)
def test_bad_input_is_one_line(results, words, said, command):
    code, out, err = command("rank", *words, "--results", results)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_hostile_names_are_harmless(tmp_path, command):
    for place, name in enumerate(("=cmd|' /C calc'!A0", "<script>alert(1)</script>[bold]x[/]")):
        write_run(tmp_path, {"en": answers_with(LABELS, RNG.random(N) < 0.5)}, LABELS, GROUPS, model=name)
        assert place < 2
    pages = {form: command("rank", "--results", tmp_path, "--format", form)[1] for form in ("html", "csv", "terminal")}
    assert "<script" not in pages["html"] and "\"'=cmd" in pages["csv"] and "[bold]" in pages["terminal"]


# ── error rates, with the truth known ──


@pytest.mark.parametrize("world", [WORLDS[4], WORLDS[6]], ids=lambda world: world.name)
def test_false_differences_are_as_rare_as_promised(world):
    n = 150
    shares = rates(world, n, seed=11)
    print(describe(world, shares))
    assert shares["false"] <= 0.05 + 3.09 * math.sqrt(0.05 * 0.95 / n)


def test_models_that_differ_are_distinguished():
    [world] = [world for world in WORLDS if world.name == "5 models, 2 points between each, seeds 5"]
    shares = rates(world, 20, seed=11)
    print(describe(world, shares))
    assert shares["false"] <= 0.05 and shares["found"] > 0.6


def test_neighbours_told_apart_need_nothing_more():
    ranking = rank([model("a", rights(0.9, 3)), model("b", rights(0.3, 3))], ASSUMED, SCOPE)
    below = ranking.models[0].next
    assert below.pair.is_told_apart
    assert (below.seeds_needed, below.rows_needed) == (None, None)


@pytest.mark.parametrize(("is_drawn", "said"), [(True, "with an assumed spread between seeds"), (False, "(at 5 %).")])
def test_only_models_with_seeds_have_an_assumed_spread(is_drawn, said):
    sides = [model(name, rights(0.7, 1), is_drawn) for name in ("a", "b")]
    assert said in rank(sides, ASSUMED, SCOPE).conclusion


def test_pulls_are_those_of_premises_left_out_in_all_languages(results):
    configurations = by_configuration_of(results)
    for runs, own in zip(configurations.values(), load_contest(configurations).models, strict=True):
        for run, pulls in zip(runs, own.pulls, strict=True):
            tables = [run.predictions(language) for language in ("en", "de")]
            right = np.mean([table["prediction"].to_numpy() == table["label"].to_numpy() for table in tables], axis=0)
            without = np.array([right[group != GROUPS].mean() for group in range(N // 3)])
            jackknife = (len(without) - 1) / len(without) * np.sum((without - without.mean()) ** 2)
            assert np.sum(pulls**2) == pytest.approx(jackknife)


def test_checkpoint_evaluated_as_it_is_has_no_other_seeds(tmp_path):
    runs = [write_run(tmp_path, {"en": LABELS}, LABELS, GROUPS, model=name) for name in ("org/a", "org/b")]
    recipe = RecipeRecord(name=NO_TRAINING, values={"max_length": 128}, overrides={})
    untrained = StoredRun(
        runs[1].folder, runs[1].record.model_copy(update={"recipe": recipe, "training": None, "seed": 0})
    )
    contest = load_contest(by_configuration([runs[0], untrained]))
    assert [own.is_drawn for own in contest.models] == [True, False]


def test_language_that_one_seed_lacks_is_left_out(tmp_path):
    runs = [
        write_run(tmp_path, dict.fromkeys(languages, LABELS), LABELS, GROUPS, seed, model)
        for model, seed, languages in (
            ("org/m", 1, ("en", "de")),
            ("org/m", 2, ("en",)),
            ("org/other", 1, ("en", "de")),
        )
    ]
    assert load_contest(by_configuration(runs)).scope.languages == ["en"]


@pytest.mark.parametrize(("width", "is_above"), [(80, True), (160, False)])
def test_long_names_leave_room_for_the_numbers(tmp_path, command, monkeypatch, width, is_above):
    names = ["distilbert/distilbert-base-multilingual-cased", "google-bert/bert-base-multilingual-cased"]
    for name, share in zip(names, (0.9, 0.6), strict=True):
        write_run(tmp_path, {"en": answers_with(LABELS, rights(share, 1)[0])}, LABELS, GROUPS, model=name)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    lines = re.sub(r"\x1b\[[\d;]*m", "", command("rank", "--results", tmp_path)[1]).splitlines()
    assert max(map(len, lines)) <= width
    [header] = [place for place, line in enumerate(lines) if line.startswith("model ")]
    assert {"seeds", "ranks", "groups", "Holm", "apart"} <= set(lines[header].split())
    named = [f"{place} {name}" for place, name in enumerate(names, 1)]
    assert (lines[1:3] == named) == is_above
    firsts = [line.split()[0] for line in lines[header + 1 : header + 3]]
    assert firsts == (["1", "2"] if is_above else names)


def test_rows_of_a_single_group_rank_nobody(tmp_path, command):
    for name, n_right in (("org/a", 3), ("org/b", 2)):
        right = np.arange(4) < n_right
        write_run(tmp_path, {"en": answers_with(LABELS[:4], right)}, LABELS[:4], np.zeros(4, np.int64), model=name)
    code, out, err = command("rank", "--results", tmp_path, "--format", "json")
    assert (code, err) == (0, "")
    [pair] = json.loads(out)["pairs"]
    assert (pair["difference"], pair["p"]) == (0.25, 1.0)


def test_collapsed_checkpoint_has_no_seed_and_no_training(tmp_path):
    """A checkpoint evaluated as it is, with its labels swapped, was said to have a seed whose training collapsed."""
    run = write_run(tmp_path, {"en": (LABELS + 1) % 3}, LABELS, GROUPS)
    recipe = RecipeRecord(name=NO_TRAINING, values={"max_length": 128}, overrides={})
    as_it_is = StoredRun(run.folder, run.record.model_copy(update={"recipe": recipe, "training": None}))
    notes: list[str] = []
    assert usable("A: ", [as_it_is], notes) == [as_it_is]
    assert notes == [
        "A: this checkpoint is compared anyway; it collapsed: accuracy in en is 0.0 % where chance is 33.3 %."
    ]
    [line] = [line for line in build([as_it_is], run.record.task, None).footer if line.startswith("Collapsed: ")]
    assert line.endswith("; shown.")
