"""Several tasks, models, recipes and seeds in one file, which `run` and `plan` take in the place of a task."""

import json

import pytest

from xeval.definitions.grid import Grid
from xeval.definitions.registry import get_grid, get_task, is_grid, is_suite
from xeval.results.store import load_runs
from xeval.support.errors import DefinitionError

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


def test_every_model_is_run_on_every_task_by_every_recipe_with_every_seed(folder, mini, command):
    words = ("run", "grid.toml", "--data", mini.data, *ON_CPU)
    code, out, err = command(*words)
    assert code == 0, err
    records = [run.record for run in load_runs(folder / "results")]
    assert sorted((record.task, record.recipe.name, record.seed) for record in records) == [
        (task, recipe, seed) for task in ("mini-pairs", "other-pairs") for recipe in ("one", "two") for seed in (1, 2)
    ]
    assert {record.recipe.values["learning_rate"] for record in records} == {1e-3}
    assert {tuple(record.scores) for record in records} == {("en", "zh")}  # English comes along
    lines = [line for line in err.splitlines() if line.startswith("run ")]
    assert [line.split(":")[0].split(",")[0] for line in lines] == [f"run {n} of 8" for n in range(1, 9)]
    assert out.count("accuracy in %") == 2  # a table for each task
    code, out, err = command(*words, "--quiet", "--format", "json")
    assert (code, len(json.loads(out)), err) == (0, 8, "")
    assert command(*words, "--dry-run")[1].startswith("Plan: 8 runs, finished already ")


def test_a_plan_of_it_is_made_as_the_file_is(folder, mini, command):
    code, out, _ = command("plan", "grid.toml", "--data", mini.data, *ON_CPU, "--quiet", "--output", "plan.json")
    assert (code, out.splitlines()[0]) == (0, "8 runs, none of them finished:")
    code, out, _ = command("run", "--plan", "plan.json", "--quiet")
    assert (code, out.count("accuracy in %")) == (0, 2)
    assert len(load_runs(folder / "results")) == 8


def test_everything_is_checked_before_the_first_run_is_made(folder, mini, command):
    """The second task has no rows where the first one has them."""
    code, out, err = command("run", "grid.toml", "--data", folder, *ON_CPU, "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert load_runs(folder / "results") == []


@pytest.mark.parametrize("option", [("--seed", 1), ("--model", "mbert"), ("--epochs", 3), ("--sweep", "epochs=1,2")])
def test_beside_a_grid_nothing_is_said_that_it_says(folder, command, option):
    code, out, err = command("run", "grid.toml", *option)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{option[0]}: grid.toml says what is run" in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('tasks = ["xnli-mni"]', "tasks: unknown task 'xnli-mni': did you mean 'xnli-mini'?"),
        ('tasks = ["xtreme"]', "tasks: xtreme is a suite of tasks"),
        ("tasks = []", "tasks: "),
        ('tasks = ["xnli", "xnli"]', "tasks: 'xnli' is listed twice"),
        ('models = ["mbret"]', "models: unknown model 'mbret'"),
        ('models = "mbert"', "models: "),
        ('recipes = ["mine"]', "recipes: unknown recipe 'mine'"),
        ("seeds = [-1]", "seeds.0: "),
        ('seeds = "1-5"', "seeds: "),
        ('languages = ["Klingonish"]', "languages: unknown language of task xnli 'Klingonish'"),
        ("[values]\nlerning_rate = 1", "values: unknown value of a recipe 'lerning_rate'"),
        ('[data]\nxnil = "here"', "data: 'xnil' is not among the tasks"),
        ('colour = "red"', "colour: "),
        ("max_eval = 0", "max_eval: "),
        ('train = "yes"', "train: "),
    ],
)
def test_a_mistake_is_one_line_with_the_file_and_the_key(tmp_path, command, line, said):
    key = line.split(" ")[0]
    usual = {"tasks": 'tasks = ["xnli"]', "models": 'models = ["mbert"]'}
    path = tmp_path / "grid.toml"
    path.write_text("\n".join([*(text for name, text in usual.items() if name != key), line]))
    code, out, err = command("run", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"xeval: {path}: {said}")


def test_a_grid_is_told_from_a_task_and_from_a_suite(folder, tmp_path):
    assert is_grid(str(folder / "grid.toml")) and not is_suite(str(folder / "grid.toml"))
    assert not is_grid(str(folder / "other.toml"))
    with pytest.raises(DefinitionError, match="a grid of runs, where a task was wanted"):
        get_task(str(folder / "grid.toml"))
    with pytest.raises(DefinitionError, match="cannot read this grid file"):
        get_grid(str(tmp_path / "nowhere.toml"))
    assert Grid(tasks=("xnli",), models=("mbert",)).train
