"""A suite of tasks, run one after the other; a task without rows is left out, with the reason."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from xeval.data.corpus import Corpus
from xeval.data.layouts import local_copy
from xeval.data.model_files import find_checkpoint
from xeval.data.source import open_source
from xeval.definitions import registry
from xeval.definitions.languages import code_among
from xeval.definitions.suite import Suite, SuiteTask
from xeval.definitions.task import DEV, Task
from xeval.engine import devices
from xeval.results.records import Limits
from xeval.results.store import StoredRun
from xeval.runs.grid import TaskGrid, run_grid, run_grids, trained_on
from xeval.runs.score_given import EITHER, score_given
from xeval.runs.spec import limits
from xeval.support.countdown import count_down
from xeval.support.errors import DataError, DefinitionError, NoRowsError, UnansweredError, XevalError
from xeval.support.progress import Reporter, Silent
from xeval.support.text import counted, one_line


@dataclass
class SuiteRuns:
    """The outcome of a suite."""

    runs: list[StoredRun] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # task → why


@dataclass(frozen=True)
class TaskRows:
    """Where the rows of one task are, and which of them a run takes."""

    data: Path | None
    languages: list[str]
    test_split: str | None = None
    lacking: tuple[str, ...] = ()  # languages of the suite without rows
    unanswered: tuple[str, ...] = ()  # those whose rows have no answers
    has_tests: bool = True  # whether there are test rows, with or without answers
    corpus: Corpus | None = None  # the rows, if they were read to see that they are there


@dataclass(frozen=True)
class Wanted:
    """What is requested of a task."""

    languages: Sequence[str] = ()  # empty: all
    train: bool = True
    test_split: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class FileGrid:
    """What the file of a grid asks to run."""

    tasks: dict[str, TaskGrid]  # those named outside of suites
    suites: dict[str, dict[str, Any]]  # suite's name → arguments of `suite_grids`

    def with_options(self, options: dict[str, Any]) -> "FileGrid":
        """Return the same grid with further options of `run_grid`."""
        tasks = {name: replace(grid, options=grid.options | options) for name, grid in self.tasks.items()}
        return FileGrid(tasks, {name: own | options for name, own in self.suites.items()})


def run_file(grid: FileGrid, reporter: Reporter | None = None) -> tuple[dict[str, list[StoredRun]], dict[str, str]]:
    """Execute the runs of a grid's file; return them by task and by suite, and why tasks of suites are left out.

    Tasks named outside of suites come first; all of them are checked before the first run starts.
    """
    of_tasks = run_grids(grid.tasks, reporter)
    runs, skipped = dict(zip(grid.tasks, of_tasks, strict=True)), dict[str, str]()
    for name, options in grid.suites.items():
        outcome = run_suite(name, **options)
        runs[name] = outcome.runs
        skipped |= outcome.skipped
    return runs, skipped


def run_suite(name: str, models: Sequence[str], *, reporter: Reporter | None = None, **options: Any) -> SuiteRuns:
    """Call `run_grid` for each task of the suite `name`, in all of its languages that have rows.

    Before the first run, `reporter` is told whether and how each task is run.

    A task reads `data`/<its folder> if that exists, and `data` otherwise. If its test rows have no answers there but
    its development rows do, it is evaluated on the development rows. A task without rows, or one that ends in an error,
    is left out; the others go on. Takes the options of `suite_grids`. Raises XevalError for a suite or a model that
    cannot be found.
    """
    grids, skipped = suite_grids(name, models, reporter=reporter, **options)
    outcome, say = SuiteRuns(skipped=skipped), (reporter or Silent()).say
    for task, reason in skipped.items():
        say(_not_run(task, reason))
    for task in count_down(list(grids), [1] * len(grids), str, say, "task"):
        grid = grids.pop(task)  # so that its rows are freed when it is done
        with left_out(task, skipped, reporter or Silent()):
            outcome.runs += run_grid(task, grid.pairs, **grid.options)
    _raise_what_is_wrong_with_all(skipped, bool(outcome.runs))
    return outcome


def suite_grids(  # noqa: PLR0913  what `run_grid` takes
    name: str,
    models: Sequence[str],
    *,
    languages: Sequence[str] = (),
    recipes: Sequence[str] = (),
    train: bool = True,
    data: str | os.PathLike[str] | None = None,
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
    reporter: Reporter | None = None,
    **options: Any,
) -> tuple[dict[str, TaskGrid], dict[str, str]]:
    """Return what to run of each task that has rows, and why each of the others is left out.

    Without `recipes`, each task is run with the suite's recipe for it.
    """
    reporter = reporter or Silent()
    suite, folders = registry.get_suite(name), [Path(folder) for folder in tasks_dirs]
    row_limits = _check_what_holds_for_all(models, recipes, options)
    copy = local_copy(data)
    skipped: dict[str, str] = {}
    grids: dict[str, TaskGrid] = {}
    lines: list[str] = []
    for member in suite.tasks:
        try:
            task = registry.get_task(member.task, folders)
            of_task = options_of(task, options)
            if (language := of_task.get("train_language")) is not None:
                task = trained_on(task, language, train)  # so that the rows found are those of this training
            wanted = Wanted(languages, train, options.get("test_split"), row_limits)
            rows = find_rows(task, member, copy, wanted)
        except XevalError as error:
            skipped[member.task] = str(error)
            continue
        lines.append(f"{member.task}: {_in_words(rows, wanted)}")
        of_task |= {
            "languages": rows.languages,
            "train": train,
            "data": rows.data,
            "corpus": rows.corpus,
            "tasks_dirs": tasks_dirs,
            "reporter": reporter,
            "test_split": rows.test_split,
        }
        grids[member.task] = TaskGrid(pairs_of(models, recipes, member), of_task)
    _raise_what_is_wrong_with_all(skipped, bool(grids))
    for line in lines:
        reporter.say(one_line(line))
    return grids, skipped


@contextmanager
def left_out(task: str, skipped: dict[str, str], reporter: Reporter) -> Iterator[None]:
    """Note a task that ends in an error as left out, so that the others go on."""
    try:
        yield
    except XevalError as error:
        skipped[task] = str(error)
        reporter.say(_not_run(task, error))


def _not_run(task: str, reason: object) -> str:
    return one_line(f"{task}: not run: {reason}")


def score_suite(  # noqa: PLR0913  what `score_given` takes
    name: str,
    predictions: str | os.PathLike[str],
    *,
    model: str,
    languages: Sequence[str] = (),
    data: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
    reporter: Reporter | None = None,
    **options: Any,
) -> SuiteRuns:
    """Call `score_given` for each task of the suite `name` that has a folder in `predictions`, as submissions have.

    A task takes the right answers of `labels`/<its folder>, or else the rows of `data`/<its folder>, or of `data` if
    there is no such folder. A task without predictions, or one whose predictions cannot be scored, is left out; the
    others go on. Raises XevalError for a suite that cannot be found, and for a folder without predictions for any of
    its tasks.
    """
    reporter = reporter or Silent()
    if data and labels:
        raise DefinitionError(EITHER)
    suite, outcome = registry.get_suite(name), SuiteRuns()
    submission = Path(predictions)
    _check_submission(suite, submission, reporter)
    copy = local_copy(data)
    for member in suite.tasks:
        try:
            task = registry.get_task(member.task, [Path(folder) for folder in tasks_dirs])
            known = [code for name in languages if (code := code_among(task.languages, name)) is not None]
            if languages and not known:
                raise DataError(f"task {task.name} has none of the requested languages")
            run = score_given(
                member.task,
                _own_folder(submission, member),
                model=model,
                languages=known,
                data=None if labels else _folders(task, member, copy)[0],
                labels=_own_folder(Path(labels), member) if labels else None,
                tasks_dirs=tasks_dirs,
                reporter=reporter,
                **options,
            )
        except XevalError as error:
            outcome.skipped[member.task] = str(error)
            reporter.say(one_line(f"{member.task}: not scored: {error}"))
        else:
            outcome.runs.append(run)
            n_rows = sum(score.n_rows for score in run.record.scores.values())
            rows = counted(n_rows, task.of_kind.unit)
            reporter.say(one_line(f"{member.task}: {rows} in {counted(len(run.record.scores), 'languages')}"))
    _raise_what_is_wrong_with_all(outcome.skipped, bool(outcome.runs))
    return outcome


def _check_submission(suite: Suite, submission: Path, reporter: Reporter) -> None:
    """Raise DataError for a folder that has nothing of `suite`; report folders that belong to none of its tasks."""
    if not submission.is_dir():
        raise DataError(f"{submission}: wanted a folder with a folder for each task of {suite.name}; there is none")
    inside = sorted(each.name for each in submission.iterdir() if each.is_dir())
    known = {name for member in suite.tasks for name in _folder_names(member)}
    if not known & set(inside):
        names = ", ".join(_folder_names(member)[0] for member in suite.tasks)
        raise DataError(
            f"{submission}: wanted a folder for each task of {suite.name} ({names}), found"
            f" {', '.join(inside)[:120] or 'none'}"
        )
    strays = [name for name in inside if name not in known]
    if strays:
        reporter.say(one_line(f"folders that belong to no task of {suite.name}, not read: {', '.join(strays)}"))


def _folder_names(member: SuiteTask) -> list[str]:
    return list(dict.fromkeys([*member.folders, member.task]))


def _own_folder(path: Path, member: SuiteTask) -> Path:
    """Return the folder of a task below `path`. Raises DataError if there is none, or more than one."""
    own = [path / name for name in _folder_names(member) if (path / name).is_dir()]
    if len(own) != 1:
        contents = f"found {' and '.join(folder.name for folder in own)}" if own else "there is none"
        raise DataError(f"{path}: wanted one folder {' or '.join(_folder_names(member))}; {contents}")
    return own[0]


def _raise_what_is_wrong_with_all(skipped: dict[str, str], is_any_left: bool) -> None:
    reasons = set(skipped.values())
    if not is_any_left and len(reasons) == 1:  # so no single task is at fault
        raise XevalError(reasons.pop())


def pairs_of(models: Sequence[str], recipes: Sequence[str], member: SuiteTask) -> list[tuple[str, str | None]]:
    """Return the models of a suite's task, each with each recipe, or else with the suite's."""
    chosen: Sequence[str | None] = recipes or [member.recipe]
    return list(product(models, chosen))


def options_of(task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `options` of several tasks without those that mean nothing to `task`, which may train or not."""
    overrides: dict[str, Any] = options.get("overrides") or {}
    if task.of_kind.trains:
        kept = {key: value for key, value in overrides.items() if key not in ("layer", "pooling")}
        return {**options, "overrides": kept}
    kept = {key: value for key, value in overrides.items() if key in ("max_length", "layer", "pooling")}
    none = {"sweep": None, "seeds": (), "train_language": None, "every_checkpoint": False}
    return {**options, "overrides": kept, **none}


def _check_what_holds_for_all(models: Sequence[str], recipes: Sequence[str], options: dict[str, Any]) -> Limits:
    """Return the limits on rows. Raises XevalError for anything that would be wrong in every task."""
    row_limits = limits(options.get("max_train"), options.get("max_eval"))
    devices.choose(options.get("device", "auto"), options.get("dtype", "auto"))
    for recipe in recipes:
        registry.get_recipe(recipe)
    for model in models:
        find_checkpoint(model)
    return row_limits


def find_rows(task: Task, member: SuiteTask, data: Path | None, wanted: Wanted) -> TaskRows:
    """Find the rows of `task`: their folder, the languages that have any, and the split.

    Raises DataError, naming what is missing, if there is nothing to train or to test on, and what is wrong with rows
    that are there but cannot be used. Nothing is fetched from the hub yet.
    """
    languages = member.languages_among(task.languages, wanted.languages)
    known = [language for language in languages if language in task.languages]
    if not known:
        raise DataError(f"task {task.name} has none of the requested languages")
    if data is None and task.hub is not None:
        lacking = tuple(language for language in languages if language not in known)
        return TaskRows(None, known, wanted.test_split, lacking)
    problems: list[DataError] = []
    for split in [wanted.test_split] if wanted.test_split else [None, DEV] if task.has_selection else [None]:
        for folder in _folders(task, member, data):
            tested = task.tested_on(split)
            row_limits = wanted.limits.model_copy(update={"test_split": tested.test_split})
            try:
                corpus = Corpus(open_source(tested, folder, known, wanted.train), row_limits)
                readable, unanswered = _readable(corpus, known, wanted.train)
            except DataError as error:
                problems.append(error)
            else:
                lacking = tuple(language for language in languages if language not in {*readable, *unanswered})
                has_tests = split == wanted.test_split or any(isinstance(each, UnansweredError) for each in problems)
                return TaskRows(folder, readable, split, lacking, tuple(unanswered), has_tests, corpus)
        if not isinstance(problems[0], NoRowsError | UnansweredError):
            break  # other rows are no substitute for rows that can be corrected
    raise problems[0]


def _folders(task: Task, member: SuiteTask, data: Path | None) -> list[Path | None]:
    """Return where to look for the rows of a task: its own folder, embedded rows (None), then the folder for all."""
    if data is None:
        return [None]
    own: list[Path | None] = [data / name for name in member.folders if (data / name).is_dir()]
    return [*own, *([None] if task.embedded else []), data]


def _readable(corpus: Corpus, languages: Sequence[str], train: bool) -> tuple[list[str], list[str]]:
    """Return those of `languages` with test rows to evaluate on, and those whose test rows have no answers.

    Raises DataError if there are no rows to train or to evaluate on, or if rows that are there cannot be used.
    """
    task = corpus.task
    trains = train and task.of_kind.trains
    for role in task.training_roles if trains else ():
        getattr(corpus, role)
    readable: list[str] = []
    problems: dict[str, DataError] = {}
    for language in languages:
        try:
            corpus.test(language)
            readable.append(language)
        except (NoRowsError, UnansweredError) as error:
            problems[language] = error
    unanswered = [language for language, error in problems.items() if isinstance(error, UnansweredError)]
    if not readable:
        raise problems[(unanswered or list(problems))[0]]
    return readable, unanswered


def _in_words(rows: TaskRows, wanted: Wanted) -> str:
    where = "" if rows.test_split is None else f" on the {rows.test_split} split"
    why = ""
    if rows.test_split != wanted.test_split:
        why = ", since its test rows have no answers here" if rows.has_tests else ", since it has no test rows here"
    lacking = f"; no rows in {' '.join(rows.lacking)}" if rows.lacking else ""
    unanswered = f"; no answers in {' '.join(rows.unanswered)}" if rows.unanswered else ""
    return f"{counted(len(rows.languages), 'languages')}{where}{why}{lacking}{unanswered}"
