"""The plan that `run` and `reproduce` print before they fetch or train anything."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xeval.data.hub import cached_folder
from xeval.data.model_files import glimpse
from xeval.definitions.model_name import ModelName
from xeval.definitions.reference import ReferenceRow
from xeval.definitions.registry import find_task, get_reference, get_task
from xeval.definitions.toml import Printed
from xeval.judging.equivalence import Published, Spread, assumed_spread, compare, spread_of_mean
from xeval.judging.power import MOST_SEEDS, chance_of, power_of, seeds_to_reproduce, share_reproduced
from xeval.judging.verdict import Tolerance, published_mean
from xeval.results.store import load_runs
from xeval.runs import forecast, outlook
from xeval.runs.grid import run

RECIPE = """\
name = "brief"
description = "Two epochs of three batches"
learning_rate = 2e-3
batch_size = 8
epochs = 2
max_length = 48
seed = 3
"""


@pytest.fixture
def words(tmp_path, mini, checkpoint_of):
    """The arguments of a run that takes a second."""
    (tmp_path / "brief.toml").write_text(RECIPE)
    options = {"--model": checkpoint_of("bert"), "--recipe": tmp_path / "brief.toml", "--data": mini.data}
    options |= {"--results": tmp_path / "results", "--device": "cpu", "--dtype": "float32"}
    return [mini.task_file, *[word for pair in options.items() for word in pair]]


@pytest.fixture
def options(tmp_path, mini, checkpoint_of, words):
    """The same run's arguments for the library."""
    return {
        "models": [str(checkpoint_of("bert"))],
        "recipe": str(tmp_path / "brief.toml"),
        "data": mini.data,
        "results": tmp_path / "results",
        "device": "cpu",
        "dtype": "float32",
    }


def test_a_dry_run_prints_the_plan_and_stops(words, tmp_path, command):
    code, out, err = command("run", *words, "--seed", "1-3", "--dry-run")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if not line.startswith("  ")]
    assert 2 <= len(lines) <= 5
    assert lines[0].startswith("Plan: 3 runs (mini-pairs; ")
    assert "seeds 1 to 3" in " ".join(out.split())
    assert "Time: not known here yet; xeval plan measures it" in out
    assert max(map(len, out.splitlines())) <= 80
    assert not (tmp_path / "results").exists()


def test_run_prints_its_plan_with_finished_runs(words, tmp_path, command):
    code, _, err = command("run", *words)
    assert (code, err.splitlines()[0][:12]) == (0, "Plan: 1 run ")
    again = command("run", *words)
    assert again[2].startswith("Plan: 1 run, already finished ")
    assert command("run", *words, "--quiet")[2] == ""
    [run] = load_runs(tmp_path / "results")
    assert run.record.seed == 3
    assert command("run", *words, "--seed", "3,4", "--dry-run")[1].startswith("Plan: 2 runs, 1 of them finished ")


def test_run_of_another_model_does_not_count_as_finished(words, command, checkpoint_of):
    assert command("run", *words)[0] == 0
    other = [checkpoint_of("distilbert") if word == checkpoint_of("bert") else word for word in words]
    assert command("run", *other, "--dry-run")[1].startswith("Plan: 1 run (mini-pairs; ")


@pytest.mark.parametrize(
    "other",
    [{"seeds": [4]}, {"overrides": {"epochs": 1}}, {"max_train": 8}, {"max_eval": 4}, {"every_checkpoint": True}],
)
def test_different_run_does_not_count_as_finished(mini, options, other):
    run(str(mini.task_file), **options)
    is_finished = [
        each.is_finished
        for given in (options, options | other)
        for each in outlook.outlook_of_grid(str(mini.task_file), **given).runs
    ]
    assert is_finished == [True, False]


def test_finished_runs_give_the_expected_time(mini, options, monkeypatch):
    monkeypatch.setattr(forecast, "LEAST_ROWS", 1)
    [record] = run(str(mini.task_file), seeds=[1], **options)
    [finished, other] = outlook.outlook_of_grid(str(mini.task_file), seeds=[1, 2], **options).runs
    evaluated = [timing for phase, timing in record.timing.items() if phase != "train"]
    train = record.timing["train"]
    evaluated_s = sum(timing.wall_s for timing in evaluated) / sum(timing.rows for timing in evaluated)
    n_tested = sum(score.n_rows for score in record.scores.values())
    assert finished.seconds == 0
    assert other.seconds == pytest.approx(2 * 24 * train.wall_s / train.rows + (2 * 12 + n_tested) * evaluated_s)
    [_, every] = outlook.outlook_of_grid(str(mini.task_file), seeds=[1, 2], every_checkpoint=True, **options).runs
    n_points = len(record.training.selection_curve)
    assert every.seconds == pytest.approx(other.seconds + n_points * n_tested * evaluated_s)


def test_a_plan_file_is_announced_too(words, tmp_path, command):
    command("plan", *words, "--quiet", "--output", tmp_path / "plan.json")
    code, out, _ = command("run", "--plan", tmp_path / "plan.json", "--dry-run")
    assert (code, out) == (0, "Plan: 1 run, as of the time it was made.\n")
    assert not (tmp_path / "results").exists()


def test_suite_is_announced_without_its_rows(command, tmp_path):
    words = ("--model", "mini-mbert", "--language", "de", "--results", tmp_path / "results", "--dry-run")
    code, out, _ = command("run", "xtreme", *words)
    assert code == 0
    assert "tasks without rows will be left out" in " ".join(out.split())


def test_interrupted_download_counts_as_missing(tmp_path):
    """huggingface_hub's cache holds one of two weight files."""
    repository, commit = Path(os.environ["HF_HOME"]) / "hub" / "models--org--large", "a" * 40
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": dict(zip("ab", names, strict=True))})
    )
    (snapshot / names[0]).write_bytes(b"")
    assert cached_folder("model", "org/large", None, ["config.json", "*.safetensors"]) == snapshot
    assert glimpse(ModelName.parse("org/large")) is None


def test_trials_of_a_sweep_are_counted(words, command):
    out = command("run", *words, "--dry-run", "--sweep", "epochs=1,2", "--sweep", "batch_size=4,8,16")[1]
    assert "after 6 trials for each model" in " ".join(out.split())
    assert "Time: not known before the trials." in out


def test_plan_says_which_verdicts_the_seeds_allow(command, tmp_path):
    words = ("--results", tmp_path / "results", "--dry-run")
    out = " ".join(command("run", "xnli", "--model", "mbert", *words)[1].split())
    assert "with one seed a published mean can be shown wrong, but not right" in out
    n = chance_of(get_reference("conneau-2020").rows[-1], get_task("xnli")).even_from
    out = " ".join(command("reproduce", "conneau-2020", *words)[1].split())
    assert f"seeds 1 to {n}, the fewest that give 2 of 5 rows an even chance" in out
    out = command("run", "xnli", "--model", "xlmr-base", "--max-eval", "9", *words)[1]
    assert "Verdicts: none, since these runs use only part of the rows" in out


# ── how many seeds a table needs ──


@pytest.mark.parametrize(
    "name",
    ["distilmbert-card", *(pytest.param(name, marks=pytest.mark.slow) for name in ("conneau-2020", "xlmv-xquad"))],
)
def test_table_gets_the_fewest_seeds_with_an_even_chance(name):
    """At least three, also where no number of seeds has an even chance."""
    table = get_reference(name)
    task = get_task(table.task)
    needed = []
    for row in table.rows:
        means = {power.n_seeds: power.mean for power in power_of(row, task, range(1, MOST_SEEDS + 1))}
        needed += [min(n for n, share in means.items() if share >= 0.5)] if max(means.values()) >= 0.5 else []
    chosen = seeds_to_reproduce(table, task)
    assert chosen.seeds == tuple(range(1, max([3, *needed]) + 1))
    assert ("even chance" in chosen.why) == bool(needed)


def test_table_of_a_task_without_training_needs_no_seeds():
    table = get_reference("jiant-tatoeba")
    assert seeds_to_reproduce(table, get_task(table.task)).seeds == ()


def test_table_is_planned_with_the_seeds_it_needs(tmp_path, command):
    out = command("reproduce", "xnli-mini", "--dry-run", "--results", tmp_path / "results")[1]
    assert out.startswith("Plan: 6 runs (xnli-mini; mini-mbert, mini-distilmbert; seeds 1 to 3, ")
    out = command("reproduce", "xnli-mini", "--max-train", 9, "--dry-run", "--results", tmp_path / "results")[1]
    assert out.startswith("Plan: 2 runs (xnli-mini; mini-mbert, mini-distilmbert; seed 42; ")  # no verdict, no need


def test_no_mean_is_promised_if_languages_are_missing(command, tmp_path):
    words = ("--model", "mbert", "--seed", "1-3", "--results", tmp_path / "results", "--dry-run")
    out = " ".join(command("run", "xnli", *words, "--language", "es")[1].split())
    assert (
        "Verdicts: in each language alone; the published mean is over 6 languages, of which these runs have 2." in out
    )
    out = " ".join(command("run", "xnli", *words, "--language", "th")[1].split())
    assert "mean can be shown wrong" not in out


def test_tiny_chance_reads_as_a_sentence(command, tmp_path):
    out = " ".join(command("reproduce", "xnli-mini", "--dry-run", "--results", tmp_path / "results")[1].split())
    assert "and right in less than 1 of 100 cases if it is true, even with 10: training runs" in out


@pytest.mark.parametrize("n_seeds", [1, 2, 3])
def test_chance_is_the_share_of_experiments_drawn(n_seeds):
    spread, rng = Spread(0.5, 4), np.random.default_rng(5)
    published = Published(0.0, 5, 0.0, spread)
    outcomes = [
        compare(ours, replace(published, value=value), 1.4, spread).outcome
        for ours, value in zip(
            rng.normal(0, 0.5, (1500, n_seeds)).tolist(), rng.normal(0, 0.5 / 5**0.5, 1500), strict=True
        )
    ]
    chance = share_reproduced(n_seeds, published, spread, 1.4)
    assert chance == pytest.approx(outcomes.count("reproduced") / 1500, abs=0.05) and chance > 0.2


def test_a_row_of_one_language_has_the_tolerance_of_a_cell():
    [row], task = get_reference("transformers-readme").rows, get_task("xnli")
    [power] = power_of(row, task, [3])
    assert power.mean == pytest.approx(power.cell, abs=0.01)
    assert chance_of(row, task, [3]).by_seeds[3] == pytest.approx(power.mean, abs=0.01)


@pytest.mark.parametrize("spreads", [[0.2, 2.0], [2.0, 0.2, 1.0, 0.6, 1.6, 0.4, 1.8, 0.8, 1.2]])
def test_chance_of_a_cell_is_the_mean_from_narrow_to_wide(spreads):
    """At most five cells are simulated, evenly from the narrowest spread to the widest."""
    languages = ["ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru"][: len(spreads)]
    row = ReferenceRow(
        name="row", model="org/m", cells=dict.fromkeys(languages, Printed("70.0")), how="computed", recipe="r",
        n_seeds=5, spread=dict(zip(languages, spreads, strict=True)),
    )  # fmt: skip
    [power] = power_of(row, get_task("xnli"), [3])
    chosen = sorted(spreads)[:: max(1, (len(spreads) - 1) // 4)]
    cells = [(Published(70.0, 5, 0.1**2 / 12, Spread(sd, 4)), Spread(sd, 4)) for sd in chosen]
    assert power.cell == pytest.approx(np.mean([share_reproduced(3, *cell, 1.5) for cell in cells]))


def test_small_test_sets_lower_the_chance():
    task = get_task("xcopa")
    assumed, n_rows = task.of_kind.assumed_spread, task.expected_rows.of("test", "et")
    row = ReferenceRow(
        name="row", model="org/m", cells=dict.fromkeys(["et", "id"], Printed("70.0")), how="computed", recipe="r"
    )
    few, many = (
        share_reproduced(
            3,
            replace(published_mean(row), value=0.0),
            spread_of_mean(assumed, [assumed_spread(assumed, False, n)] * 2),
            2.0,
        )
        for n in (n_rows, assumed.n_rows)
    )
    assert chance_of(row, task, tolerance=Tolerance(mean=2.0)).by_seeds[3] == few < many


@pytest.mark.parametrize("given", ["task", "table", "plan"])
def test_a_dry_run_is_not_asked_for_records(words, tmp_path, command, given):
    assert command("plan", *words, "--output", tmp_path / "plan.json")[0] == 0
    of_given = {"task": ["run", *words], "table": ["reproduce", "xnli-mini"], "plan": ["run", "--plan", "plan.json"]}
    code, out, err = command(*of_given[given], "--dry-run", "--format", "json")
    assert (code, out) == (2, "")
    assert err.startswith("xeval: Invalid value: --format json prints the records of runs, and --dry-run makes none")
    assert json.loads((tmp_path / "plan.json").read_text())  # as the message says


OTHER_NUMBERS = {"fairseq-mlqa-em": "MLQA exact match, ours MLQA F1", "xpos-2022": "not on the task's test split"}


@pytest.mark.parametrize(("table", "why"), OTHER_NUMBERS.items())
def test_no_verdict_is_promised_on_other_numbers(command, tmp_path, table, why):
    out = " ".join(command("reproduce", table, "--dry-run", "--results", tmp_path / "results")[1].split())
    reason = out.partition("Verdicts: none, since the published numbers are ")[2]
    assert reason.startswith(why) and "can be shown wrong" not in out
    assert len(seeds_to_reproduce(get_reference(table), get_task(get_reference(table).task)).seeds) == 0


def test_published_exact_match_is_judged_by_its_metric(tmp_path, command):
    """The metric that the reason names gives verdicts."""
    path = tmp_path / "mlqa.toml"
    text = find_task("mlqa")[0].read_text(encoding="utf-8").replace('"mlqa_f1"', '"mlqa_exact_match"')
    path.write_text(text.replace('"mlqa-readme"', '"fairseq-mlqa-em"'), encoding="utf-8")
    words = ("--model", "xlmr-large", "--seed", "1-3", "--results", tmp_path / "results", "--dry-run")
    out = " ".join(command("run", path, *words)[1].split())
    assert "Verdicts: with 3 seeds a published mean can be shown wrong" in out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--no-train", "--seed", "4"], "seed 4: nothing is drawn at random where nothing is trained"),
        (["--no-train", "--every-checkpoint"], "every checkpoint: only a training run has several"),
        (["--no-train", "--keep-weights"], "keep weights: nothing is trained"),
        (["--seeds-of", "mine"], "seeds of: what is trained here has seeds of its own"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(words, tmp_path, command, given, said):
    where = words.index("--recipe")
    own = words[:where] + words[where + 2 :]  # a recipe is of a training run
    dry, real = command("run", *own, *given, "--dry-run"), command("run", *own, *given)
    assert dry[0] == real[0] == 2 and dry[2] == real[2] and dry[2].startswith(f"xeval: {said}")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("task", "split"), [("xnli", "test"), ("tydiqa-goldp", "dev")])
def test_naming_the_test_split_changes_nothing(command, tmp_path, task, split):
    words = ("run", task, "--model", "mbert", "--results", tmp_path / "results", "--dry-run")
    outlook = command(*words)
    assert outlook[0] == 0 and command(*words, "--test-split", split) == outlook
    assert "another split" in command(*words, "--test-split", "other")[1]
