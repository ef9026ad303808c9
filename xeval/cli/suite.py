"""What a suite prints: its table, or the records as JSON, and a line for each task that was not run."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from xeval.cli.options import OutcomeFormat
from xeval.cli.screen import say, screen
from xeval.definitions.registry import all_tasks, get_suite, suite_tables
from xeval.results.store import StoredRun
from xeval.support.text import one_line

if TYPE_CHECKING:
    from xeval.report.suite.table import SuiteMatrix


def suite_matrix_of(runs: Sequence[StoredRun], suite: str, tasks_dirs: Sequence[Path]) -> "SuiteMatrix":
    """Return the table of `suite`, a name or path, with the published tables of that suite."""
    from xeval.report.suite import table  # scipy

    definition = get_suite(suite)
    return table.build(runs, definition, all_tasks(tasks_dirs), suite_tables(definition.name))


def show_table(runs: Sequence[StoredRun], suite: str, tasks_dirs: Sequence[Path]) -> None:
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
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
    elif any(record.scores for record in records):
        show_table(runs, suite, tasks_dirs)
        report = f"xeval report --suite {shlex.quote(suite)} --results {shlex.quote(str(results))}"
        print(one_line(f"Records and predictions are in {results}; to report on them: {report}"))
        _say_what_is_wrong([run for run in runs if run.record.computed_elsewhere], tasks_dirs)
    failed = [record for record in records if record.failures]
    for record in failed:
        message = f"xeval: {record.task}, {record.name_of_run} failed: {record.failure}"
        print(one_line(message), file=sys.stderr)
    left_out = [f"{task} was not {verb}: {reason}" for task, reason in skipped.items()]
    if left_out and not quiet:
        left_out = [f"not {verb}, for the reasons above: {', '.join(skipped)}"]
    for line in left_out:
        print(one_line(f"xeval: {line}"), file=sys.stderr)
    if failed or skipped:
        raise typer.Exit(1)


def _say_what_is_wrong(runs: Sequence[StoredRun], tasks_dirs: Sequence[Path]) -> None:
    """Print a line for each finding, under its task's name."""
    from xeval.report.from_folder import findings_by_task  # scipy

    for task, findings in findings_by_task(runs, tasks_dirs=tasks_dirs).items():
        for finding in findings:
            say(finding.model_copy(update={"name": f"{task}, {finding.name}"}).line)
