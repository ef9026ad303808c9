"""Look-up of tasks, recipes, published tables, suites and grids by name; an error suggests the nearest valid name.

Files are looked for in the bundle in use, in the folders that the user names (`--tasks-dir`, `XEVAL_TASKS`) and among
those that come with xeval. A name that ends in `.toml` or contains a path separator is a path.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from xeval.definitions.grid import Grid
from xeval.definitions.languages import code_among, names_of
from xeval.definitions.model_name import ModelName
from xeval.definitions.recipe import Recipe
from xeval.definitions.reference import Reference
from xeval.definitions.suite import Suite, SuiteTable, SuiteTask
from xeval.definitions.task import Task
from xeval.definitions.toml import as_definition, read_definition, read_table
from xeval.support import bundle_in_use
from xeval.support.errors import DefinitionError, UnknownNameError, XevalError
from xeval.support.files import in_home, visible

Definition = TypeVar("Definition", Task, Recipe, Reference, Suite, SuiteTable)

_PACKAGE = Path(__file__).resolve().parents[1]


def _home_of(kind: str) -> Path:
    """Return the folder with xeval's own files of `kind`, in an installed package or in the repository."""
    in_package, in_repository = {
        "task": ("bundled/tasks", "../tasks"),
        "recipe": ("bundled/tasks/recipes", "../tasks/recipes"),
        "reference": ("bundled/published", "../results/published"),
        "suite": ("bundled/tasks/suites", "../tasks/suites"),
        "suitetable": ("bundled/published/suites", "../results/published/suites"),
    }[kind]
    bundled = _PACKAGE / in_package
    return bundled if bundled.is_dir() else (_PACKAGE / in_repository).resolve()


def user_folders(tasks_dirs: Sequence[Path]) -> list[Path]:
    """Return the folders with further task files: `tasks_dirs`, and those that XEVAL_TASKS names."""
    from_environment = [Path(entry) for entry in os.environ.get("XEVAL_TASKS", "").split(os.pathsep) if entry]
    folders = [*tasks_dirs, *from_environment]
    for folder in folders:
        if not folder.is_dir():
            raise DefinitionError(
                f"{folder}: wanted a folder of task files, found none; check --tasks-dir or XEVAL_TASKS"
            )
    return folders


def is_path(name: str) -> bool:
    """Return whether `name` is meant as the path of a definition's file, not as its name."""
    return name.endswith(".toml") or os.sep in name


def _find_all(folders: Sequence[Path], noun: type[Definition]) -> dict[str, tuple[Path, Definition]]:
    by_name: dict[str, tuple[Path, Definition]] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        for path in visible(folder, "*.toml"):
            table = read_table(path, noun.__name__.lower())
            if _noun_of(table) not in (None, noun):
                continue  # people keep a task, its table and its recipe in one folder
            definition = as_definition(path, table, noun)
            if definition.name in by_name:
                raise DefinitionError(
                    f"{path}: {noun.__name__.lower()} {definition.name!r} is already defined by"
                    f" {by_name[definition.name][0]}; give one of the two another name"
                )
            by_name[definition.name] = (path, definition)
    return by_name


# The name of each noun in messages, and the top-level keys that tell the nouns' files apart.
_IN_WORDS: dict[Any, str] = {
    Task: "a task",
    Suite: "a suite of tasks",
    Grid: "a grid of runs",
    Recipe: "a recipe",
    Reference: "a published table",
    SuiteTable: "a published table over a suite",
}
_OWN_KEYS: dict[Any, set[str]] = {
    Task: {"kind", "training_language", "default_recipe"},
    Suite: {"tasks"},
    Recipe: {"learning_rate", "pooling"},
    Reference: {"rows", "task"},
    SuiteTable: {"rows", "suite"},
}


def _noun_in(path: Path) -> Any:
    """Return the class that the file at `path` defines, judging by its keys; None if they do not tell."""
    try:
        return _noun_of(read_table(path, "definition"))
    except DefinitionError:  # the code that reads the file later reports what is wrong
        return None


def _noun_of(table: Mapping[str, Any]) -> Any:
    keys = table.keys()
    if "models" in keys:
        return Grid  # checked first, because a grid lists tasks as a suite does
    shared = {noun: len(keys & own) for noun, own in _OWN_KEYS.items()}
    most = max(shared.values())
    nouns = [noun for noun, n in shared.items() if n == most > 0]
    return nouns[0] if len(nouns) == 1 else None


def _known(folders: Sequence[Path], noun: type[Definition]) -> dict[str, tuple[Path, Definition]]:
    """Return every definition by name. Those in the bundle in use override others of the same name."""
    in_use = bundle_in_use.unpacked()
    bundled = _find_all([in_use.folder / f"{noun.__name__.lower()}s"], noun) if in_use is not None else {}
    return _find_all(folders, noun) | bundled


def _find(name: str, noun: type[Definition], folders: Sequence[Path]) -> tuple[Path, Definition]:
    if is_path(name):
        path = in_home(name)
        other = _noun_in(path)
        if other not in (None, noun):
            raise DefinitionError(f"{path}: wanted {_IN_WORDS[noun]}, got {_IN_WORDS[other]}; give another file")
        return path, read_definition(path, noun)
    known = _known(folders, noun)
    if name not in known:
        raise UnknownNameError(noun.__name__.lower(), name, known)
    return known[name]


def all_tasks(tasks_dirs: Sequence[Path] = ()) -> dict[str, Task]:
    """Return every known task by name."""
    known = _known([*user_folders(tasks_dirs), _home_of("task")], Task)
    return {name: task for name, (_, task) in known.items()}


def all_recipes() -> dict[str, Recipe]:
    """Return every known recipe by name."""
    return {name: recipe for name, (_, recipe) in _known([_home_of("recipe")], Recipe).items()}


def all_references() -> dict[str, Reference]:
    """Return every known published table by name."""
    return {name: table for name, (_, table) in _known([_home_of("reference")], Reference).items()}


def all_suites() -> dict[str, Suite]:
    """Return every known suite of tasks by name."""
    return {name: suite for name, (_, suite) in _known([_home_of("suite")], Suite).items()}


def suite_tables(suite: str) -> list[SuiteTable]:
    """Return the published tables over the tasks of `suite`."""
    known = _known([_home_of("suitetable")], SuiteTable)
    return [table for _, table in known.values() if table.suite == suite]


def get_suite(name: str) -> Suite:
    """Return the suite called `name`, or the one in the file at that path. Raises as `get_task` does."""
    return _find(name, Suite, [_home_of("suite")])[1]


def is_suite(name: str, tasks_dirs: Sequence[Path] = ()) -> bool:
    """Return whether `name` is a suite. A task of that name comes first. A file that lists `tasks` is a suite.

    A file that also lists `models` is a grid instead.
    """
    if is_path(name):
        return _noun_in(in_home(name)) is Suite
    return name in all_suites() and name not in all_tasks(tasks_dirs)


def is_grid(name: str) -> bool:
    """Return whether `name` is the path of a grid's file, which lists `models`."""
    return name.endswith(".toml") and _noun_in(in_home(name)) is Grid


def get_grid(path: str, tasks_dirs: Sequence[Path] = ()) -> Grid:
    """Read the grid in that file and check the names in it. Raises DefinitionError with the file and the key."""
    grid = read_definition(in_home(path), Grid)
    key = "tasks"
    try:
        _check_tasks(grid.tasks, tasks_dirs)
        key = "languages"
        for task in grid.tasks:
            _check_languages_of(task, grid.languages, tasks_dirs)
        checks: dict[str, Callable[[str], object]] = {
            "models": ModelName.parse,
            "recipes": get_recipe,
            "values": _check_value,
            "sweep": _check_value,
        }
        for key, check in checks.items():
            for name in getattr(grid, key):
                check(name)
    except XevalError as error:
        raise DefinitionError(f"{path}: {key}: {error}") from error
    return grid


def _check_tasks(tasks: Sequence[str], tasks_dirs: Sequence[Path]) -> None:
    """Raise for a word that names neither a task nor a suite, and for a task that is named twice."""
    names = [name for task in tasks for name in _names_of(task, tasks_dirs)]
    for name in names:
        if names.count(name) > 1:
            raise DefinitionError(f"{name} is listed twice, by itself or in a suite")


def _names_of(task: str, tasks_dirs: Sequence[Path]) -> list[str]:
    """Return the tasks that a word in a grid's file stands for: one, or those of a suite."""
    if is_suite(task, tasks_dirs):
        return [member.task for member in get_suite(task).tasks]
    return [get_task(task, tasks_dirs).name]


def _check_value(name: str) -> None:
    if name not in Recipe.model_fields:
        raise UnknownNameError("value of a recipe", name, Recipe.model_fields)


def find_task(name: str, tasks_dirs: Sequence[Path] = ()) -> tuple[Path, Task]:
    """Return the file that `get_task` reads, and the task."""
    return _find(name, Task, [*user_folders(tasks_dirs), _home_of("task")])


def find_recipe(name: str) -> tuple[Path, Recipe]:
    """Return the file that `get_recipe` reads, and the recipe."""
    return _find(name, Recipe, [_home_of("recipe")])


def find_reference(name: str) -> tuple[Path, Reference]:
    """Return the file that `get_reference` reads, and the table."""
    return _find(name, Reference, [_home_of("reference")])


def get_task(name: str, tasks_dirs: Sequence[Path] = ()) -> Task:
    """Return the task called `name`, or the one in the file at that path.

    Raises UnknownNameError, or DefinitionError for a file that is not a task.
    """
    return find_task(name, tasks_dirs)[1]


def get_recipe(name: str) -> Recipe:
    """Return the recipe called `name`, or the one in the file at that path. Raises as `get_task` does."""
    return find_recipe(name)[1]


def get_reference(name: str) -> Reference:
    """Return the published table called `name`, or the one in the file at that path. Raises as `get_task` does."""
    return find_reference(name)[1]


def check_languages(task: Task, languages: Sequence[str]) -> list[str]:
    """Return the codes of `languages` without repetition, in the order given, or all of the task's if none is given.

    A language may be given by its code, by a code of another standard, or by its English name. Raises
    UnknownNameError for a language that the task does not have.
    """
    codes = dict[str, None]()
    for language in languages:
        code = code_among(task.languages, language)
        if code is None:
            names = {name: code for code, name in names_of(task.languages).items()}
            raise UnknownNameError(f"language of task {task.name}", language, task.languages, other_names=names)
        codes[code] = None
    return list(codes) or list(task.languages)


def _check_languages_of(task: str, languages: Sequence[str], tasks_dirs: Sequence[Path]) -> None:
    """Raise for a task or suite that cannot be found, and UnknownNameError for a language that it does not have.

    A suite has the languages that any of its tasks has there.
    """
    if not is_suite(task, tasks_dirs):
        check_languages(get_task(task, tasks_dirs), languages)
        return
    suite, members = get_suite(task), list[tuple[SuiteTask, Task]]()
    for member in suite.tasks:
        try:
            members.append((member, get_task(member.task, tasks_dirs)))
        except XevalError:
            return  # this task is left out, and nothing says which languages it would have
    for name in languages:
        if not any(member.languages_among(of_it.languages, [name]) for member, of_it in members):
            known = {code for member, of_it in members for code in member.languages_among(of_it.languages, [])}
            raise UnknownNameError(f"language of suite {suite.name}", name, known)


def check_names(
    task: str,
    models: Sequence[str] = (),
    languages: Sequence[str] = (),
    recipe: str | None = None,
    tasks_dirs: Sequence[Path] = (),
) -> None:
    """Raise for an unknown task or suite, language of it, model or recipe, without loading torch."""
    _check_languages_of(task, languages, tasks_dirs)
    for model in models:
        ModelName.parse(model)
    if recipe is not None:
        get_recipe(recipe)
