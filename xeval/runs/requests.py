"""One run as a request in JSON, which any process on any machine can execute, and its outcome, to be sent back.

`execute` executes one run. Everything that executes several, on one machine or on many, calls it and nothing else.
"""

import hashlib
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from xeval.data.bundle import using
from xeval.definitions.toml import Frozen
from xeval.engine import ranks
from xeval.results.store import StoredRun
from xeval.runs.grid import run_grid
from xeval.support.errors import XevalError
from xeval.support.progress import Reporter
from xeval.support.text import one_line

Words = Annotated[str, Field(min_length=1, max_length=4096)]
Count = Annotated[int, Field(gt=0)]


class RunRequest(Frozen):
    """One run as names and values. Paths are absolute, so that it means the same wherever it is executed."""

    task: Words
    """Name or path of the task."""
    model: Words
    """The model, as --model takes it."""
    recipe: Words | None = None
    """Name or path of the recipe; default: the task's."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """None if nothing is trained."""
    languages: tuple[Words, ...] = ()
    """Default: all of the task's."""
    train_language: Words | None = None
    """Default: the task's."""
    overrides: dict[Words, int | float | str] = {}
    """Values to replace in the recipe."""
    train: bool = True
    """If false, a fine-tuned checkpoint is evaluated as it is."""
    every_checkpoint: bool = False
    """Whether the checkpoints that are not chosen are evaluated too."""
    keep_weights: bool = False
    data: Words | None = None
    """A local copy of the data."""
    bundle: Words | None = None
    """A file made by xeval bundle."""
    results: Words
    """The folder that records and predictions go to."""
    max_train: Count | None = None
    max_eval: Count | None = None
    test_split: Words | None = None
    device: Words = "auto"
    dtype: Words = "auto"
    tasks_dirs: tuple[Words, ...] = ()
    """Folders with further task files."""

    @property
    def in_words(self) -> str:
        """The run's name in progress and errors: `xnli, mbert, seed 1`."""
        model = self.model if self.model.count("/") < 2 else Path(self.model).name
        recipe = [] if self.recipe is None else [Path(self.recipe).stem]
        seed = [] if self.seed is None else [f"seed {self.seed}"]
        return one_line(", ".join([Path(self.task).stem, " ".join([model, *recipe]), *seed]))

    def sha256(self) -> str:
        """Return a checksum of all its values."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Outcome(BaseModel, frozen=True, extra="forbid"):
    """The outcome of a request, as sent between processes: the run's folder, or why there is none."""

    folder: str | None = None
    problem: str | None = None
    is_unexpected: bool = False
    """Whether an error ended it that xeval does not know, after which its process may be unable to compute."""


Engine = Callable[[Sequence[RunRequest]], Sequence[Outcome]]  # executes the runs and returns their outcomes in order


def execute(request: RunRequest, reporter: Reporter | None = None) -> StoredRun:
    """Execute the requested run, or what is left to do of it."""
    options = request.model_dump(exclude={"task", "model", "recipe", "seed", "bundle"})
    seeds = [] if request.seed is None else [request.seed]
    with using(request.bundle):
        [run] = run_grid(request.task, [(request.model, request.recipe)], seeds=seeds, reporter=reporter, **options)
    return run


def attempt(request: RunRequest, reporter: Reporter | None = None) -> Outcome:
    """Call `execute`, and return an error as the outcome, so that other runs go on.

    Raise an unknown error if several ranks execute the run: the others may still be in the middle of it.
    """
    try:
        return Outcome(folder=str(execute(request, reporter).folder))
    except XevalError as error:
        return Outcome(problem=str(error))
    except Exception as error:  # a bug in xeval or a library: the traceback goes to the process's log
        if ranks.current().size > 1:
            raise
        traceback.print_exc()
        return Outcome(problem=f"ended by {type(error).__name__}: {one_line(error)}", is_unexpected=True)
