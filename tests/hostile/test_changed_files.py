"""A command evaluates the files that it hashed, even if a checkpoint changes on disk meanwhile."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import xeval
from tests.helpers import tiny
from xeval.support.errors import ModelError
from xeval.support.progress import Phase, Silent


class Interfering(Silent):
    """Calls `act` when `phase` first begins."""

    def __init__(self, phase: str, act: Callable[[], object]) -> None:
        self._phase, self._act, self.has_acted = phase, act, False

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Phase]:
        if name == self._phase and not self.has_acted:
            self._act()
            self.has_acted = True
        with super().phase(name, total, unit) as phase:
            yield phase


def overwrite(path: Path, content: bytes) -> None:
    """In place, as `rsync --inplace` does, so that a file mapped into memory changes, too."""
    with path.open("r+b") as file:
        file.truncate(len(content))
        file.write(content)


def predictions(results: Path) -> dict[str, list]:
    return {path.stem: pq.read_table(path).to_pylist() for path in results.glob("*/*/*/predictions/*.parquet")}


@pytest.fixture
def model(checkpoint_of, tmp_path) -> Path:
    return Path(shutil.copytree(checkpoint_of("bert", tiny.LABELS), tmp_path / "model"))


@pytest.fixture
def other_weights(tmp_path) -> bytes:
    return (tiny.make_checkpoint(tmp_path / "other", "bert", tiny.LABELS, seed=1) / "model.safetensors").read_bytes()


@pytest.mark.parametrize("how", ["overwritten", "truncated"])
def test_evaluation_ignores_later_changes_to_weights(mini, model, other_weights, tmp_path, how):
    options = {"data": mini.data, "train": False}
    xeval.run(str(mini.task_file), str(model), results=tmp_path / "quiet", **options)
    content = other_weights if how == "overwritten" else b""
    reporter = Interfering("evaluate", lambda: overwrite(model / "model.safetensors", content))
    xeval.run(str(mini.task_file), str(model), results=tmp_path / "noisy", reporter=reporter, **options)
    assert predictions(tmp_path / "noisy") == predictions(tmp_path / "quiet")


@pytest.mark.parametrize("how", ["overwritten", "truncated", "removed"])
def test_weights_changed_between_seeds_are_refused(mini, model, other_weights, tmp_path, how):
    def change() -> None:
        if how == "removed":
            (model / "model.safetensors").unlink()
        else:
            overwrite(model / "model.safetensors", other_weights if how == "overwritten" else b"")

    options = {"data": mini.data, "seeds": (1, 2), "overrides": {"epochs": 1.0}, "results": tmp_path / "results"}
    with pytest.raises(ModelError) as refused:
        xeval.run(str(mini.task_file), str(model), reporter=Interfering("evaluate", change), **options)
    assert "model.safetensors" in str(refused.value) and "\n" not in str(refused.value)
    assert [path.parent.name.split("-")[2] for path in (tmp_path / "results").glob("*/*/*/record.json")] == ["seed1"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_changed_config_and_tokenizer_are_refused(mini, model, tmp_path, name):
    def change() -> None:
        content = json.loads((model / name).read_text())
        (model / name).write_text(json.dumps(content, indent=7))

    with pytest.raises(ModelError, match=f"{name} has changed since this command started"):
        xeval.run(
            str(mini.task_file),
            str(model),
            data=mini.data,
            train=False,
            results=tmp_path / "results",
            reporter=Interfering("read", change),
        )
    assert not list((tmp_path / "results").glob("*/*/*/record.json"))


def test_overwritten_cached_weights_are_not_evaluated(mini, checkpoint_of, tmp_path):
    options = {"data": mini.data, "overrides": {"epochs": 1.0}, "results": tmp_path / "results"}
    encoder = checkpoint_of("bert")
    xeval.run(str(mini.task_file), str(encoder), languages="en", **options)
    [kept] = Path(os.environ["XEVAL_CACHE"]).glob("weights/*/model.safetensors")
    right = kept.read_bytes()
    reporter = Interfering("evaluate", lambda: overwrite(kept, bytes(len(right))))
    xeval.run(str(mini.task_file), str(encoder), languages=("en", "es", "zh"), reporter=reporter, **options)
    found = predictions(tmp_path / "results")
    shutil.rmtree(os.environ["XEVAL_CACHE"])
    xeval.run(str(mini.task_file), str(encoder), **options | {"results": tmp_path / "again"})
    assert found == predictions(tmp_path / "again")
