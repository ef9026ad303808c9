"""A whole run, from nothing to a record, in a process that is killed or whose disk fails."""

import os
import signal
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import transformers
from faults import arm, operations, stale_answers, tear

import xeval.data.embedded
import xeval.runs.execute
import xeval.runs.preflight
from xeval.cli import main
from xeval.engine.snapshots import Snapshots
from xeval.engine.training_progress import Choice, Outcome
from xeval.results.run_on_disk import RunOnDisk
from xeval.runs.execute import OneRun, Selection
from xeval.runs.grid import run
from xeval.support.errors import XevalError


@dataclass(frozen=True)
class World:
    """Where a run finds what it needs and leaves what it makes."""

    folder: Path
    task: Path
    data: Path
    model: Path
    recipe: Path


@dataclass
class Answer:
    outcome: str = ""  # a status, or the line that a user sees
    weights: str = ""
    predictions: dict[str, str] = field(default_factory=dict)
    n_operations: int = 0
    saves: list[tuple[int, int]] = field(default_factory=list)  # first and last operation of each checkpoint

    def results(self) -> tuple:
        return self.outcome, self.weights, self.predictions


def run_once(world: World, connection: Connection, nth: int = 0, error: int = 0, kill_at_step: int = 0) -> None:
    """Run with a checkpoint after every step; the `nth` file operation fails, or the process is killed at a step."""
    torch.set_num_threads(1)
    os.environ["XEVAL_CACHE"] = str(world.folder / "cache")
    answer = Answer()
    _watch(answer, kill_at_step)
    world.folder.mkdir(exist_ok=True)
    arm(world.folder, nth, error)
    try:
        (record,) = run(
            str(world.task),
            [str(world.model)],
            recipe=str(world.recipe),
            data=world.data,
            results=world.folder / "results",
            device="cpu",
            dtype="float32",
        )
        answer.outcome = record.status
        answer.weights = record.training.weights_sha256
        answer.predictions = {language: score.predictions_sha256 for language, score in record.scores.items()}
    except XevalError as complaint:
        answer.outcome = str(complaint)
    answer.n_operations = operations()
    arm(world.folder, 0, 0)
    connection.send(answer)


def grid_on_a_torn_disk(world: World, seeds: list[int], trained: Path, connection: Connection) -> None:
    """Run these seeds on a network file system without locks where files are stale now and then; each training that
    begins adds a line to `trained`."""
    torch.set_num_threads(1)
    os.environ["XEVAL_CACHE"] = str(world.folder / "cache")
    train = OneRun._train

    def noted_train(self, *arguments):
        with trained.open("a") as file:
            file.write(f"{self.spec.seed}\n")
        return train(self, *arguments)

    OneRun._train = noted_train
    tear(world.folder, one_stale_in=100)
    options = {"recipe": str(world.recipe), "data": world.data, "device": "cpu", "dtype": "float32"}
    statuses = []
    for seed in seeds:
        try:
            (record,) = run(
                str(world.task), [str(world.model)], seeds=[seed], results=world.folder / "results", **options
            )
            statuses.append(record.status)
        except XevalError as complaint:
            statuses.append(str(complaint))
    connection.send((statuses, stale_answers()))


def _watch(answer: Answer, kill_at_step: int) -> None:
    save, count = Snapshots.save, Outcome.count_step

    def noted_save(self, snapshot):
        first = operations() + 1
        saved = save(self, snapshot)
        answer.saves.append((first, operations()))
        return saved

    def deadly_count(self, n_pairs):
        count(self, n_pairs)
        if self.step == kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)

    Snapshots.is_due = lambda self: True
    Snapshots.save = noted_save
    Outcome.count_step = deadly_count


def signalled(world: World, number: int, moment: str, said: Path, connection: Connection) -> None:
    """The command line, which gets the signal at `moment`; its messages go to the file `said`, and the saved steps
    down the connection."""
    torch.set_num_threads(1)
    os.environ["XEVAL_CACHE"] = str(world.folder / "cache")
    steps: list[int] = []
    _signal_at(moment, number)
    _note_saves(steps)
    words = ["run", world.task, "--model", world.model, "--recipe", world.recipe, "--data", world.data, "--quiet"]
    more = ["--results", world.folder / "results", "--device", "cpu", "--dtype", "float32"]
    sys.argv = ["xeval", *map(str, [*words, *more])]
    try:
        with said.open("w") as sys.stderr:
            main()
    finally:
        connection.send(steps)


def _note_saves(steps: list[int]) -> None:
    save = Snapshots.save

    def noted_save(self, snapshot):
        steps.append(snapshot.step)
        return save(self, snapshot)

    Snapshots.save = noted_save


def _signal_at(moment: str, number: int) -> None:
    owner, name = MOMENTS[moment]
    act, calls = getattr(owner, name), []

    def signalling(*arguments, **options):
        calls.append(name)
        if moment.startswith("after"):
            done = act(*arguments, **options)
        if len(calls) == NTH.get(moment, 1):
            os.kill(os.getpid(), number)
        return done if moment.startswith("after") else act(*arguments, **options)

    setattr(owner, name, signalling)


# Moments of a training run that stops early, after its second selection.
MOMENTS = {
    "in a step": (Outcome, "count_step"),
    "in the evaluation that ends it": (Selection, "score"),
    "as the best weights are put back": (Choice, "settle"),
    "while the weights are written": (transformers.PreTrainedModel, "save_pretrained"),
    "after the weights are written": (xeval.runs.execute, "save_fine_tuned"),
    "before the record": (RunOnDisk, "save"),
    "after the record": (RunOnDisk, "save"),
    "in the evaluation of a language": (OneRun, "_evaluate"),
}
NTH = {"in a step": 4, "in the evaluation that ends it": 2}
