"""Runs of several tasks → the table of a suite as plain numbers in percent. Every format is rendered from it."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xeval.definitions.suite import Suite, SuiteRow, SuiteTable, SuiteTask
from xeval.definitions.task import Task
from xeval.judging.health import collapse
from xeval.judging.suite import TaskScore, score_of
from xeval.results.adaptations import settings_of
from xeval.results.configurations import Configuration, by_configuration, in_words, sweep_of
from xeval.results.identity import lasting_values
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.text import counted, metric_in_words, numbered


@dataclass(frozen=True)
class Cell:
    """A model's score on a task, in percent."""

    value: float
    interval: tuple[float, float] | None = None  # 95 %, over the draw of test rows; None for a published number
    split: str = "test"
    other_metrics: bool = False  # whether it is a published number by other metrics than the suite's
    score: TaskScore | None = None  # of ours
    runs: tuple[StoredRun, ...] = ()  # the seeds that ours is the mean of


@dataclass(frozen=True)
class Average:
    """A mean over tasks, in percent. It covers `n` of the `of` tasks that it should cover."""

    value: float
    n: int
    of: int
    other_metrics: bool = False


@dataclass(frozen=True)
class Row:
    name: str
    published: bool
    cells: dict[str, Cell]  # by task
    groups: dict[str, Average]  # by group; groups without any task of this row are left out
    total: Average | None
    model: str | None = None
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SuiteMatrix:
    suite: Suite
    titles: dict[str, str]  # task → its title, with the split if ours is not on the test split
    rows: list[Row]
    footer: list[str]

    @property
    def tasks(self) -> list[str]:
        return [member.task for member in self.suite.tasks]

    @property
    def ours(self) -> list[Row]:
        return [row for row in self.rows if not row.published]


def build(
    stored: Sequence[StoredRun],
    suite: Suite,
    tasks: Mapping[str, Task],
    tables: Sequence[SuiteTable] = (),
) -> SuiteMatrix:
    """Build the table of `suite` from `stored` runs and its published `tables`.

    `tasks` are the known tasks by name. Raises StoreError if the runs have no score for any task of the suite.
    """
    names = [member.task for member in suite.tasks]
    runs = [run for run in stored if run.record.task in names and run.record.scores]
    if not runs:
        raise StoreError(
            f"no results for suite {suite.name} there yet; make some with: xeval run {suite.name} --model M"
        )
    ours = _told_apart([_our_row(own, suite, tasks) for own in _by_manner(runs).values()])
    titles = {member.task: _title(member, ours, runs, tasks) for member in suite.tasks}
    footer = [_rule(suite), *([suite.note] if suite.note else [])]
    footer += [f"Published rows: {table.title}, {table.source_url}. {table.note}".strip() for table in tables]
    footer += _marks(tables)
    footer += [line for row in ours for line in _notes(row)]
    return SuiteMatrix(suite, titles, _beside_published(ours, suite, tables), footer)


# ── our rows ──


def _by_manner(runs: Iterable[StoredRun]) -> dict[str, list[StoredRun]]:
    """Group runs into rows: by model, and by what the command line changed for all tasks alike.

    A recipe's values mean nothing to tasks that train nothing, so such runs are in every row of their model.
    """
    rows: dict[str, list[StoredRun]] = {}
    for run in sorted(runs, key=lambda run: run.record.training is None):
        manner = _manner(run.record)
        alike = [key for key in rows if run.record.training is None and json.loads(key)[::2] == manner[::2]]
        for key in alike or [json.dumps(manner, sort_keys=True)]:
            rows.setdefault(key, []).append(run)
    return rows


def _manner(record: RunRecord) -> list[object]:
    # The values that a sweep chooses differ between tasks, but those that it chooses from do not.
    values = lasting_values({**_set_for_all(record), **_swept(record)})
    return [record.model_of_seeds, [values, _trained_instead(record)], [_limits(record), record.dtype]]


def _trained_instead(record: RunRecord) -> str | None:
    """Return the language that the run was trained on, if it is not the task's own."""
    return record.training_language if record.trained_instead else None


def _limits(record: RunRecord) -> dict[str, Any]:
    """Return the limits that the command line set for all tasks alike.

    The test split is not among them. Nor is `max_eval` of predictions computed elsewhere, the number of rows given.
    """
    own_to_a_task = {"test_split": None} | ({"max_eval": None} if record.computed_elsewhere else {})
    return record.limits.model_copy(update=own_to_a_task).model_dump()


def _set_for_all(record: RunRecord) -> dict[str, Any]:
    """Return the recipe's adaptation and the values that the command line changed, without those that a sweep chose."""
    values = settings_of(record.recipe.values) | record.recipe.overrides
    return {key: value for key, value in values.items() if key not in _swept(record)}


def _swept(record: RunRecord) -> Mapping[str, Any]:
    return record.sweep.values if record.sweep else {}


def _our_row(runs: Sequence[StoredRun], suite: Suite, tasks: Mapping[str, Task]) -> Row:
    cells: dict[str, Cell] = {}
    problems: list[str] = []
    for member in suite.tasks:
        of_task = [run for run in runs if run.record.task == member.task]
        chosen, others = _choose(of_task, member, tasks.get(member.task))
        problems += [f"{member.task}: not shown: {name}" for name in others]
        problems += [f"{member.task}: {line}" for line in _collapses(chosen)]
        cell = _cell(_healthy(chosen), member, tasks.get(member.task)) if chosen else None
        if cell is not None:
            cells[member.task] = cell
            if cell.score and cell.score.problem:
                problems.append(f"{member.task}: no interval: {cell.score.problem}")
    record = runs[0].record
    swept = f"{' and '.join(_swept(record))} chosen for each task" if record.sweep else ""
    changed = _set_for_all(record)
    trained = f"trained on {language}" if (language := _trained_instead(record)) else ""
    settings = in_words("", changed, _limits(record)).lstrip(", ")
    name = ", ".join(filter(None, [record.model.id, settings, swept, trained]))
    return _with_averages(Row(name, False, cells, {}, None, record.model.id, problems), suite)


def _told_apart(rows: list[Row]) -> list[Row]:
    """Add arithmetic and model hash to the names of rows that would otherwise have the same name."""
    names = [row.name for row in rows]

    def more(row: Row) -> str:
        record = next((cell.runs[0].record for cell in row.cells.values()), None)
        return f"{row.name}, {record.dtype}, @{record.model.sha256[:8]}" if record else row.name

    return [replace(row, name=more(row)) if names.count(row.name) > 1 else row for row in rows]


def _choose(runs: Sequence[StoredRun], member: SuiteTask, task: Task | None) -> tuple[list[StoredRun], list[str]]:
    """Return the seeds to show in a cell, and the names of configurations that could have been shown instead.

    The test split is preferred to others, then the suite's recipe, then more languages, then more seeds.
    """
    groups = by_configuration(runs)
    recipe = member.recipe or (task.default_recipe if task else None)

    def rank(configuration: Configuration) -> tuple[bool, bool, int, int]:
        own, record = groups[configuration], configuration.example
        on_test, usual = record.limits.test_split is None, record.recipe.name == recipe
        return on_test, usual, min(len(run.record.scores) for run in own), len(own)

    ranked = sorted(groups, key=rank, reverse=True)
    return groups[ranked[0]] if ranked else [], [other.name(ranked) for other in ranked[1:]]


def _healthy(runs: list[StoredRun]) -> list[StoredRun]:
    """Return `runs` without collapsed ones, unless there are no others."""
    return [run for run in runs if not collapse(run.record)] or runs


def _collapses(runs: Sequence[StoredRun]) -> list[str]:
    reasons = {run.record.seed: reason for run in runs if (reason := collapse(run.record))}
    if reasons and not runs[0].record.has_seed:
        return [f"it collapsed, {reason}; shown" for reason in reasons.values()]
    fate = "shown, since there is no other seed" if len(reasons) == len(runs) else "left out"
    return [f"seed {seed} collapsed, {reason}; {fate}" for seed, reason in reasons.items()]


def _cell(runs: list[StoredRun], member: SuiteTask, task: Task | None) -> Cell | None:
    languages = member.languages or (task.languages if task else tuple(sorted(runs[0].record.scores)))
    score = score_of(runs, member, languages)
    if score is None:
        return None
    interval = (100 * score.interval[0], 100 * score.interval[1]) if score.interval else None
    split = runs[0].record.limits.test_split or "test"
    return Cell(100 * score.value, interval, split, False, score, tuple(runs))


# ── averages ──


def _with_averages(row: Row, suite: Suite) -> Row:
    groups = {name: _average(row, [member.task for member in members]) for name, members in suite.groups.items()}
    total = _average(row, [member.task for member in suite.tasks])
    return replace(row, groups={name: average for name, average in groups.items() if average}, total=total)


def _average(row: Row, tasks: Sequence[str]) -> Average | None:
    cells = [row.cells[task] for task in tasks if task in row.cells]
    if not cells:
        return None
    other_metrics = any(cell.other_metrics for cell in cells)
    return Average(math.fsum(cell.value for cell in cells) / len(cells), len(cells), len(tasks), other_metrics)


# ── published rows ──


def _beside_published(ours: Sequence[Row], suite: Suite, tables: Sequence[SuiteTable]) -> list[Row]:
    """Return the published rows in the order of their tables, with ours below the last row of the same model."""
    published = [_published_row(row, table, suite) for table in tables for row in table.rows]
    rows: list[Row] = []
    for place, row in enumerate(published):
        rows.append(row)
        if row.model is not None and row.model not in {later.model for later in published[place + 1 :]}:
            rows += [own for own in ours if _is_of(own, row.model)]
    return [row for row in rows if row.cells] + [own for own in ours if own not in rows]


def _is_of(row: Row, model: str) -> bool:
    """Return whether our row is of the model with this hub id. A local folder counts only if it was declared so."""
    runs = next(iter(row.cells.values())).runs if row.cells else ()
    return bool(runs) and runs[0].record.model.published_id == model


def _published_row(row: SuiteRow, table: SuiteTable, suite: Suite) -> Row:
    cells = {
        member.task: Cell(row.cells[member.task], other_metrics=member.task in table.metrics)
        for member in suite.tasks
        if member.task in row.cells
    }
    protocol = "" if row.protocol == "zero-shot" else f", {row.protocol}"
    return _with_averages(Row(f"{row.name}, published{protocol}", True, cells, {}, None, row.model), suite)


# ── words ──


def _title(member: SuiteTask, ours: Sequence[Row], runs: Sequence[StoredRun], tasks: Mapping[str, Task]) -> str:
    """Return the task's title, with the split if all of ours are on one other than the test split."""
    of_task = [run.record.task_title for run in runs if run.record.task == member.task]
    title = tasks[member.task].title if member.task in tasks else (of_task or [member.task])[0]
    splits = {row.cells[member.task].split for row in ours if member.task in row.cells}
    return f"{title} ({splits.pop()})" if len(splits) == 1 and splits != {"test"} else title


def _rule(suite: Suite) -> str:
    mixed = [f"{member.task} by {_measured(member.metrics)}" for member in suite.tasks if member.metrics]
    by = f" ({', '.join(mixed)})" if mixed else ""
    return (
        f"In %. A task's score is the mean over its languages{by}; averages are means over tasks. In brackets: the 95 %"
        " interval over the draw of test rows, for these training runs; another seed moves a score too."
    )


def _measured(metrics: Sequence[str]) -> str:
    """Return "span F1", or "the mean of exact match and F1"."""
    in_words = " and ".join(map(metric_in_words, metrics))
    return in_words if len(metrics) == 1 else f"the mean of {in_words}"


def _marks(tables: Sequence[SuiteTable]) -> list[str]:
    tasks = {
        f"{task} by {' and '.join(map(metric_in_words, metrics))}"
        for table in tables
        for task, metrics in table.metrics.items()
        if metrics
    }
    return [f"* not by this suite's metrics: {', '.join(sorted(tasks))}."] if tasks else []


def _notes(row: Row) -> list[str]:
    """Say how each cell of a row of ours was made, and what is wrong with it."""
    lines = []
    for task, cell in row.cells.items():
        record, score = cell.runs[0].record, cell.score
        assert score is not None  # ours have one
        trained = record.recipe.name
        if record.has_seed:
            trained += f", {numbered('seeds', [run.record.seed for run in cell.runs])}"
        sweep = sweep_of(run.record for run in cell.runs)
        if sweep is not None:
            trained += f", {', '.join(f'{key} {value}' for key, value in sweep.chosen.items())}: {sweep.in_words}"
        if record.is_translate_train:
            trained += f", translate-train {record.training_language}"
        n_found, where = len(score.languages), counted(len(score.languages), "languages")
        if score.lacking:
            where = f"{n_found} of {counted(n_found + len(score.lacking), 'languages')} ({' '.join(score.languages)})"
        split = f" on the {cell.split} split" if cell.split != "test" else ""
        if record.computed_elsewhere and record.limits.max_eval is not None:
            where += f", at most {counted(record.limits.max_eval, 'rows')} in each"
        measured = " and ".join(map(metric_in_words, score.metrics))
        lines.append(f"{row.name}, {task}: {measured}{split} in {where}; {trained}.")
    return lines + [f"{row.name}, {problem}." for problem in row.problems]
