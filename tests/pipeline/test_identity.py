"""Which changes make another run, and which do not."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSequenceClassification
from world import (
    World,
    record_of,
)

from tests.helpers import tiny
from xeval.support.errors import DataError


def changed_rows(world: World, language: str, split: str, place: int = 0) -> Path:
    """Return a copy of the data with one hypothesis of this file changed."""
    folder = world.copy_of_data()
    path = folder / language / f"{split}-00000-of-00001.parquet"
    table = pq.read_table(path)
    hypotheses = table["hypothesis"].to_pylist()
    hypotheses[place] = hypotheses[place].swapcase() + " 2"
    index = table.column_names.index("hypothesis")
    pq.write_table(table.set_column(index, table.schema.field(index), [hypotheses]), path)
    return folder


def changed_weights(world: World) -> Path:
    folder = Path(shutil.copytree(world.model, world.folder / "models" / world.model.name))
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    with torch.no_grad():
        next(model.base_model.parameters())[0, 0] += 0.5
    model.base_model.save_pretrained(folder)
    return folder


def changed_tokenizer(world: World) -> Path:
    folder = Path(shutil.copytree(world.model, world.folder / "models" / world.model.name))
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["normalizer"]["lowercase"] = not tokenizer["normalizer"]["lowercase"]
    path.write_text(json.dumps(tokenizer))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["do_lower_case"] = tokenizer["normalizer"]["lowercase"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


CHANGES = {
    "seed": lambda world: {"seeds": [4]},
    "learning rate": lambda world: {"overrides": {"learning_rate": 1e-3}},
    "epochs": lambda world: {"overrides": {"epochs": 1}},
    "max_length": lambda world: {"overrides": {"max_length": 40}},
    "selection": lambda world: {"overrides": {"selection": "last"}},
    "max_train": lambda world: {"max_train": 23},
    "max_eval": lambda world: {"max_eval": 11},
    "training rows": lambda world: {"data": changed_rows(world, "en", "train", place=23)},
    "selection rows": lambda world: {"data": changed_rows(world, "en", "validation")},
    "weights": lambda world: {"models": [str(changed_weights(world))]},
    "tokenizer": lambda world: {"models": [str(changed_tokenizer(world))]},
    "arithmetic": lambda world: {"dtype": "bfloat16"},
    "labels": lambda world: {
        "task": str(tiny.write_task(world.folder, ('"neutral", "contradiction"', '"contradiction", "neutral"')))
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_each_difference_gives_a_run_its_own_folder(finished, change):
    before, first = finished.files(), record_of(finished)
    second = finished.run(languages=["en"], **change(finished))
    assert second.identity != first.identity
    assert len(finished.folders()) == 2
    assert {name: content for name, content in finished.files().items() if name in before} == before


def test_inputs_in_other_folders_give_the_same_run(finished, no_training, no_prediction):
    model = shutil.copytree(finished.model, finished.folder / "elsewhere" / finished.model.name)
    data = shutil.copytree(finished.data, finished.folder / "another name")
    recipe = shutil.copy(finished.folder / "brief.toml", finished.folder / "same.toml")
    task = shutil.copy(finished.task_file, finished.folder / "same-task.toml")
    options = {"models": [str(model)], "data": data, "recipe": str(recipe), "task": str(task)}
    assert finished.run(**options) == record_of(finished)


@pytest.mark.parametrize("write", [tiny.write_official_layout, tiny.write_xtreme_layout])
def test_another_layout_of_the_rows_gives_the_same_run(finished, no_training, no_prediction, write):
    data = write(finished.folder / "layout", tiny.mini_rows())
    assert finished.run(data=data) == record_of(finished)


def test_renamed_checkpoint_has_the_same_identity(empty, finished_once):
    first = record_of(finished_once)
    model = shutil.copytree(empty.model, empty.folder / "another-name")
    record = empty.run(models=[str(model)], languages=["en"])
    assert (record.model.id, record.identity) == ("another-name", first.identity)
    assert (record.training, record.scores["en"]) == (first.training, first.scores["en"])


def test_repeating_a_recipe_value_makes_no_new_run(finished, no_training, no_prediction):
    finished.run(overrides={"learning_rate": 2e-3, "epochs": 2})
    assert len(finished.folders()) == 1


def test_changed_test_rows_are_refused(finished, no_training, no_prediction):
    before = finished.files()
    with pytest.raises(DataError, match=r"^test rows of 'es' differ from those that [^\n]+$"):
        finished.run(data=changed_rows(finished, "es", "test"))
    assert finished.files() == before


def test_changed_test_rows_make_no_second_seed(finished, no_training, no_prediction):
    """The mean over seeds was one over different test sets, and nothing showed it."""
    before = finished.files()
    with pytest.raises(DataError, match=r"^test rows of 'es' differ from those that [^\n]+$"):
        finished.run(data=changed_rows(finished, "es", "test"), seeds=[4])
    assert finished.files() == before


def test_other_languages_of_another_seed_are_not_affected(finished):
    data = changed_rows(finished, "es", "test")
    record = finished.run(data=data, seeds=[4], languages=["en", "zh"])
    assert set(record.scores) == {"en", "zh"}
    with pytest.raises(DataError, match=r"^test rows of 'es' differ from those that "):
        finished.run(data=data, seeds=[4], languages=["es"])


def test_missing_language_is_noticed_before_computing(empty, no_training, no_prediction):
    data = empty.copy_of_data()
    shutil.rmtree(data / "zh")
    with pytest.raises(DataError, match="zh"):
        empty.run(data=data)
    assert empty.files() == {}


def test_repeated_recipe_values_are_not_called_changed(empty):
    """Reports list a record's `overrides` as changed from the recipe, and configurations are named after them."""
    record = empty.run(overrides={"learning_rate": 2e-3, "epochs": 1, "selection": "last"}, languages=["en"])
    assert record.recipe.overrides == {"epochs": 1, "selection": "last"}
    assert record.recipe.values["learning_rate"] == 2e-3


@pytest.mark.parametrize("sweep", [None, {"learning_rate": [2e-3, 1e-2]}])
def test_warmup_that_is_taken_back_stays_so(empty, sweep):
    """The recipe's share is 0 already, but its steps are not. A sweep trained with them all the same."""
    recipe, data = empty.folder / "warm.toml", tiny.telling_data(empty.folder / "telling")
    recipe.write_text((empty.folder / "brief.toml").read_text() + "warmup_steps = 3\n")
    record = empty.run(recipe=str(recipe), overrides={"warmup_share": 0.0}, sweep=sweep, data=data)
    assert record.recipe.overrides["warmup_share"] == 0.0
    assert record.recipe.values["warmup_steps"] is None
