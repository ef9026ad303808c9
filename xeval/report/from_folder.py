"""The commands `report`, `compare`, `rank`, `check` and `diagnose` on a results folder, as functions for programs."""

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from xeval.checks.after.diagnose import n_causes as n_causes_of
from xeval.definitions.registry import all_tasks, get_reference
from xeval.definitions.task import Task
from xeval.judging.verdict import Tolerance, same_task
from xeval.report import findings, matrix
from xeval.report.formats import Format, render_as
from xeval.report.formats.model_card import Footprint
from xeval.results.configurations import by_configuration
from xeval.results.named_models import runs_in
from xeval.results.store import StoredRun
from xeval.support.arguments import checked_arguments, several_names
from xeval.support.errors import ArgumentError, StoreError
from xeval.support.findings import Finding
from xeval.support.garbage import without_collection
from xeval.support.text import one_line
from xeval.support.version import VERSION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xeval.judging.gate.findings import Thresholds
    from xeval.report.notebook.checks import Checked, Findings
    from xeval.report.notebook.comparisons import Comparison, RankedModels

_NO_TABLE = (
    "No published table: no task file here is for this task. Name a table with --reference, or a folder of tasks with"
    " --tasks-dir."
)

Folder = str | os.PathLike[str]


class Report(str):
    """The text of a report, which can also be plotted. A notebook renders it if it is Markdown or HTML."""

    built: matrix.Matrix
    form: Format

    def __new__(cls, text: str, built: matrix.Matrix, form: Format = Format.MARKDOWN) -> "Report":
        report = super().__new__(cls, text)
        report.built, report.form = built, form
        return report

    def __getnewargs__(self) -> tuple[str, matrix.Matrix, Format]:  # type: ignore[override]  # str's has the text alone
        """Return what a copy or an unpickled report is made from."""
        return str(self), self.built, self.form

    def _repr_markdown_(self) -> str | None:
        return str(self) if self.form is Format.MARKDOWN else None

    def _repr_html_(self) -> str | None:
        """Return the page in an iframe, so that its style does not affect the notebook."""
        if self.form is not Format.HTML:
            return None
        return f'<iframe srcdoc="{escape(str(self))}" title="Report" width="100%" height="600"></iframe>'

    def plot(self) -> "Figure":
        """Draw ours minus published by language, or our scores if nothing is published. Needs the extra `plot`.

        Raises XevalError if matplotlib is not installed.
        """
        from xeval.report.plot import draw

        return draw(self.built)


@checked_arguments
@without_collection()
def report_of(  # noqa: PLR0913  the public call: one parameter for each option
    results: Folder = "results",
    *,
    task: str | None = None,
    model: str | None = None,
    reference: str | None = None,
    format: str = Format.MARKDOWN,
    tolerance: Tolerance | None = None,
    footprint: Footprint | None = None,
    tasks_dirs: Sequence[Folder] = (),
) -> "Report":
    """Compare the results of a task with a published table, as text.

    `task` may be left out if the folder holds only one; `reference` is the task's own by default. `format` is markdown,
    html, latex, csv, json, model-card or eval-results. `tolerance` is in points. The returned text has a method `plot`,
    which draws it with matplotlib. Raises StoreError if there is nothing to report.
    """
    if tolerance is not None and not isinstance(tolerance, Tolerance):
        raise ArgumentError(f"tolerance: wanted Tolerance(cell=…, mean=…) of xeval.judging.verdict, got {tolerance!r}")
    if format not in list(Format):
        raise ArgumentError(f"format: wanted one of {', '.join(Format)}, got {one_line(repr(format))[:80]}")
    folders = [Path(folder) for folder in tasks_dirs]
    runs = runs_in(Path(results), task, model)
    tasks = sorted({run.record.task for run in runs})
    if len(tasks) > 1:
        raise StoreError(f"{results}: holds several tasks; choose one with --task ({', '.join(tasks)})")
    known = same_task(all_tasks(folders).get(tasks[0]), runs)
    built = _beside_table(runs, tasks[0], known, reference, tolerance)
    named = {"--results": results, "--task": tasks[0], "--model": model, "--reference": reference, "--format": format}
    of_tolerance = changed_options(tolerance or Tolerance())
    given = [*named.items(), *of_tolerance.items(), *(("--tasks-dir", one) for one in folders)]
    words = [str(word) for option, value in given if value is not None for word in (option, value)]
    built = replace(built, made=f"{date.today():%Y-%m-%d}, by xeval {VERSION}: xeval report {shlex.join(words)}")
    form = Format(format)
    return Report(render_as(form, built, known, footprint or Footprint()), built, form)


def changed_options(tolerance: Tolerance) -> dict[str, float]:
    """Return the options that give `tolerance`, where it is not the default."""
    values = {"--tolerance": (tolerance.cell, Tolerance.cell), "--mean-tolerance": (tolerance.mean, Tolerance.mean)}
    return {option: value for option, (value, default) in values.items() if value != default}


@checked_arguments
def compare(a: str, b: str, *, results: Folder = "results", seed: int | None = None) -> "Comparison":
    """Compare B with A on the same test rows: differences with intervals and tests, and a sentence in `conclusion`.

    Each side is a model's name in `results`, or the folder of a run, a model or results. Differences are B minus A, as
    fractions. `seed` is the seed of the resampling. Raises XevalError for sides that cannot be found or compared.
    """
    from xeval.judging.comparison.compare import compare as compare_runs  # imports pyarrow
    from xeval.judging.comparison.named_runs import find_runs
    from xeval.judging.comparison.paired_runs import pair
    from xeval.judging.comparison.resampling import SEED
    from xeval.report.notebook.comparisons import Comparison

    folder = Path(results)
    comparison = compare_runs(pair(find_runs(a, folder), find_runs(b, folder)), SEED if seed is None else seed)
    return Comparison(**vars(comparison))


@checked_arguments
def rank(
    models: str | Sequence[str] = (),
    *,
    results: Folder = "results",
    task: str | None = None,
    languages: str | Sequence[str] = (),
) -> "RankedModels":
    """Rank models scored on the same rows: which ones differ, the ranks each can have, and what would settle the rest.

    `models` are named as for `compare`; the default is all models of the task. `task` may be left out if the folder
    holds only one. `languages` are codes; the default is all languages that every model has. In the result,
    `conclusion` is a sentence and `frame()` has a row for each model. Raises XevalError for fewer than two models with
    scores, and for models that cannot be found or were scored on other rows.
    """
    from xeval.judging.comparison.named_runs import find_runs
    from xeval.judging.comparison.ranked_runs import load_contest
    from xeval.judging.comparison.ranking import rank as rank_models
    from xeval.report.notebook.comparisons import RankedModels

    folder, names = Path(results), several_names("models", models)
    runs = [run for name in names for run in find_runs(name, folder)] if names else runs_in(folder, task)
    contest = load_contest(by_configuration(runs), languages)
    return RankedModels(**vars(rank_models(contest.models, contest.assumed, contest.scope)))


@checked_arguments
@without_collection()
def check(baseline: Folder, results: Folder = "results", thresholds: "Thresholds | None" = None) -> "Checked":
    """Compare results with a baseline written by `xeval bless`; `passed` says whether they are no worse.

    The `thresholds` are in points, and that of throughput is a share. Raises XevalError for files that cannot be read.
    """
    from xeval.judging.gate import baseline as baselines
    from xeval.judging.gate import check as gate
    from xeval.judging.gate.findings import Thresholds
    from xeval.report.notebook.checks import Checked

    if thresholds is not None and not isinstance(thresholds, Thresholds):
        raise ArgumentError(f"thresholds: wanted Thresholds(…) of xeval.judging.gate.findings, got {thresholds!r}")

    return Checked(**vars(gate.check(baselines.read(Path(baseline)), runs_in(Path(results)), thresholds)))


@checked_arguments
def diagnose(
    results: Folder = "results",
    *,
    task: str | None = None,
    reference: str | None = None,
    tasks_dirs: Sequence[Folder] = (),
) -> "Findings":
    """Find what is wrong with finished runs: each finding has its evidence and how to fix it.

    Raises StoreError if there are no runs.
    """
    from xeval.report.notebook.checks import Findings

    runs = sorted(runs_in(Path(results), task), key=lambda run: run.record.task)
    by_task = findings_by_task(runs, reference, [Path(folder) for folder in tasks_dirs])
    return Findings(finding for of_task in by_task.values() for finding in of_task)


def findings_by_task(
    runs: Iterable[StoredRun], reference: str | None = None, tasks_dirs: Sequence[Path] = ()
) -> dict[str, list[Finding]]:
    """Find what is wrong with the runs of each task, given the table `reference`, or else the task's default table."""
    by_task: dict[str, list[StoredRun]] = {}
    for run in runs:
        by_task.setdefault(run.record.task, []).append(run)
    known, result = all_tasks(tasks_dirs), {}
    for name, of_task in by_task.items():
        definition = same_task(known.get(name), of_task)
        table = reference or (definition and definition.default_reference)
        result[name] = findings.of(of_task, definition, get_reference(table) if table else None)
    return result


def matrix_of(
    runs: list[StoredRun],
    task: str,
    reference: str | None = None,
    tolerance: Tolerance | None = None,
    tasks_dirs: Sequence[Path] = (),
) -> matrix.Matrix:
    """Build the matrix of `task` with the published table called `reference`, or else with the task's default table.

    A task of the user's own has no default unless it is in one of `tasks_dirs`: a known task with the same name and
    other labels counts as a different task.
    """
    return _beside_table(runs, task, same_task(all_tasks(tasks_dirs).get(task), runs), reference, tolerance)


def _beside_table(
    runs: list[StoredRun], task: str, known: Task | None, reference: str | None, tolerance: Tolerance | None
) -> matrix.Matrix:
    default = known.default_reference if known else None
    name = reference if reference is not None else default
    table = get_reference(name) if name is not None else None
    built = matrix.build(runs, task, table, tolerance, known)
    unknown = [_NO_TABLE] if known is None and table is None else []
    n_causes = min(n_causes_of(row.runs[0].record) for row in built.ours)
    finding_list = findings.of(built.runs, known, table)
    return replace(built, footer=built.footer + unknown, findings=finding_list, n_causes=n_causes)
