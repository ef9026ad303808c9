"""Worlds without a run or with a finished one; fixtures that make training or prediction raise."""

import shutil

import pytest
from world import RECIPE, World, forbid


@pytest.fixture
def empty(tmp_path, monkeypatch, mini, checkpoint_of) -> World:
    """Nothing has run yet."""
    (tmp_path / "brief.toml").write_text(RECIPE)
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    return World(tmp_path, mini.task_file, mini.data, checkpoint_of("bert"))


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory, mini, checkpoint_of) -> World:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "brief.toml").write_text(RECIPE)
    world = World(folder, mini.task_file, mini.data, checkpoint_of("bert"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XEVAL_CACHE", str(folder / "cache"))
        world.run()
    return world


@pytest.fixture
def finished(finished_once, empty) -> World:
    """One run in all three languages is finished; its weights are in the cache."""
    shutil.copytree(finished_once.folder, empty.folder, dirs_exist_ok=True)
    return empty


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr("xeval.engine.steps.logits_of", forbid("training"))


@pytest.fixture
def no_prediction(monkeypatch):
    monkeypatch.setattr("xeval.engine.prediction.logits_of", forbid("prediction"))
