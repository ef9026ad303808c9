"""What runs print: a matrix of their scores next to the published table, or JSON."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from xeval.cli.options import OutcomeFormat
from xeval.cli.screen import screen
from xeval.cli.suite import show_table
from xeval.judging.verdict import Tolerance
from xeval.report.formats import terminal
from xeval.report.from_folder import matrix_of
from xeval.results.store import StoredRun
from xeval.support.text import one_line

_POINTS = "Points of difference allowed"
CellTolerance = Annotated[
    float, typer.Option("--tolerance", min=0.01, max=100, metavar="POINTS", help=f"{_POINTS} in a language.")
]
MeanTolerance = Annotated[
    float, typer.Option("--mean-tolerance", min=0.01, max=100, metavar="POINTS", help=f"{_POINTS} in the mean.")
]


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
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
    elif any(record.scores for record in records):
        for table in tables:
            terminal.show(table, screen())
        for suite, runs in of_suites.items():
            show_table(runs, suite, tasks_dirs)
        several = " --task TASK" if len({record.task for record in records}) > 1 else ""
        report = f"xeval report{several} --results {shlex.quote(str(results))}"
        print(f"Records and predictions are in {results}; to report on them: {report}")
    failed = [record for record in records if record.failures]
    for record in failed:
        print(one_line(f"xeval: {record.name_of_run} failed: {record.failure}"), file=sys.stderr)
    for task, reason in skipped.items():
        print(one_line(f"xeval: {task} was not run: {reason}"), file=sys.stderr)
    if failed or skipped:
        raise typer.Exit(1)
    return [verdict.sentence for table in tables for row in table.verdicts for verdict in row.not_reproduced]
