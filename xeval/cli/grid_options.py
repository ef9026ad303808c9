"""The options on runs that `xeval run` and `xeval plan` share."""

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import Field, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from xeval.cli.options import (
    Bundle,
    Data,
    Device,
    Dtype,
    EveryCheckpoint,
    KeepWeights,
    LanguagesToRun,
    MaxEval,
    MaxTrain,
    Models,
    NoTrain,
    Quiet,
    RecipeName,
    Results,
    Seeds,
    Subject,
    TasksDirs,
    TestSplit,
    TrainLanguage,
    numbers,
    words,
)
from xeval.cli.recipe_values import with_recipe_values
from xeval.data.bundle import using
from xeval.definitions.grid import Grid
from xeval.definitions.languages import code_among
from xeval.definitions.registry import check_languages, check_names, get_grid, get_task, is_grid, is_suite

if TYPE_CHECKING:
    from xeval.runs.suite import FileGrid
    from xeval.support.progress import Reporter


@dataclass(frozen=True)
class GridOptions:
    """The options as the user gave them."""

    task: Subject = None
    model: Models = None
    language: LanguagesToRun = None
    train_language: TrainLanguage = None
    seed: Seeds = None
    recipe: RecipeName = None
    no_train: NoTrain = False
    every_checkpoint: EveryCheckpoint = False
    keep_weights: KeepWeights = False
    data: Data = None
    bundle: Bundle = None
    results: Results = Path("results")
    max_train: MaxTrain = None
    max_eval: MaxEval = None
    test_split: TestSplit = None
    device: Device = "auto"
    dtype: Dtype = "auto"
    tasks_dir: TasksDirs = None
    quiet: Quiet = False
    overrides: dict[str, Any] | None = None

    def check(self) -> tuple[str, list[str]]:
        """Return the task and the models. Raises, before torch is loaded, if one is missing or a name is unknown."""
        if self.task is None or not self.model:
            missing = "TASK" if self.task is None else "--model"
            raise typer.BadParameter(f"{missing} is missing; wanted a task and a model, as in xnli --model mbert")
        if self.bundle is None:  # a bundle may have names of its own
            check_names(self.task, self.model, words(self.language), self.recipe, self.tasks_dir or ())
        return self.task, self.model

    def of_library(self) -> dict[str, Any]:
        """Return the options that `xeval.run` has too, under its names."""
        return {
            "languages": self._languages(),
            "train_language": self.train_language,
            "seeds": numbers(self.seed),
            "overrides": self.overrides or {},
            "train": not self.no_train,
            "every_checkpoint": self.every_checkpoint,
            "keep_weights": self.keep_weights,
            "data": self.data,
            "results": self.results,
            "max_train": self.max_train,
            "max_eval": self.max_eval,
            "test_split": self.test_split,
            "device": self.device,
            "dtype": self.dtype,
            "tasks_dirs": self.tasks_dir or (),
            "reporter": self.reporter(),
        }

    def reporter(self) -> "Reporter":
        from xeval.support.progress import reporter  # rich's bars

        return reporter(self.quiet)

    def grid(self, context: typer.Context) -> Grid | None:
        """Return the grid in the file given instead of a task; None if a task was given.

        Raises for options whose values the file has, and for unknown names in it.
        """
        if self.task is None or not is_grid(self.task):
            return None
        refuse_beside(context, _BESIDE_A_GRID, f"{self.task} defines what to run")
        with using(self.bundle):
            return get_grid(self.task, self.tasks_dir or ())

    def of_file(self, grid: Grid) -> "FileGrid":
        """Return what `grid` asks to run of each task and suite."""
        from xeval.runs.grid import TaskGrid
        from xeval.runs.suite import FileGrid, options_of

        names = ("train_language", "train", "every_checkpoint", "keep_weights", "max_train", "max_eval", "test_split")
        options = self.of_library() | {name: getattr(grid, name) for name in names}
        options |= {
            "seeds": list(grid.seeds),
            "overrides": {name: _plain(value) for name, value in grid.values.items()},
            "sweep": {name: [_plain(value) for value in values] for name, values in grid.sweep.items()},
        }
        pairs = [(model, recipe) for model in grid.models for recipe in grid.recipes or (None,)]
        some_train = any(self._may_train(task) for task in grid.tasks)
        file_grid = FileGrid({}, {})
        for task in grid.tasks:
            own = options | {"data": grid.data.get(task, self.data)}
            if is_suite(task, self.tasks_dir or ()):
                words = {"models": grid.models, "recipes": grid.recipes, "languages": grid.languages}
                file_grid.suites[task] = own | words
            else:
                languages = self._led(task, grid.languages, grid.train_language, grid.train)
                # If no task trains, options of training are a mistake, which is refused.
                of_task = options_of(get_task(task, self.tasks_dir or ()), own) if some_train else own
                file_grid.tasks[task] = TaskGrid(pairs, of_task | {"languages": languages})
        return file_grid

    def _may_train(self, task_or_suite: str) -> bool:
        folders = self.tasks_dir or ()
        return is_suite(task_or_suite, folders) or get_task(task_or_suite, folders).of_kind.trains

    def _languages(self) -> list[str]:
        names = words(self.language)
        with using(self.bundle):
            if not names or self.task is None or is_suite(self.task, self.tasks_dir or ()):
                return names
            return self._led(self.task, names, self.train_language, not self.no_train)

    def _led(self, name: str, names: Sequence[str], train_language: str | None, train: bool) -> list[str]:
        """Return the named languages, after the one trained on: without it, results say nothing about transfer."""
        if not names:
            return []
        task = get_task(name, self.tasks_dir or ())
        codes = check_languages(task, names)
        if not train or not task.of_kind.trains:
            return codes
        trained_on = code_among(task.languages, train_language or task.training_language)
        return list(dict.fromkeys([*([trained_on] if trained_on else []), *codes]))


_BESIDE_A_GRID = {
    *("task", "data", "bundle", "results", "device", "dtype", "tasks_dir", "quiet"),
    *("on", "log_to", "dry_run", "output_format", "output"),
}


def _plain(value: float | str) -> float | str:
    return float(value) if isinstance(value, float) else value


def refuse_beside(context: typer.Context, allowed: Collection[str], why: str) -> None:
    """Raise for options typed along with a file that has their values, unless they are `allowed`."""
    for name in context.params.keys() - allowed:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "TASK" if name == "task" else f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"{option}: {why}, and how; leave out one of the two")


def with_grid_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command`, which takes a `GridOptions`, with an option for each field of it and each value of a recipe."""
    own = inspect.signature(command, eval_str=True)

    @wraps(command)
    def with_grid(**values: Any) -> None:
        grid = GridOptions(**{field.name: values.pop(field.name) for field in fields(GridOptions)})
        command(grid=grid, **values)

    parameters = list[inspect.Parameter]()
    for name, parameter in own.parameters.items():
        parameters += _parameters() if name == "grid" else [parameter]
    with_grid.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    return with_recipe_values(with_grid)


def _parameters() -> Iterator[inspect.Parameter]:
    hints = get_type_hints(GridOptions, include_extras=True)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own: tuple[Field[Any], ...] = fields(GridOptions)
    for field in own:
        yield inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
