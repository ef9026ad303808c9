"""What programs pass to the functions of `import xeval`: understood as meant, or refused immediately."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

import xeval

FUNCTIONS = {name: getattr(xeval, name) for name in xeval.__all__ if inspect.isfunction(getattr(xeval, name))}
OBJECTS = {"footprint", "options"}  # a type checker knows their types
GOOD = {"task": "xnli-mini", "models": "mini-mbert", "model": "org/m", "reference": "xnli-mini", "language": "es"}
GOOD |= {"claimed": 0.5, "predictions": "p", "baseline": "b.toml", "sources": ["s"], "destination": "d"}
GOOD |= {"a": "m", "b": "n", "results": "r"}


def needed(function) -> dict:
    parameters = inspect.signature(function).parameters
    return {name: GOOD[name] for name, each in parameters.items() if each.default is each.empty and name in GOOD}


CASES = [
    (name, argument)
    for name, function in FUNCTIONS.items()
    for argument in inspect.signature(function).parameters
    if argument not in OBJECTS
]


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_wrong_object_is_refused_by_argument_name(tmp_path, monkeypatch, name, argument):
    monkeypatch.chdir(tmp_path)
    named = {"model": "models?", "seeds_of": "seeds of"}.get(argument, argument)
    with pytest.raises(xeval.XevalError, match=f"^{named}\\b") as refusal:
        FUNCTIONS[name](**needed(FUNCTIONS[name]) | {argument: object()})
    assert "\n" not in str(refusal.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("seeds", "1-3"),
        ("seeds", ["1"]),
        ("seeds", True),
        ("seeds", -1),
        ("seeds", 1.0),
        ("seeds", 2**63),
        ("max_train", 4.0),
        ("max_eval", "4"),
        ("max_eval", -1),
        ("languages", ["es", None]),
        ("train", "no"),
        ("train", 0),
        ("keep_weights", None),
        ("overrides", "epochs=2"),
        ("sweep", [1e-5]),
        ("device", 0),
        ("reporter", print),
        ("results", None),
        ("tasks_dirs", [3]),
    ],
)
def test_wrong_value_is_refused_before_anything_is_written(tmp_path, argument, value):
    options = {"results": tmp_path / "results", argument: value}
    with pytest.raises(xeval.XevalError, match=f"^{argument}: wanted .*, got "):
        xeval.run("xnli-mini", "mini-mbert", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "option"), [("reproduce", "seeds"), ("score", "seed"), ("score", "labels")])
def test_forwarded_options_are_checked_too(name, option):
    with pytest.raises(xeval.XevalError, match=f"^{option}: wanted "):
        FUNCTIONS[name](**needed(FUNCTIONS[name]) | {option: object()})


def test_wrong_call_raises_pythons_own_type_error():
    with pytest.raises(TypeError, match="positional"):
        xeval.run("xnli-mini", "mini-mbert", "es")
    with pytest.raises(TypeError, match="models"):
        xeval.run("xnli-mini")


def test_paths_and_numpy_numbers_are_accepted(mini, checkpoint_of, tmp_path):
    values = {"epochs": None, "max_steps": 2}
    words = {"languages": "es", "seeds": 3, "max_train": 8, "max_eval": 4, "device": "cpu", "dtype": "float32"}
    [record] = xeval.run(
        str(mini.task_file),
        str(checkpoint_of("bert")),
        data=str(mini.data),
        results=str(tmp_path / "words"),
        overrides=values,
        **words,
    )
    objects = {
        "languages": np.array(["es"]),
        "seeds": np.int64(3),
        "max_train": np.int32(8),
        "max_eval": np.int64(4),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
    }
    [same] = xeval.run(
        Path(mini.task_file),
        Path(checkpoint_of("bert")),
        data=Path(mini.data),
        results=tmp_path / "objects",
        overrides=values | {"max_steps": np.int64(2)},
        tasks_dirs=None,
        recipe=None,
        **objects,
    )
    assert same.identity == record.identity and same.model == record.model and same.limits == record.limits
    assert {code: score.value for code, score in same.scores.items()} == {
        code: score.value for code, score in record.scores.items()
    }
    again = xeval.run(mini.task_file, checkpoint_of("bert"), data=mini.data, results=tmp_path / "words", **words)
    assert [run.seed for run in again] == [3]
    seeds = {"seeds": np.arange(2), "overrides": values, "max_train": 8, "max_eval": 4}
    several = xeval.run(mini.task_file, checkpoint_of("bert"), data=mini.data, results=tmp_path / "several", **seeds)
    assert [run.seed for run in several] == [0, 1]
    [folder] = {merged.folder.parent for merged in xeval.merge(tmp_path / "words", tmp_path / "merged")[:1]}
    assert folder.is_relative_to(tmp_path / "words")
    assert len(xeval.load_results(str(tmp_path / "merged"))) == len(xeval.load_results(tmp_path / "words"))


def test_leading_tilde_is_the_home_folder(mini, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(mini.data)
    (tmp_path / "tests").mkdir()
    for language in ("en", "es"):
        (tmp_path / "tests" / f"{language}.txt").write_text("neutral\n" * 12)
    words = {"tasks_dirs": ["~/tasks"], "data": "~/data", "results": "~/runs", "model": "m"}
    (tmp_path / "tasks").symlink_to(mini.task_file.parent)
    xeval.score("mini-pairs", "~/tests", **words)
    assert len(xeval.load_results("~/runs")) == 2
    assert (tmp_path / "runs").is_dir() and not (tmp_path / "~").exists()


def test_tilde_after_an_option_is_the_home_folder(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert command("init", "recipe", "--name", "mine", "--output=~/mine.toml")[0] == 0
    assert (tmp_path / "mine.toml").is_file()
    assert command("list", "runs", "--results=~nobody-at-all/runs")[0] == 2


def test_file_in_an_unknown_home_is_refused_in_one_line(command):
    code, out, err = command("run", "~nobody-at-all/grid.toml", "--model", "mini-mbert")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "there is no such home folder" in err
