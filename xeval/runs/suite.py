"""A suite of tasks, one after the other: each that there are rows for is run, and of the others it is said why not."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xeval.data.corpus import Corpus
from xeval.data.model_files import find_checkpoint
from xeval.data.source import open_source
from xeval.definitions import registry
from xeval.definitions.suite import SuiteTask
from xeval.definitions.task import DEV, Task
from xeval.engine import devices
from xeval.results.records import Limits
from xeval.results.store import StoredRun
from xeval.runs.grid import run_grid
from xeval.runs.spec import limits
from xeval.runs.sweep import Sweep
from xeval.support.errors import DataError, XevalError
from xeval.support.progress import Reporter, Silent
from xeval.support.text import one_line


@dataclass
class SuiteRuns:
    """What came of a suite."""

    runs: list[StoredRun] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # task → what is missing


@dataclass(frozen=True)
class Plan:
    """How one task is run."""

    data: Path | None
    languages: list[str]
    test_split: str | None = None
    lacking: tuple[str, ...] = ()  # languages of the suite without rows


def run_suite(  # noqa: PLR0913  what `run_grid` takes
    name: str,
    models: Sequence[str],
    *,
    languages: Sequence[str] = (),
    recipe: str | None = None,
    sweep: Sweep | None = None,
    train: bool = True,
    data: str | os.PathLike[str] | None = None,
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
    reporter: Reporter | None = None,
    **options: Any,
) -> SuiteRuns:
    """`run_grid` for each task of the suite called `name`, in all of its languages that there are rows for.

    A task takes `data`/<its folder> where that is there, and else `data`. One whose test rows carry no answers there,
    and whose development rows do, is evaluated on these. One without rows is left out, and so is one that ends in an
    error; the others go on. Raises XevalError for a suite or a model that cannot be had.
    """
    reporter = reporter or Silent()
    suite, folders = registry.get_suite(name), [Path(folder) for folder in tasks_dirs]
    _check_what_holds_for_all(models, recipe, options)
    data = data or os.environ.get("XEVAL_DATA") or None
    outcome = SuiteRuns()
    for member in suite.tasks:
        try:
            task = registry.get_task(member.task, folders)
            plan = make_plan(task, member, Path(data) if data else None, languages, train, options.get("test_split"))
            reporter.say(one_line(f"{member.task}: {_in_words(plan)}"))
            outcome.runs += run_grid(
                member.task,
                [(model, recipe or member.recipe) for model in models],
                languages=plan.languages,
                train=train,
                data=plan.data,
                tasks_dirs=tasks_dirs,
                reporter=reporter,
                sweep=sweep if task.of_kind.trains else None,
                **(options | {"test_split": plan.test_split, "overrides": _overrides_of(task, options)}),
            )
        except XevalError as error:
            outcome.skipped[member.task] = str(error)
            reporter.say(one_line(f"{member.task}: skipped: {error}"))
    reasons = set(outcome.skipped.values())
    if not outcome.runs and len(reasons) == 1:  # it is no task's fault
        raise XevalError(reasons.pop())
    return outcome


def _overrides_of(task: Task, options: dict[str, Any]) -> dict[str, Any]:
    """The values of recipes to replace that mean something to `task`, with a training or without."""
    overrides: dict[str, Any] = options.get("overrides") or {}
    if task.of_kind.trains:
        return {key: value for key, value in overrides.items() if key not in ("layer", "pooling")}
    return {key: value for key, value in overrides.items() if key in ("max_length", "layer", "pooling")}


def _check_what_holds_for_all(models: Sequence[str], recipe: str | None, options: dict[str, Any]) -> None:
    """Raise XevalError for what would be wrong in every task."""
    limits(options.get("max_train"), options.get("max_eval"))
    devices.choose(options.get("device", "auto"), options.get("dtype", "auto"))
    if recipe is not None:
        registry.get_recipe(recipe)
    for model in models:
        find_checkpoint(model)


def make_plan(
    task: Task,
    member: SuiteTask,
    data: Path | None,
    languages: Sequence[str] = (),
    train: bool = True,
    test_split: str | None = None,
) -> Plan:
    """Where the rows of `task` are, in which languages there are any, and of which split.

    Raises DataError, with what is missing, where there is nothing to train or to test on.
    """
    wanted = [language for language in member.languages or task.languages if not languages or language in languages]
    known = [language for language in wanted if language in task.languages]
    if not known:
        raise DataError(f"task {task.name} has none of the languages that were asked for")
    if data is None:
        return Plan(None, known, test_split, tuple(language for language in wanted if language not in known))
    problems: list[DataError] = []
    for split in [test_split] if test_split else [None, DEV] if task.has_selection else [None]:
        for folder in _folders(task, member, data):
            try:
                found = _readable(task.tested_on(split), folder, known, train)
            except DataError as error:
                problems.append(error)
            else:
                return Plan(folder, found, split, tuple(language for language in wanted if language not in found))
    raise problems[0]


def _folders(task: Task, member: SuiteTask, data: Path) -> Iterator[Path | None]:
    """Where to look for the rows of a task: in its own folder, then in the one for all; or nowhere."""
    yield from (data / name for name in member.folders if (data / name).is_dir())
    if task.embedded:
        yield None
    yield data


def _readable(task: Task, folder: Path | None, languages: Sequence[str], train: bool) -> list[str]:
    """Those of `languages` whose test rows can be read. Raises DataError where none can, or nothing to train on."""
    corpus = Corpus(open_source(task, folder, languages, train), Limits())
    trains = train and task.expected_rows.train > 0  # there are tasks that need no training
    for role in task.training_roles if trains else ():
        getattr(corpus, role)
    found, problems = [], []
    for language in languages:
        try:
            corpus.test(language)
            found.append(language)
        except DataError as error:
            problems.append(error)
    if not found:
        raise problems[0]
    return found


def _in_words(plan: Plan) -> str:
    where = "" if plan.test_split is None else f" on the {plan.test_split} split"
    why = ", since its test rows carry no answers here" if plan.test_split == DEV else ""
    lacking = f"; no rows in {' '.join(plan.lacking)}" if plan.lacking else ""
    return f"{len(plan.languages)} languages{where}{why}{lacking}"
