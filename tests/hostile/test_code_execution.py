"""No code in models, data, definitions or caches from strangers is executed.

A canary creates a folder called `fired` if it is executed. The last test shows that every payload does.
"""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
import yaml
from canaries import CANARIES, Nest

from tests.helpers import tiny
from xeval.results.store import load_runs


@pytest.fixture
def nest(tmp_path, mini, checkpoint_of, monkeypatch) -> Nest:
    model = Path(shutil.copytree(checkpoint_of("bert", tiny.LABELS), tmp_path / "model"))
    data = Path(shutil.copytree(mini.data, tmp_path / "data"))
    return Nest(tmp_path, model, data, Path(shutil.copy(mini.task_file, tmp_path / "task.toml")), monkeypatch)


@pytest.mark.parametrize("plant", CANARIES.values(), ids=CANARIES.keys())
def test_no_canary_fires(command, nest, plant):
    plant(nest)
    answer = command(*nest.words(), "--quiet")
    assert not nest.fired.exists()
    assert answer.code in (0, 2)
    if answer.code == 2:
        assert answer.err.startswith("xeval: ") and answer.err.count("\n") == 1
    report = command("report") if answer.code == 0 else None
    assert not nest.fired.exists()
    assert report is None or "8641969" not in report.out, "a template was filled in"


NAMES = [
    "$(mkdir fired)",
    "`mkdir fired`",
    "; mkdir fired",
    "x/y; mkdir fired",
    "| mkdir fired",
    "org/name@$(mkdir fired)",
]


def test_there_are_enough_canaries(figure):
    figure("code that would run if it were allowed to", f"{len(CANARIES)} canaries, {len(NAMES) * 5} words for a shell")
    assert len(CANARIES) >= 20


def test_ignored_files_do_not_change_scores(command, nest):
    """Scores are the same with and without pickles, cards and scripts next to the weights and the data."""
    command(*nest.words(), "--quiet", "--results", "clean")
    for name in (
        "a pickle beside the weights",
        "a pickled trainer",
        "YAML tags in a model's card",
        "a data set script",
    ):
        CANARIES[name](nest)
    command(*nest.words(), "--quiet", "--results", "beside")
    clean, beside = (load_runs(Path(folder))[0].record for folder in ("clean", "beside"))
    assert clean.scores == beside.scores


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", ["--model", "--recipe", "--language", "--dtype", "--device"])
def test_arguments_never_reach_a_shell(command, nest, name, option):
    answer = command(*nest.words(), option, name)
    assert answer.code == 2
    assert [path for path in nest.folder.rglob("*") if path.name == "fired"] == []


def test_modules_in_working_folder_are_not_imported(nest):
    here = nest.folder / "here"
    here.mkdir()
    for name in ("json", "torch", "datasets", "xeval", "numpy", "sitecustomize", "usercustomize"):
        (here / f"{name}.py").write_text(nest.python())
    script = Path(sys.executable).with_name("xeval")
    process = subprocess.run([script, "list", "tasks"], cwd=here, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, "") and "xnli" in process.stdout
    assert not nest.fired.exists()


@pytest.mark.parametrize(
    "execute",
    [
        lambda nest: pickle.loads(nest.pickled()),
        lambda nest: exec(nest.python()),
        lambda nest: eval(nest.expression()),
        lambda nest: list(yaml.unsafe_load_all(nest.card())),
        lambda nest: jinja2.Template(nest.template()).render(),
    ],
    ids=["pickle", "Python", "expression", "YAML tag", "template"],
)
def test_canary_payloads_fire_when_executed(nest, execute):
    """A loader that trusts strangers executes each of them."""
    execute(nest)
    assert nest.fired.exists()
