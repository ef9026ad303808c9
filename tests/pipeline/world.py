"""A separate results folder and cache, and how runs are started in them."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from xeval.results.predictions import load_predictions
from xeval.results.records import RunRecord
from xeval.results.store import load_record
from xeval.runs.grid import run
from xeval.support.progress import Silent

MAX_LENGTH = 48
BATCH_SIZE = 7
RECIPE = f"""\
name = "brief"
description = "Three batches of 7 pairs and one of 3 to an epoch of the 24"
learning_rate = 2e-3
batch_size = {BATCH_SIZE}
epochs = 2
max_length = {MAX_LENGTH}
weight_decay = 0.01
seed = 3
"""
LABELS = ("entailment", "neutral", "contradiction")


class Notes(Silent):
    """A reporter that keeps every line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@dataclass
class World:
    """A separate results folder and cache, and how a run is started in them."""

    folder: Path
    task_file: Path
    data: Path
    model: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def run_all(self, **changes) -> list[RunRecord]:
        options = {
            "task": str(self.task_file),
            "models": [str(self.model)],
            "recipe": str(self.folder / "brief.toml"),
            "data": self.data,
            "results": self.results,
            "device": "cpu",
            "dtype": "float32",
        }
        return run(**(options | changes))

    def run(self, **changes) -> RunRecord:
        (record,) = self.run_all(**changes)
        return record

    def folders(self) -> list[Path]:
        return sorted(path.parent for path in self.results.glob("*/*/*/record.json"))

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Return content and modification time of every file under the results, except locks."""
        return {
            str(path.relative_to(self.results)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.results.rglob("*")
            if path.is_file() and path.name != ".lock"
        }

    def copy_of_data(self) -> Path:
        return Path(shutil.copytree(self.data, self.folder / "changed"))


def forbid(*names: str):
    def refuse(*args, **kwargs):
        pytest.fail(f"{' and '.join(names)} should not have been needed")

    return refuse


def record_of(world: World) -> RunRecord:
    (folder,) = world.folders()
    return load_record(folder)


def predictions_of(world: World, language: str):
    (folder,) = world.folders()
    return load_predictions(folder, language, record_of(world).scores[language].predictions_sha256)


def weights_file(world: World, record: RunRecord) -> Path:
    return world.folder / "cache" / "weights" / record.identity / "model.safetensors"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
