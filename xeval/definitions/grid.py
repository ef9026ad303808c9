"""A grid of runs in one file: every model on every task, with every recipe and every seed."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from xeval.definitions.toml import Frozen, Name, Text

Several = Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000)]
Tried = Annotated[tuple[int | float | str, ...], Field(min_length=2, max_length=1000)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Grid(Frozen):
    """Models × tasks × recipes × seeds, which `xeval run` and `xeval plan` take in place of a task.

    Names and paths are read as on the command line, relative to the folder where the command is typed.
    """

    tasks: Several
    """Names or paths. A suite runs those of its tasks that have rows."""
    models: Several
    """Aliases, hub ids (`id@revision` pins one), folders, or `name=folder`."""
    recipes: tuple[Text, ...] = ()
    """Names or paths; default: each task's own."""
    seeds: Annotated[tuple[Seed, ...], Field(max_length=1000)] = ()
    """Default: the recipes' own."""
    languages: tuple[Text, ...] = ()
    """Languages to evaluate in; the training language is added, but not in a suite. Default: all of a task's."""
    train_language: Text | None = None
    """Default: each task's own."""
    values: dict[Name, int | float | str] = {}
    """Values to replace in the recipes."""
    sweep: dict[Name, Tried] = {}
    """Recipe values to try and to choose from on the training language's selection split; for several keys, all
    combinations."""
    data: dict[Text, Text] = {}
    """The folder with a local copy, by task or suite; all others use --data."""
    max_train: Count | None = None
    """Train on only this many rows, the first ones."""
    max_eval: Count | None = None
    """Evaluate only this many test rows of each language."""
    test_split: Text | None = None
    """Evaluate on this split instead of the test split."""
    train: bool = True
    """If false, evaluate fine-tuned checkpoints as they are."""
    every_checkpoint: bool = False
    """Also evaluate the checkpoints that are not chosen."""
    keep_weights: bool = False
    """Keep fine-tuned weights in the runs' folders."""

    @field_validator("tasks", "models", "recipes", "seeds", "languages")
    @classmethod
    def _each_once(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f"{value!r} is listed twice")
        return values

    @field_validator("data")
    @classmethod
    def _of_its_tasks(cls, values: dict[str, str], grid: ValidationInfo) -> dict[str, str]:
        for task in values:
            if task not in grid.data.get("tasks", values):
                raise ValueError(f"{task!r} is not among the tasks")
        return values
