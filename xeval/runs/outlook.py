"""The outlook of a grid before anything is fetched: its runs by name, which are finished, and estimates for the rest.

`xeval plan` fetches, reads and measures, so it knows more (`xeval.runs.plan`). Here, only names are compared: a model
whose files have changed under the same name counts as the one that was run before. The run itself checks the files.
"""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from xeval.data.bundle import using
from xeval.data.layouts import local_copy, recognise
from xeval.data.model_files import glimpse, missing_model_bytes
from xeval.data.source import missing_data_bytes
from xeval.definitions import registry
from xeval.definitions.model_name import ModelName
from xeval.definitions.recipe import Recipe
from xeval.definitions.task import Task
from xeval.engine import devices
from xeval.engine.loading import hidden_size
from xeval.results.identity import lasting_values
from xeval.results.records import Limits, RunRecord
from xeval.results.run_on_disk import RunOnDisk
from xeval.results.store import StoredRun, known_runs, weights_of
from xeval.runs.forecast import RowsOfTraining, Speed, kept_speed, rows_of_training, speed_key, speed_of_runs
from xeval.runs.grid import TaskGrid, check_options, define, seeds_for, seeds_to_run, table_to_reproduce
from xeval.runs.preflight import count_checkpoint_weights
from xeval.runs.provenance import has_other_labels
from xeval.runs.spec import limits, recipe_record
from xeval.runs.suite import FileGrid, options_of, pairs_of
from xeval.support.errors import XevalError


@dataclass(frozen=True)
class NamedRun:
    """One run, known only by names and values."""

    task: Task
    model: ModelName
    recipe: Recipe
    seed: int | None  # None if nothing is trained
    languages: tuple[str, ...]
    is_finished: bool
    seconds: float | None  # that it takes on this machine; None if unknown
    trained_weights: int | None  # how many its training leaves in the cache: 0 without a training run, None if unknown


@dataclass(frozen=True)
class Outlook:
    """What is known of a grid by names alone."""

    runs: tuple[NamedRun, ...]
    downloads: Mapping[str, int | None]  # what is not here yet → how many bytes, None if unknown
    table: str | None  # the published table to reproduce
    is_on_all_rows: bool
    why_seeds: str = ""  # why this many, if the user gave none
    may_lack_tasks: bool = False  # true for a suite, whose tasks without rows are left out
    n_trials: int = 0  # of a sweep, for each model

    @property
    def to_do(self) -> list[NamedRun]:
        return [run for run in self.runs if not run.is_finished]

    @property
    def seconds(self) -> float | None:
        """Time of all open runs on this machine, one after the other; None unless known for each, and for a sweep."""
        known = [run.seconds for run in self.to_do]
        return None if None in known or self.n_trials else sum(seconds or 0.0 for seconds in known)


def outlook_of_grids(
    grids: Mapping[str, TaskGrid],
    *,
    bundle: str | os.PathLike[str] | None = None,
    table: str | None = None,
    why_seeds: str = "",
    of_suites: Collection[str] = (),
) -> Outlook:
    """Return the outlook of what `run_grid` makes of each task; tasks `of_suites` may turn out to have no rows.

    Raises XevalError for unknown names, and for options that cannot be; for tasks `of_suites`, only if no task of the
    grids can be run.
    """
    runs, downloads, problems, is_whole = list[NamedRun](), dict[str, int | None](), list[XevalError](), True
    with using(bundle):
        for task, grid in grids.items():
            try:
                of_task = _TaskOutlook(task, grid)
            except XevalError as error:
                if task not in of_suites:
                    raise
                problems.append(error)  # the suite leaves this task out, and says why
                continue
            if task not in of_suites:
                of_task.check_options()
            runs += of_task.runs()
            downloads |= of_task.downloads()
            is_whole = is_whole and of_task.limits == Limits()
    if problems and len(problems) == len(grids):
        raise problems[0]
    n_trials = max((_count_combinations(grid.options.get("sweep") or {}) for grid in grids.values()), default=0)
    return Outlook(
        runs=tuple(runs),
        downloads=downloads,
        table=table,
        is_on_all_rows=is_whole,
        why_seeds=why_seeds,
        may_lack_tasks=bool(of_suites),
        n_trials=n_trials,
    )


def outlook_of_file(grid: FileGrid, *, bundle: str | os.PathLike[str] | None = None) -> Outlook:
    """Return the outlook of what `run_file` makes."""
    with using(bundle):
        of_suites = [_grids_of_suite(name, **options) for name, options in grid.suites.items()]
    of_tasks = {task: each for grids in of_suites for task, each in grids.items()}
    return outlook_of_grids(grid.tasks | of_tasks, bundle=bundle, of_suites=of_tasks)


def outlook_of_grid(
    subject: str,
    models: Sequence[str],
    *,
    recipe: str | None = None,
    bundle: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Outlook:
    """Return the outlook of what `xeval.run`, or `run_suite` for a suite, makes with these options."""
    with using(bundle):
        if not registry.is_suite(subject, options.get("tasks_dirs") or ()):
            return outlook_of_grids({subject: TaskGrid([(model, recipe) for model in models], options)}, bundle=bundle)
        grids = _grids_of_suite(subject, models, [recipe] if recipe else [], **options)
    return outlook_of_grids(grids, bundle=bundle, of_suites=grids)


def _grids_of_suite(name: str, models: Sequence[str], recipes: Sequence[str], **options: Any) -> dict[str, TaskGrid]:
    """Return what to run of each task of a suite, as if all of them had rows."""
    grids: dict[str, TaskGrid] = {}
    folders, names = [Path(folder) for folder in options.get("tasks_dirs") or ()], options.get("languages") or ()
    for member in registry.get_suite(name).tasks:
        task = registry.get_task(member.task, folders)
        languages = [code for code in member.languages_among(task.languages, names) if code in task.languages]
        if languages:
            of_task = options_of(task, options) | {"languages": languages}
            grids[member.task] = TaskGrid(pairs_of(models, recipes, member), of_task)
    return grids


def outlook_of_table(
    reference: str, *, bundle: str | os.PathLike[str] | None = None, seeds: Sequence[int] = (), **options: Any
) -> Outlook:
    """Return the outlook of what `xeval.reproduce` makes."""
    with using(bundle):
        table, pairs = table_to_reproduce(reference)
        chosen = seeds_for(table, options)
        options |= {"languages": table.languages, "seeds": seeds or chosen.seeds}
    grids = {table.task: TaskGrid(pairs, options)}
    return outlook_of_grids(grids, bundle=bundle, table=reference, why_seeds="" if seeds else chosen.why)


def _without_layer(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's values without the layer that vectors are taken from, which depends on the encoder."""
    return {key: value for key, value in lasting_values(values).items() if key != "layer"}


def _count_combinations(sweep: Mapping[str, Sequence[Any]]) -> int:
    return math.prod(map(len, sweep.values())) if sweep else 0


class _TaskOutlook:
    """The outlook of one task."""

    def __init__(self, name: str, grid: TaskGrid) -> None:
        names = ("languages", "train_language", "overrides", "train", "test_split", "tasks_dirs")
        options = {key: grid.options[key] for key in names if grid.options.get(key) is not None}
        self._defined = define(name, grid.pairs, **options)
        self._pairs, self._options = grid.pairs, grid.options
        self.task = self._defined.task
        self.languages = self._defined.languages
        self.train = bool(grid.options.get("train", True)) and self.task.of_kind.trains
        self.limits: Limits = limits(grid.options.get("max_train"), grid.options.get("max_eval"), self.task.test_split)
        self.choose = partial(devices.choose, grid.options.get("device", "auto"), grid.options.get("dtype", "auto"))
        self.choose()  # refuses unknown words before anything is printed
        self.data = local_copy(grid.options.get("data"))
        if self.data is not None and not self.data.is_dir():
            recognise(self.data, self.task)  # raises an error that says what is wanted
        self._known = known_runs(Path(grid.options.get("results") or "results"), self.task.name)

    def check_options(self) -> None:
        """Raise XevalError for options that the task or other options rule out, and for an impossible sweep."""
        names = ("seeds", "overrides", "sweep", "train", "every_checkpoint", "keep_weights", "seeds_of")
        options = {key: self._options[key] for key in names if self._options.get(key) is not None}
        check_options(self._defined, [model for model, _ in self._pairs], **options)

    def downloads(self) -> dict[str, int | None]:
        missing: dict[str, int | None] = {}
        if self.data is None and self.task.hub is not None:
            missing[self.task.hub.id] = missing_data_bytes(self.task, self.languages, self.train)
        for name in dict.fromkeys(model for model, _ in self._pairs):
            parsed = ModelName.parse(name)
            missing[parsed.id.rsplit("/", 1)[-1]] = missing_model_bytes(parsed)
        return {what: n_bytes for what, n_bytes in missing.items() if n_bytes != 0}

    def runs(self) -> list[NamedRun]:
        runs, seeds = [], self._options.get("seeds") or ()
        for name, recipe in self._pairs:
            model = _ModelOutlook(self, ModelName.parse(name), self._defined.changed[recipe], self._options)
            runs += [model.run(seed) for seed in seeds_to_run(seeds, model.recipe, self.train)]
        return runs

    def known_of(self, model: ModelName) -> list[StoredRun]:
        """Return all runs of `model` in the results, finished or not, whatever they were made with."""
        ids = {model.id, model.published_as} - {None}  # None is `declared` in most records and would match them all
        return [run for run in self._known if {run.record.model.id, run.record.declared} & ids]


class _ModelOutlook:
    """The outlook of one model with one recipe, for any seed."""

    def __init__(self, of_task: _TaskOutlook, model: ModelName, recipe: Recipe, options: Mapping[str, Any]) -> None:
        self.recipe = recipe
        self._of, self._task, self._model = of_task, of_task.task, model
        self._every_checkpoint = bool(options.get("every_checkpoint"))
        self._known = of_task.known_of(model)
        recorded = recipe_record(recipe, model.known_as, options.get("overrides") or {}, of_task.train)
        self._recipe_name, self._values = recorded.name, recorded.values
        self._checkpoint = glimpse(model)
        self._speed, self._n_weights = self._find_speed(), self._count_weights()

    def run(self, seed: int) -> NamedRun:
        own = [run for run in self._known if self._is_of(run.record, seed)]
        scored = {language for run in own for language in run.record.scores if self._has(run, language)}
        missing = [language for language in self._of.languages if language not in scored]
        trains = self._of.train and bool(missing) and (self._every_checkpoint or not self._is_trained(seed))
        return NamedRun(
            task=self._task,
            model=self._model,
            recipe=self.recipe,
            seed=seed if self._of.train else None,
            languages=tuple(self._of.languages),
            is_finished=not missing,
            seconds=self._seconds(missing, trains),
            trained_weights=self._n_weights if trains else 0,
        )

    def _is_of(self, record: RunRecord, seed: int) -> bool:
        """Return whether `record` is of the run with this seed, as far as names and values tell."""
        return record.limits == self._of.limits and self._is_like(record, seed)

    def _is_like(self, record: RunRecord, seed: int) -> bool:
        """Return whether `record` is of that run, or of one that differs from it only in the limits on rows."""
        dtype = self._of.choose(record.model.hidden_size).dtype_name
        if has_other_labels(record, self._task):
            return False
        own = self._recipe_name, _without_layer(self._values), self._task.training_language, dtype
        recipe = record.recipe
        of_record = recipe.name, _without_layer(recipe.values), record.training_language, record.dtype
        return own == of_record and (not self._of.train or record.seed == seed)

    def _is_trained(self, seed: int) -> bool:
        """Return whether the weights of the run with this seed are kept, by any run that has the same training."""
        alike = [run for run in self._known if self._is_like(run.record, seed)]
        same = [run for run in alike if run.record.limits.max_train == self._of.limits.max_train]
        return any(run.record.metric == self._task.metric and weights_of(run) is not None for run in same)

    def _has(self, run: StoredRun, language: str) -> bool:
        if not self._every_checkpoint:
            return True
        return language in (RunOnDisk(run.folder).known_at_checkpoints(run.record) or ())

    def _find_speed(self) -> Speed | None:
        """Return the speed of the model's finished runs, or else the one that a plan has measured, if any."""
        records, checkpoint, train = [run.record for run in self._known], self._checkpoint, self._of.train
        if checkpoint is None and not records:
            return None
        try:
            compute = self._of.choose(hidden_size(checkpoint) if checkpoint else records[0].model.hidden_size)
            speed = speed_of_runs(records, self._values, train, compute)
            if speed is not None or checkpoint is None:
                return speed
            return kept_speed(speed_key(self._task.name, checkpoint.configuration(), self._values, train, compute))
        except XevalError:  # the run itself reports what is wrong with the model
            return None

    def _count_weights(self) -> int | None:
        try:
            return count_checkpoint_weights(self._checkpoint) if self._checkpoint is not None else None
        except XevalError:
            return None

    def _seconds(self, missing: Sequence[str], trains: bool) -> float | None:
        if not missing:
            return 0.0
        tested = [self._count("test", language, self._of.limits.max_eval) for language in missing]
        english = self._task.training_language
        n_rows = self._count("train", english, self._of.limits.max_train)
        n_selection = self._count("selection", english, self.recipe.selection_rows) if self._task.has_selection else 0
        if self._speed is None or None in tested or (trains and None in (n_rows, n_selection)):
            return None
        training = rows_of_training(self.recipe, n_rows or 0, n_selection or 0) if trains else RowsOfTraining()
        n_tested = sum(n or 0 for n in tested) * (1 + training.n_checkpoints * self._every_checkpoint)
        n_evaluated = training.n_predicted + n_tested
        return training.n_trained * self._speed.trained_s + n_evaluated * self._speed.evaluated_s

    def _count(self, role: str, language: str, most: int | None) -> int | None:
        """Return how many rows of a split are used, at most `most`; None if neither `most` nor the task tells."""
        n_rows = self._task.expected_rows.of(role, language) or None
        return n_rows if most is None else min(most, n_rows or most)
