"""Names are found, misspelt ones get the nearest valid one, and a user's own task file works in three ways."""

import os

import pytest

from tests.helpers import tiny
from xeval.definitions.model_name import ModelName
from xeval.definitions.registry import (
    all_recipes,
    all_tasks,
    check_languages,
    find_recipe,
    find_reference,
    find_task,
    get_recipe,
    get_reference,
    get_task,
)
from xeval.support.errors import DefinitionError, UnknownNameError, XevalError


def refusal(error_type: type[XevalError], call, *arguments) -> str:
    with pytest.raises(error_type) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ── names ──


@pytest.mark.parametrize(
    ("get", "kind", "misspelt", "meant"),
    [
        (get_task, "task", "xlni", "xnli"),
        (get_task, "task", "XNLI", "xnli"),
        (get_recipe, "recipe", "hf2019", "hf-2019"),
        (get_recipe, "recipe", "Xtreme-2020", "xtreme-2020"),
        (get_reference, "reference", "distilbert-card", "distilmbert-card"),
        (get_reference, "reference", "conneau", "conneau-2020"),
        (ModelName.parse, "model", "distilbert", "distilmbert"),
        (ModelName.parse, "model", "xlm-r-base", "xlmr-base"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_valid_one(get, kind, misspelt, meant):
    assert f"unknown {kind} {misspelt!r}: did you mean {meant!r}?" in refusal(UnknownNameError, get, misspelt)


def test_unknown_name_lists_the_known_ones():
    message = refusal(UnknownNameError, get_recipe, "mine")
    known = message.partition("(known: ")[2].removesuffix(")").split(", ")
    assert known == sorted(all_recipes()) and {"hf-2019", "xtreme-2020"} <= set(known)


def test_control_characters_in_a_name_stay_on_one_line():
    assert r"unknown task 'xn\nli\x1b[2J'" in refusal(UnknownNameError, get_task, "xn\nli\x1b[2J")


def test_unknown_language_gets_the_nearest_one():
    message = refusal(UnknownNameError, check_languages, get_task("xnli"), ["en", "esp"])
    assert "unknown language of task xnli 'esp': did you mean 'es'?" in message


@pytest.mark.parametrize("word", ["es", "Spanish", "spanish", "spa", "es-ES", "ES"])
def test_languages_can_be_codes_or_english_names(word):
    assert check_languages(get_task("xnli"), [word, "es"]) == ["es"]


def test_languages_keep_their_order_without_repeats():
    assert check_languages(get_task("xnli"), ["zh", "en", "zh"]) == ["zh", "en"]


def test_no_language_means_all_languages_of_the_task():
    assert check_languages(get_task("xnli"), []) == list(get_task("xnli").languages)


# ── own tasks ──


def test_own_task_is_found_by_its_path(tmp_path):
    assert get_task(str(tiny.write_task(tmp_path))).name == "mini-pairs"


def test_own_task_is_found_by_a_relative_path(tmp_path, monkeypatch):
    tiny.write_task(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert get_task("./mini-pairs.toml") == get_task("mini-pairs.toml") == get_task("./mini-pairs.toml", [])


def test_own_task_is_found_in_a_given_folder(tmp_path):
    tiny.write_task(tmp_path)
    assert get_task("mini-pairs", [tmp_path]).title == "Mini pairs"


def test_own_task_is_found_in_any_folder_of_xeval_tasks(tmp_path, monkeypatch):
    for name in ("first", "second"):
        tiny.write_task(tmp_path / name, name=name)
    monkeypatch.setenv("XEVAL_TASKS", os.pathsep.join(str(tmp_path / name) for name in ("first", "second")))
    assert get_task("second").name == "second"
    assert {"first", "second", "xnli"} <= set(all_tasks())


def test_shipped_tasks_stay_known_next_to_own_ones(tmp_path):
    tiny.write_task(tmp_path)
    assert get_task("xnli", [tmp_path]) == get_task("xnli")


def test_own_task_is_unknown_without_its_folder():
    assert "unknown task 'mini-pairs'" in refusal(UnknownNameError, get_task, "mini-pairs")


def test_two_tasks_of_one_name_are_an_error_naming_both(tmp_path):
    one, other = tiny.write_task(tmp_path), tmp_path / "other.toml"
    other.write_text(one.read_text(encoding="utf-8"), encoding="utf-8")
    message = refusal(DefinitionError, get_task, "mini-pairs", [tmp_path])
    assert message == f"{other}: task 'mini-pairs' is already defined by {one}; give one of the two another name"


def test_own_task_cannot_take_the_name_of_a_shipped_one(tmp_path):
    mine = tiny.write_task(tmp_path, name="xnli")
    message = refusal(DefinitionError, get_task, "xnli", [tmp_path])
    assert "task 'xnli' is already defined by" in message and str(mine) in message


def test_a_folder_named_twice_is_read_once(tmp_path, monkeypatch):
    tiny.write_task(tmp_path)
    monkeypatch.setenv("XEVAL_TASKS", str(tmp_path))
    assert get_task("mini-pairs", [tmp_path, tmp_path / "."]).name == "mini-pairs"


def test_missing_folder_of_tasks_is_reported(tmp_path):
    message = refusal(DefinitionError, get_task, "xnli", [tmp_path / "nowhere"])
    assert message.startswith(f"{tmp_path / 'nowhere'}: wanted a folder of task files, found none")


def test_missing_task_file_is_reported(tmp_path):
    path = tmp_path / "nowhere.toml"
    assert refusal(DefinitionError, get_task, str(path)).startswith(f"{path}: cannot read this task file: No such")


# ── folders with several types of definitions ──


def test_other_definitions_among_tasks_are_ignored(tmp_path):
    """Published tables, recipes and suites may share a folder with tasks."""
    tiny.write_task(tmp_path)
    (tmp_path / "my-table.toml").write_text(find_reference("distilmbert-card")[0].read_text())
    (tmp_path / "my-recipe.toml").write_text(find_recipe("hf-2019")[0].read_text())
    (tmp_path / "my-suite.toml").write_text('name = "mine"\ntitle = "Mine"\n[[tasks]]\ntask = "xnli"\n')
    assert "mini-pairs" in all_tasks([tmp_path])
    assert get_task("mini-pairs", [tmp_path]).name == "mini-pairs"


def test_faulty_task_file_in_a_folder_is_reported(tmp_path):
    tiny.write_task(tmp_path, ('kind = "pair-classification"', ""))
    assert "kind: Field required" in refusal(DefinitionError, all_tasks, [tmp_path])


@pytest.mark.parametrize(
    ("get", "other", "said"),
    [
        (get_task, find_reference("distilmbert-card")[0], "wanted a task, got a published table"),
        (get_task, find_recipe("hf-2019")[0], "wanted a task, got a recipe"),
        (get_recipe, find_task("xnli")[0], "wanted a recipe, got a task"),
        (get_reference, find_task("xnli")[0], "wanted a published table, got a task"),
    ],
)
def test_definition_of_the_wrong_type_is_named_as_such(get, other, said):
    message = refusal(DefinitionError, get, str(other))
    assert said in message and "Field required" not in message


def test_hidden_files_define_nothing(tmp_path):
    path = tiny.write_task(tmp_path)
    (tmp_path / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\xb0")  # as macOS leaves it
    (tmp_path / f".~{path.name}").write_bytes(path.read_bytes())
    (tmp_path / f".#{path.name}").symlink_to("somebody@somewhere.1234")  # as Emacs does
    assert "mini-pairs" in all_tasks([tmp_path])
