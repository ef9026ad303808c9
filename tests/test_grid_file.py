"""Several tasks, models, recipes and seeds in one file, which `run` and `plan` take instead of a task."""

import json

import pytest

from tests.helpers import tiny
from xeval.definitions.grid import Grid
from xeval.definitions.registry import get_grid, get_task, is_grid, is_suite
from xeval.results.store import load_runs
from xeval.runs.suite import options_of
from xeval.support.errors import DefinitionError, TrainingError

RECIPE = """\
name = "{name}"
description = "A step or two"
learning_rate = 2e-3
batch_size = 8
max_steps = {steps}
max_length = 48
"""


@pytest.fixture
def folder(tmp_path, mini, checkpoint_of, monkeypatch):
    """A folder to work in, with a grid of two tasks, two recipes and two seeds."""
    other = mini.task_file.read_text().replace(f'name = "{mini.task.name}"', 'name = "other-pairs"')
    (tmp_path / "other.toml").write_text(other)
    for name, steps in (("one", 1), ("two", 2)):
        (tmp_path / f"{name}.toml").write_text(RECIPE.format(name=name, steps=steps))
    (tmp_path / "grid.toml").write_text(f"""\
tasks = ["{mini.task_file}", "./other.toml"]
models = ["{checkpoint_of("bert")}"]
recipes = ["./one.toml", "./two.toml"]
seeds = [1, 2]
languages = ["zh"]
[values]
learning_rate = 1e-3
[data]
"{mini.task_file}" = "{mini.data}"
""")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ON_CPU = ("--device", "cpu", "--dtype", "float32")


def test_grid_runs_every_combination(folder, mini, command):
    words = ("run", "grid.toml", "--data", mini.data, *ON_CPU)
    code, out, err = command(*words)
    assert code == 0, err
    records = [run.record for run in load_runs(folder / "results")]
    assert sorted((record.task, record.recipe.name, record.seed) for record in records) == [
        (task, recipe, seed) for task in ("mini-pairs", "other-pairs") for recipe in ("one", "two") for seed in (1, 2)
    ]
    assert {record.recipe.values["learning_rate"] for record in records} == {1e-3}
    assert {tuple(record.scores) for record in records} == {("en", "zh")}  # English is always added
    lines = [line for line in err.splitlines() if line.startswith("run ")]
    assert [line.split(":")[0].split(",")[0] for line in lines] == [f"run {n} of 8" for n in range(1, 9)]
    assert out.count("accuracy in %") == 2  # a table for each task
    code, out, err = command(*words, "--quiet", "--format", "json")
    assert (code, len(json.loads(out)), err) == (0, 8, "")
    assert command(*words, "--dry-run")[1].startswith("Plan: 8 runs, already finished ")


@pytest.mark.slow
def test_plan_of_a_grid_runs_like_the_grid(folder, mini, command):
    code, out, _ = command("plan", "grid.toml", "--data", mini.data, *ON_CPU, "--quiet", "--output", "plan.json")
    assert (code, out.splitlines()[0]) == (0, "8 runs, none of them finished:")
    code, out, _ = command("run", "--plan", "plan.json", "--quiet")
    assert (code, out.count("accuracy in %")) == (0, 2)
    assert len(load_runs(folder / "results")) == 8


def test_everything_is_checked_before_the_first_run(folder, mini, command):
    """The first task has rows, the second has none."""
    code, out, err = command("run", "grid.toml", "--data", folder, *ON_CPU, "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert load_runs(folder / "results") == []


@pytest.mark.parametrize("option", [("--seed", 1), ("--model", "mbert"), ("--epochs", 3), ("--sweep", "epochs=1,2")])
def test_options_that_a_grid_sets_are_refused(folder, command, option):
    code, out, err = command("run", "grid.toml", *option)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{option[0]}: grid.toml defines what to run" in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('tasks = ["xnli-mni"]', "tasks: unknown task 'xnli-mni': did you mean 'xnli-mini'?"),
        ('tasks = ["xnli", "xtreme"]', "tasks: xnli is listed twice, by itself or in a suite"),
        ('tasks = ["xtrem"]', "tasks: unknown task 'xtrem'"),
        ("tasks = []", "tasks: "),
        ('tasks = ["xnli", "xnli"]', "tasks: 'xnli' is listed twice"),
        ('models = ["mbret"]', "models: unknown model 'mbret'"),
        ('models = "mbert"', "models: "),
        ('recipes = ["mine"]', "recipes: unknown recipe 'mine'"),
        ("seeds = [-1]", "seeds.0: "),
        ('seeds = "1-5"', "seeds: "),
        ('languages = ["Klingonish"]', "languages: unknown language of task xnli 'Klingonish'"),
        ('tasks = ["xtreme"]\nlanguages = ["Klingonish"]', "languages: unknown language of suite xtreme 'Klingonish'"),
        ("[values]\nlerning_rate = 1", "values: unknown value of a recipe 'lerning_rate'"),
        ("[sweep]\nlerning_rate = [1, 2]", "sweep: unknown value of a recipe 'lerning_rate'"),
        ("[sweep]\nlearning_rate = [1e-5]", "sweep.learning_rate: "),
        ("[sweep]\nlearning_rate = 1e-5", "sweep.learning_rate: "),
        ('[data]\nxnil = "here"', "data: 'xnil' is not among the tasks"),
        ('colour = "red"', "colour: "),
        ("max_eval = 0", "max_eval: "),
        ('train = "yes"', "train: "),
    ],
)
def test_mistake_is_one_line_with_file_and_key(tmp_path, command, line, said):
    key = line.split(" ")[0]
    usual = {"tasks": 'tasks = ["xnli"]', "models": 'models = ["mbert"]'}
    path = tmp_path / "grid.toml"
    path.write_text("\n".join([*(text for name, text in usual.items() if name != key), line]))
    code, out, err = command("run", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"xeval: {path}: {said}")


@pytest.mark.parametrize("sweep", ["", "[sweep]\nlearning_rate = [2e-3, 1e-2]\n"])
def test_two_recipes_of_one_name_are_refused(folder, mini, command, sweep):
    """A sweep took the second for the first, and never ran it."""
    (folder / "two.toml").write_text(RECIPE.format(name="one", steps=2))
    grid = (folder / "grid.toml").read_text().replace("[values]\nlearning_rate = 1e-3\n", sweep)
    (folder / "grid.toml").write_text(grid)
    code, out, err = command("run", "grid.toml", "--data", mini.data, *ON_CPU)
    said = "./two.toml: recipe 'one' is already defined by ./one.toml; give one of the two another name"
    assert (code, out, err) == (2, "", f"xeval: {said}\n")
    (folder / "two.toml").write_text(RECIPE.format(name="one", steps=1))
    assert command("run", "grid.toml", "--data", mini.data, *ON_CPU, "--dry-run")[0] == 0


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ("seed = [1, 2]", "sweep: seed: seeds are averaged over, not chosen from"),
        ("epochs = [1, 1.0]", "sweep: epochs 1.0 is given twice"),
        ("epochs = [1, 2]\n[values]\nepochs = 3", "sweep: epochs is also set to 3"),
    ],
)
def test_impossible_sweep_is_refused_in_advance(tmp_path, command, sweep, said):
    path = tmp_path / "grid.toml"
    path.write_text(f'tasks = ["xnli"]\nmodels = ["mbert"]\n[sweep]\n{sweep}\n')
    code, out, err = command("run", path, "--dry-run")
    assert (code, out, err.count("\n")) == (2, "", 1) and said in err


def one_model(folder, mini, checkpoint_of, tasks: str, more: str = "") -> None:
    text = f'tasks = [{tasks}]\nmodels = ["{checkpoint_of("bert")}"]\nrecipes = ["./one.toml"]\nseeds = [1, 2]\n{more}'
    (folder / "grid.toml").write_text(text)


def test_sweep_in_the_file_equals_the_option(folder, mini, checkpoint_of, command):
    one_model(folder, mini, checkpoint_of, f'"{mini.task_file}"', "[sweep]\nlearning_rate = [2e-3, 1e-2]\n")
    (folder / "one.toml").write_text(RECIPE.format(name="one", steps=8))
    common = ("--data", tiny.telling_data(folder / "telling"), *ON_CPU)
    assert "after 2 trials for" in command("run", "grid.toml", *common, "--dry-run")[1]
    code, _, err = command("run", "grid.toml", *common)
    assert code == 0 and "trial 2 of 2: learning_rate 0.01" in err
    words = (
        "--model",
        checkpoint_of("bert"),
        "--recipe",
        "./one.toml",
        "--seed",
        "1,2",
        "--sweep",
        "learning_rate=2e-3,1e-2",
    )
    assert command("run", mini.task_file, *words, *common, "--results", "typed")[0] == 0
    ours, typed = (
        [(run.record.identity, run.record.sweep.values, run.record.sweep.chosen) for run in load_runs(folder / name)]
        for name in ("results", "typed")
    )
    assert ours == typed and len(ours) == 2


@pytest.mark.parametrize("words", [("plan",), ("run", "--on", "slurm")])
def test_sweep_cannot_be_planned(folder, mini, checkpoint_of, command, words):
    one_model(folder, mini, checkpoint_of, f'"{mini.task_file}"', "[sweep]\nmax_steps = [1, 2]\n")
    code, _, err = command(*words, "grid.toml", "--data", mini.data, "--quiet")
    assert (code, err.count("\n")) == (2, 1) and "sweep: its trials choose the values of the runs" in err


SUITE = """\
name = "pairs"
title = "Pairs of pairs"
source_url = "https://example.org/pairs"
tasks = [{task = "mini-pairs", group = "pairs"}, {task = "absent", group = "pairs"}]
"""


@pytest.fixture
def with_suite(folder, mini, checkpoint_of):
    """A grid of a task and a suite of two tasks, one without rows; returns the options to run it with."""
    (folder / "tasks").mkdir()
    (folder / "pairs.toml").write_text(SUITE)
    for name in ("mini-pairs", "absent"):
        text = mini.task_file.read_text().replace(f'name = "{mini.task.name}"', f'name = "{name}"')
        (folder / "tasks" / f"{name}.toml").write_text(text)
    data = f'[data]\n"./pairs.toml" = "{folder / "data"}"\n'
    suites = (folder / "pairs.toml").read_text().replace('group = "pairs"}', 'group = "pairs", folders = ["here"]}', 1)
    (folder / "pairs.toml").write_text(suites)
    (folder / "data").mkdir()
    (folder / "data" / "here").symlink_to(mini.data)
    one_model(folder, mini, checkpoint_of, '"./other.toml", "./pairs.toml"', data)
    return ("--data", mini.data, "--tasks-dir", folder / "tasks", *ON_CPU)


def test_suite_in_a_grid_runs_its_tasks_with_rows(folder, with_suite, command):
    assert "Plan: 6 runs (" in command("run", "grid.toml", *with_suite, "--dry-run")[1]
    code, out, err = command("run", "grid.toml", *with_suite)
    assert code == 1 and err.splitlines()[-1].startswith("xeval: absent was not run: ")
    records = [run.record for run in load_runs(folder / "results")]
    assert sorted((record.task, record.seed) for record in records) == [
        (task, seed) for task in ("mini-pairs", "other-pairs") for seed in (1, 2)
    ]
    assert "Pairs of pairs" in out and out.count("accuracy in %") == 1
    code, again, _ = command("run", "grid.toml", *with_suite, "--quiet", "--format", "json")
    assert (code, len(json.loads(again))) == (1, 4)


def test_plan_of_a_suite_grid_runs_like_the_grid(folder, with_suite, command):
    code, out, _ = command("plan", "grid.toml", *with_suite, "--quiet", "--output", "plan.json")
    said = " ".join(out.split())  # lines are wrapped
    assert code == 0 and said.startswith("4 runs, none of them finished:") and "absent is left out: " in said
    code, out, err = command("run", "--plan", "plan.json", "--quiet")
    assert code == 1 and "xeval: absent was not run: " in err
    assert "Pairs of pairs" in out and out.count("accuracy in %") == 1
    assert len(load_runs(folder / "results")) == 4


def test_suite_sweep_leaves_out_tasks_without_selection(folder, mini, checkpoint_of, command):
    for name, change in (("mini-pairs", ()), ("unselected", (("selection = 12\n", ""),))):
        tiny.write_task(folder / "tasks", *change, name=name)
    (folder / "pairs.toml").write_text(SUITE.replace("absent", "unselected"))
    (folder / "one.toml").write_text(RECIPE.format(name="one", steps=8))
    one_model(folder, mini, checkpoint_of, '"./pairs.toml"', "[sweep]\nlearning_rate = [2e-3, 1e-2]\n")
    words = ("--data", tiny.telling_data(folder / "telling"), "--tasks-dir", folder / "tasks", *ON_CPU, "--quiet")
    code, _, err = command("run", "grid.toml", *words)
    assert code == 1
    assert err.startswith("xeval: unselected was not run: sweep: task unselected has no rows to select on")
    runs = [run.record for run in load_runs(folder / "results")]
    assert {record.task for record in runs if record.sweep} == {record.task for record in runs} == {"mini-pairs"}


def test_suite_sweep_plan_says_tasks_may_be_left_out(tmp_path, command):
    path = tmp_path / "grid.toml"
    path.write_text('tasks = ["xtreme", "xnli-mini"]\nmodels = ["mbert"]\n[sweep]\nlearning_rate = [1e-5, 2e-5]\n')
    for words in (path, "--dry-run"), ("xtreme", "--model", "mbert", "--sweep", "learning_rate=1e-5,2e-5", "--dry-run"):
        code, out, err = command("run", *words)
        assert (code, err) == (0, "") and "tasks without rows will be left out" in " ".join(out.split())


def test_tasks_without_training_drop_training_options():
    options = {"seeds": [1], "sweep": {"epochs": [1, 2]}, "every_checkpoint": True, "overrides": {"epochs": 1}}
    assert options_of(get_task("tags-mini"), options) == options
    left = options_of(get_task("retrieval-mini"), options)
    assert not any(left.values())


def test_tasks_that_train_and_others_in_one_grid(folder, command):
    """As a suite's tasks do. Without a task that trains, seeds are a mistake."""
    (folder / "grid.toml").write_text("""\
tasks = ["pos-mini", "retrieval-mini"]
models = ["mini-mbert"]
seeds = [1, 2]
max_train = 8
max_eval = 8
[values]
max_steps = 1
max_length = 32
""")
    code, _, err = command("run", "grid.toml", *ON_CPU)
    assert code == 0, err
    records = [run.record for run in load_runs(folder / "results")]
    assert sorted((record.task, record.seed if record.training else None) for record in records) == [
        ("pos-mini", 1),
        ("pos-mini", 2),
        ("retrieval-mini", None),
    ]
    assert {record.recipe.values["max_length"] for record in records} == {32}
    (folder / "grid.toml").write_text('tasks = ["retrieval-mini"]\nmodels = ["mini-mbert"]\nseeds = [1, 2]\n')
    code, _, err = command("run", "grid.toml", *ON_CPU)
    assert code == 2 and "seed 1: nothing is drawn at random where nothing is trained" in err


def test_grids_tasks_and_suites_are_distinguished(folder, tmp_path):
    assert is_grid(str(folder / "grid.toml")) and not is_suite(str(folder / "grid.toml"))
    assert not is_grid(str(folder / "other.toml"))
    with pytest.raises(DefinitionError, match="wanted a task, got a grid of runs"):
        get_task(str(folder / "grid.toml"))
    with pytest.raises(DefinitionError, match="cannot read this grid file"):
        get_grid(str(tmp_path / "nowhere.toml"))
    assert Grid(tasks=("xnli",), models=("mbert",)).train


def test_failed_runs_of_several_tasks_name_their_task(folder, mini, command, monkeypatch):
    def diverge(*args, **kwargs):
        raise TrainingError("the loss became nan at step 1")

    monkeypatch.setattr("xeval.runs.execute.fine_tune", diverge)
    code, _, err = command("run", "grid.toml", "--data", mini.data, *ON_CPU, "--quiet")
    failed = [line.split(", ")[0] for line in err.splitlines() if "the loss became nan" in line]
    assert (code, failed) == (1, ["xeval: mini-pairs"] * 4 + ["xeval: other-pairs"] * 4)
