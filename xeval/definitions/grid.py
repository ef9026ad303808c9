"""A grid of runs in one file: every model on every task, by every recipe, with every seed."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from xeval.definitions.toml import Frozen, Name, Text

Several = Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000)]
Tried = Annotated[tuple[int | float | str, ...], Field(min_length=2, max_length=1000)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Grid(Frozen):
    """Models × tasks × recipes × seeds, as `xeval run` and `xeval plan` take them in the place of a task.

    Names and paths mean what they mean on the command line, from the folder in which it is typed.
    """

    tasks: Several
    """Names or paths. A suite stands for those of its tasks that there are rows for."""
    models: Several
    """Aliases, hub ids (`id@revision` pins one), folders, or `name=folder`."""
    recipes: tuple[Text, ...] = ()
    """Names or paths; each task's default by default."""
    seeds: Annotated[tuple[Seed, ...], Field(max_length=1000)] = ()
    """The recipes' own by default."""
    languages: tuple[Text, ...] = ()
    """To evaluate in; the language that is trained on comes along. All of a task's by default."""
    train_language: Text | None = None
    """Each task's own by default."""
    values: dict[Name, int | float | str] = {}
    """Of the recipes, replaced by these."""
    sweep: dict[Name, Tried] = {}
    """Values of the recipes to try, and to choose from by the training language's selection split; of several keys, all
    combinations."""
    data: dict[Text, Text] = {}
    """The folder with a local copy, by task or suite; --data is that of all others."""
    max_train: Count | None = None
    """Train on the first so many rows."""
    max_eval: Count | None = None
    """Evaluate so many test rows of each language."""
    test_split: Text | None = None
    """Evaluate on this split instead."""
    train: bool = True
    """False: evaluate fine-tuned checkpoints as they are."""
    every_checkpoint: bool = False
    """Evaluate the trainings' other checkpoints too."""
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
