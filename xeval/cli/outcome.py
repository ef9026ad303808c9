"""What runs print: a matrix of their scores next to the published table, the table of a suite, or JSON."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import typer

from xeval.cli.options import OutcomeFormat
from xeval.cli.screen import say, screen
from xeval.definitions.registry import all_tasks, get_suite, suite_tables
from xeval.judging.verdict import Tolerance
from xeval.report.formats import terminal
from xeval.report.from_folder import changed_options, findings_by_task, matrix_of
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun, tasks_in
from xeval.support.text import one_line

if TYPE_CHECKING:
    from xeval.report.suite.table import SuiteMatrix


def show_outcome(
    runs: list[StoredRun],
    reference: str | None,
    output_format: OutcomeFormat,
    results: Path,
    tolerance: Tolerance | None = None,
    tasks_dirs: Sequence[Path] = (),
) -> list[str]:
    """Print `runs`, and exit with 1 if something in one of them failed.

    Returns sentences on what is shown not to be reproduced of the published table.
    """
    return show_outcomes([(runs, reference)], output_format, results, tolerance, tasks_dirs)


def show_outcomes(
    of_tasks: Sequence[tuple[list[StoredRun], str | None]],
    output_format: OutcomeFormat,
    results: Path,
    tolerance: Tolerance | None = None,
    tasks_dirs: Sequence[Path] = (),
    of_suites: Mapping[str, list[StoredRun]] = MappingProxyType({}),
    skipped: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Do the same for the runs of several tasks, each next to its table, and of suites.

    `skipped` tells why tasks of suites were not run.
    """
    of_all = [*(runs for runs, _ in of_tasks), *of_suites.values()]
    records = [run.record for runs in of_all for run in runs]
    tables = [
        matrix_of(runs, runs[0].record.task, reference, tolerance, tasks_dirs)
        for runs, reference in of_tasks
        if any(run.record.scores for run in runs)
    ]
    if output_format is OutcomeFormat.json:
        _print_as_json(records)
    elif any(record.scores for record in records):
        for table in tables:
            terminal.show(table, screen())
        for suite, runs in of_suites.items():
            _print_suite(runs, suite, tasks_dirs)
        report = _report_command(of_tasks, bool(of_suites), results, tolerance, tasks_dirs)
        print(one_line(f"Records and predictions are in {results}; to report on them: {report}"))
    failed = [record for record in records if record.failures]
    has_several = len({record.task for record in records}) > 1
    for record in failed:
        _complain(f"{f'{record.task}, ' * has_several}{record.name_of_run} failed: {record.failure}")
    for task, reason in skipped.items():
        _complain(f"{task} was not run: {reason}")
    if failed or skipped:
        raise typer.Exit(1)
    return [verdict.sentence for table in tables for row in table.verdicts for verdict in row.not_reproduced]


def _report_command(
    of_tasks: Sequence[tuple[list[StoredRun], str | None]],
    has_suites: bool,
    results: Path,
    tolerance: Tolerance | None,
    tasks_dirs: Sequence[Path],
) -> str:
    """Return the command that shows the runs of one task as here; with several tasks, TASK stands for one of them."""
    task = "TASK"
    options: list[tuple[str, object]] = []
    if len(of_tasks) == 1 and not has_suites:
        [(runs, reference)] = of_tasks
        task = runs[0].record.task
        known = all_tasks(tasks_dirs).get(task)
        if reference and reference != (known and known.default_reference):
            options.append(("--reference", reference))
        options += changed_options(tolerance or Tolerance()).items()
    if task == "TASK" or tasks_in(results) != [task]:
        options.insert(0, ("--task", task))
    options += [("--results", results), *(("--tasks-dir", folder) for folder in tasks_dirs)]
    return shlex.join(["xeval", "report", *(str(word) for option in options for word in option)])


def suite_matrix_of(runs: Sequence[StoredRun], suite: str, tasks_dirs: Sequence[Path]) -> "SuiteMatrix":
    """Return the table of `suite`, a name or path, with the published tables of that suite."""
    from xeval.report.suite import table  # scipy

    definition = get_suite(suite)
    return table.build(runs, definition, all_tasks(tasks_dirs), suite_tables(definition.name))


def _print_suite(runs: Sequence[StoredRun], suite: str, tasks_dirs: Sequence[Path]) -> None:
    """Print the table of `suite` if there are scores."""
    from xeval.report.suite import formats

    if any(run.record.scores for run in runs):
        formats.show(suite_matrix_of(runs, suite, tasks_dirs), screen())


def show_suite(
    runs: Sequence[StoredRun],
    skipped: Mapping[str, str],
    suite: str,
    output_format: OutcomeFormat,
    results: Path,
    tasks_dirs: Sequence[Path],
    quiet: bool,
    verb: str = "run",
) -> None:
    """Print the runs; exit with 1 if a task was left out, or something in a run failed.

    `verb` is "run" or "scored", whichever the tasks were. If `quiet`, reasons for leaving tasks out are printed here.
    """
    records = [run.record for run in runs]
    if output_format is OutcomeFormat.json:
        _print_as_json(records)
    elif any(record.scores for record in records):
        _print_suite(runs, suite, tasks_dirs)
        folders = [word for folder in tasks_dirs for word in ("--tasks-dir", str(folder))]
        report = shlex.join(["xeval", "report", "--suite", suite, "--results", str(results), *folders])
        print(one_line(f"Records and predictions are in {results}; to report on them: {report}"))
        _say_what_is_wrong([run for run in runs if run.record.computed_elsewhere], tasks_dirs)
    failed = [record for record in records if record.failures]
    for record in failed:
        _complain(f"{record.task}, {record.name_of_run} failed: {record.failure}")
    left_out = [f"{task} was not {verb}: {reason}" for task, reason in skipped.items()]
    if left_out and not quiet:
        left_out = [f"not {verb}, for the reasons above: {', '.join(skipped)}"]
    for line in left_out:
        _complain(line)
    if failed or skipped:
        raise typer.Exit(1)


def _say_what_is_wrong(runs: Sequence[StoredRun], tasks_dirs: Sequence[Path]) -> None:
    """Print a line for each finding, under its task's name."""
    for task, findings in findings_by_task(runs, tasks_dirs=tasks_dirs).items():
        for finding in findings:
            say(finding.model_copy(update={"name": f"{task}, {finding.name}"}).line)


def _print_as_json(records: Sequence[RunRecord]) -> None:
    print(json.dumps([record.model_dump(mode="json") for record in records], indent=1))


def _complain(line: str) -> None:
    print(one_line(f"xeval: {line}"), file=sys.stderr)
