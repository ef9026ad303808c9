"""Files from `xeval init` are accepted as written, and all shipped files keep to the schemas."""

import io
import json
import re
import shlex
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml

from xeval.cli import app
from xeval.definitions.recipe import Recipe
from xeval.definitions.registry import get_grid, get_recipe, get_reference, get_task
from xeval.definitions.scaffolds import takes_labels
from xeval.definitions.schemas import NOUNS, schema_of
from xeval.kinds.registry import all_kinds

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = {
    "task": "tasks/*.toml",
    "recipe": "tasks/recipes/*.toml",
    "suite": "tasks/suites/*.toml",
    "table": "results/published/*.toml",
    "suite-table": "results/published/suites/*.toml",
}
COMMANDS = typer.main.get_command(app).commands


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@cache
def validator_of(noun: str):
    return pytest.importorskip("jsonschema").Draft202012Validator(json.loads(schema_of(noun)))


def errors_of(path: Path, noun: str) -> list[str]:
    return [error.message for error in validator_of(noun).iter_errors(tomllib.loads(path.read_text(encoding="utf-8")))]


# ── scaffolds ──


@pytest.mark.parametrize("kind", all_kinds())
def test_new_task_of_every_kind_is_accepted(kind, folder, command):
    labels = ("--label", "B-X,I-X,O") if takes_labels(kind) else ()
    code, _, err = command("init", "task", "--name", "mine", "--kind", kind, "--language", "en,es", *labels)
    assert (code, err) == (0, "")
    task = get_task("./mine.toml")
    assert (task.name, task.kind, task.languages, task.training_language) == ("mine", kind, ("en", "es"), "en")
    assert get_recipe(task.default_recipe).pooling is None or not task.of_kind.trains
    assert "mine " in command("list", "tasks", "--tasks-dir", folder)[1]
    assert errors_of(folder / "mine.toml", "task") == []


def test_new_task_runs_unchanged(mini, checkpoint_of, command):
    words = ("--language", ",".join(mini.task.languages), "--label", ",".join(mini.task.labels))
    assert command("init", "task", "--name", "mine", *words)[0] == 0
    options = ("--device", "cpu", "--dtype", "float32", "--max-steps", 1)
    code, out, _ = command("run", "./mine.toml", "--model", checkpoint_of("bert"), "--data", mini.data, *options)
    assert (code, "mine: accuracy in %" in out) == (0, True)


def test_a_recipe_is_accepted(folder, command):
    assert command("init", "recipe", "--name", "mine")[0] == 0
    assert isinstance(get_recipe("./mine.toml"), Recipe)
    assert errors_of(folder / "mine.toml", "recipe") == []


def test_a_table_is_accepted(folder, command):
    words = ("--task", "xnli", "--model", "xlmr-base", "--language", "en,Spanish")
    assert command("init", "table", "--name", "mine", *words)[0] == 0
    [row] = get_reference("./mine.toml").rows
    assert (row.model, row.cells) == ("FacebookAI/xlm-roberta-base", {"en": 0.0, "es": 0.0})
    assert command("reproduce", "./mine.toml", "--dry-run")[0] == 0
    assert errors_of(folder / "mine.toml", "table") == []


def test_a_grid_is_accepted(folder, command):
    words = ("--task", "xtreme", "--model", "xlmr-base", "--language", "en,es")
    assert command("init", "grid", "--name", "mine", *words)[0] == 0
    grid = get_grid("./mine.toml")
    assert (grid.tasks, grid.models, grid.languages, grid.sweep) == (("xtreme",), ("xlmr-base",), ("en", "es"), {})
    assert errors_of(folder / "mine.toml", "grid") == []
    text = (folder / "mine.toml").read_text().replace("# [", "[").replace("# learning_rate = [", "learning_rate = [")
    (folder / "mine.toml").write_text(text)
    assert get_grid("./mine.toml").sweep == {"learning_rate": (1e-5, 2e-5, 5e-5)}
    assert errors_of(folder / "mine.toml", "grid") == []


def test_a_model_card_is_read_by_the_hub(folder, command):
    from huggingface_hub import ModelCard

    assert command("init", "model-card", "--name", "org/mine", "--language", "en,es")[0] == 0
    card = ModelCard.load(folder / "README.md")
    assert (card.data.language, card.data.base_model) == (["en", "es"], "google-bert/bert-base-multilingual-cased")


def test_workflow_calls_existing_commands(folder, command):
    assert command("init", "ci", "--task", "xnli-mini", "--model", "mini-mbert")[0] == 0
    text = (folder / ".github/workflows/xeval.yml").read_text()
    steps = yaml.safe_load(text)["jobs"]["xeval"]["steps"]
    calls = [step["run"] for step in steps if step.get("run", "").startswith("xeval ")]
    calls += re.findall(r"^#   (xeval .*)$", text, re.MULTILINE)
    assert len(calls) == 4
    for call in calls:
        _, name, *rest = call.split()
        known = {word for parameter in COMMANDS[name].params for word in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known
    assert command("run", *calls[0].split()[2:], "--dry-run")[0] == 0


@pytest.mark.parametrize("noun", ["task", "recipe", "table"])
def test_first_line_names_the_schema_file(noun, folder, command):
    lists = ("--language", "en", "--label", "a,b")
    assert command("init", noun, "--name", "mine", "--output", "below/it.toml", *lists)[0] == 0
    path = folder / "below/it.toml"
    schema = re.fullmatch(r"#:schema (\S+)", path.read_text().splitlines()[0])[1]
    assert (path.parent / schema).read_text() == schema_of(noun)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("task",), "--name is missing"),
        (("task", "--name", "mine"), "--language is missing"),
        (("task", "--name", "mine", "--language", "en"), "--label is missing"),
        (("task", "--name", "a b", "--language", "en", "--label", "a,b"), "name: "),
        (("task", "--name", "mine", "--language", "en", "--kind", "tags", "--label", "a,b"), "did you mean 'tagging'?"),
        (("table", "--name", "mine", "--task", "xnil"), "did you mean 'xnli'?"),
        (("table", "--name", "mine", "--model", "mbret"), "unknown model 'mbret'"),
        (("recipee",), "'recipee' is not one of"),
        (("grid", "--name", "mine", "--task", "xnil"), "did you mean 'xnli'?"),
        (("grid", "--name", "mine", "--task", "xnli", "--language", "zz"), "unknown language of task xnli 'zz'"),
        (("ci", "--task", "xnli", "--language", "zz"), "unknown language of task xnli 'zz'"),
        (("recipe", "--name", "a/b c"), "name: "),
    ],
)
def test_mistakes_print_one_line_and_leave_no_file(folder, command, words, said, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, out, err = command("init", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert list(folder.iterdir()) == []


def test_existing_files_are_not_overwritten(folder, command):
    (folder / "mine.toml").write_text("mine")
    code, _, err = command("init", "recipe", "--name", "mine")
    assert (code, "already exists" in err, (folder / "mine.toml").read_text()) == (2, True, "mine")


def test_missing_values_are_asked_for_on_a_terminal(command, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("mine\nen,de\nyes,no\n"))
    assert command("init", "task")[0] == 0
    assert get_task("./mine.toml").labels == ("yes", "no")


# ── schemas ──


@pytest.mark.parametrize(
    ("noun", "path"),
    [(noun, path) for noun, pattern in SHIPPED.items() for path in sorted(REPOSITORY.glob(pattern))],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_every_shipped_file_keeps_to_its_schema(noun, path):
    assert errors_of(path, noun) == []


def test_a_schema_finds_what_xeval_refuses(folder):
    path = folder / "wrong.toml"
    path.write_text('name = "mine"\ndescription = "x"\nlearning_rate = 7\nbatch_size = 8\nmax_length = 9\nlr = 1')
    assert len(errors_of(path, "recipe")) == 2
    path.write_text((REPOSITORY / "tasks/xnli.toml").read_text().replace("labels =", "lables ="))
    assert errors_of(path, "task") == ["'labels' is a required property"]


def test_a_grid_keeps_to_its_schema(folder):
    path = folder / "grid.toml"
    path.write_text('tasks = ["xnli"]\nmodels = ["mbert"]\nseeds = [1]\n[values]\nlearning_rate = 1e-5\n')
    assert get_grid(str(path)).seeds == (1,)
    assert errors_of(path, "grid") == []
    assert set(NOUNS) == {*SHIPPED, "grid"}


def test_workflow_takes_a_folder_whose_name_has_spaces(folder, command):
    (folder / "my encoder #2").mkdir()
    assert command("init", "ci", "--task", "xnli-mini", "--model", "./my encoder #2")[0] == 0
    steps = yaml.safe_load((folder / ".github/workflows/xeval.yml").read_text())["jobs"]["xeval"]["steps"]
    [run] = [step["run"] for step in steps if step.get("run", "").startswith("xeval run")]
    assert shlex.split(run)[:5] == ["xeval", "run", "xnli-mini", "--model", "./my encoder #2"]


def test_workflow_runs_the_languages_named(folder, command):
    assert command("init", "ci", "--task", "xnli-mini", "--model", "mini-mbert", "--language", "Spanish,de")[0] == 0
    calls = re.findall("xeval run .*", (folder / ".github/workflows/xeval.yml").read_text())
    assert [re.search("--language (.*) --seed", call)[1] for call in calls] == ["es,de", "es,de"]


@pytest.mark.parametrize("task", ["xnli-mini", "retrieval-mini"])
def test_workflows_command_is_accepted(folder, command, task):
    """A task that trains nothing takes no seeds."""
    assert command("init", "ci", "--task", task, "--model", "mini-mbert")[0] == 0
    calls = re.findall("xeval (run .*)", (folder / ".github/workflows/xeval.yml").read_text())
    for call in calls:
        assert command(*shlex.split(call), "--dry-run")[0] == 0
    assert len(calls) == 2


@pytest.mark.parametrize("task", ["xnli-mini", "retrieval-mini", "xtreme"])
def test_grid_of_any_task_is_accepted(folder, command, task):
    assert command("init", "grid", "--name", "grid", "--task", task, "--model", "mini-mbert")[0] == 0
    assert command("run", "./grid.toml", "--dry-run")[0] == 0
