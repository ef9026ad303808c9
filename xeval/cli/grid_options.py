"""What `xeval run` and `xeval plan` are told of the runs: the same options, in one place."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from xeval.cli.options import (
    Bundle,
    Data,
    Device,
    Dtype,
    EveryCheckpoint,
    KeepWeights,
    Languages,
    MaxEval,
    MaxTrain,
    Model,
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
from xeval.definitions.registry import check_names


@dataclass(frozen=True)
class GridOptions:
    """The options as they were given."""

    task: Annotated[str | None, typer.Argument(help=Subject, show_default=False)] = None
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help=Model)] = None
    language: Languages = None
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
        """The task and the models. Raises, before torch is loaded, where one is missing or a name is none."""
        if self.task is None or not self.model:
            missing = "TASK" if self.task is None else "--model"
            raise typer.BadParameter(f"{missing} is missing; wanted a task and a model, as in xnli --model mbert")
        if self.bundle is None:  # which may have names of its own
            check_names(self.task, self.model, words(self.language), self.recipe, self.tasks_dir or ())
        return self.task, self.model

    def of_library(self) -> dict[str, Any]:
        """The options that `xeval.run` has too, under its names."""
        from xeval.support.progress import reporter  # rich's bars

        return {
            "languages": words(self.language),
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
            "reporter": reporter(self.quiet),
        }


def with_grid_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, which takes a `GridOptions`, with an option for each of its fields and for each value of a recipe."""
    own = inspect.signature(command, eval_str=True)

    @wraps(command)
    def with_grid(**given: Any) -> None:
        grid = GridOptions(**{field.name: given.pop(field.name) for field in fields(GridOptions)})
        command(grid=grid, **given)

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
