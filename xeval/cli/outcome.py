"""What a run leaves on the screen: the matrix of what was asked for, beside the published one, or JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import OutcomeFormat
from xeval.cli.screen import screen
from xeval.definitions.registry import all_tasks, get_reference
from xeval.judging.verdict import Tolerance
from xeval.report import findings, matrix
from xeval.report.formats import terminal
from xeval.results.store import StoredRun
from xeval.support.text import one_line

_NO_TABLE = (
    "No published table: no task file here is of this task. --reference names a table, --tasks-dir a folder of tasks."
)
_POINTS = "Points that a verdict allows"
CellTolerance = Annotated[float, typer.Option("--tolerance", min=0.01, max=100, help=f"{_POINTS} in a language.")]
MeanTolerance = Annotated[float, typer.Option("--mean-tolerance", min=0.01, max=100, help=f"{_POINTS} in the mean.")]


def show_outcome(
    runs: list[StoredRun],
    reference: str | None,
    output_format: OutcomeFormat,
    results: Path,
    tolerance: Tolerance | None = None,
    tasks_dirs: Sequence[Path] = (),
) -> list[str]:
    """Print `runs` and exit with 1 if something in one of them failed.

    Returns the sentences on what is shown not to be reproduced of the table that they stand beside.
    """
    strays: list[str] = []
    records = [run.record for run in runs]
    scored = [record for record in records if record.scores]
    if scored:
        table = compare(runs, scored[0].task, reference, tolerance, tasks_dirs)
        strays = [verdict.sentence for row in table.verdicts for verdict in row.not_reproduced]
    if output_format is OutcomeFormat.json:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
    elif scored:
        terminal.show(table, screen())
        print(f"Records and predictions are in {results}; a report of them: xeval report --results {results}")
    failed = [record for record in records if record.failures]
    for record in failed:
        print(one_line(f"xeval: {record.name_of_run} failed: {record.failure}"), file=sys.stderr)
    if failed:
        raise typer.Exit(1)
    return strays


def compare(
    runs: list[StoredRun],
    task: str,
    reference: str | None,
    tolerance: Tolerance | None,
    tasks_dirs: Sequence[Path] = (),
) -> matrix.Matrix:
    """The matrix of `task` beside the published table called `reference`, or else beside the task's own default.

    A task of the user's own has no default unless it is in one of the folders of tasks: a task that is known under its
    name, and has other labels, is another one.
    """
    known = all_tasks(tasks_dirs).get(task)
    if known is not None and any(run.record.labels not in (None, list(known.labels)) for run in runs):
        known = None
    default = known.default_reference if known else None
    name = reference if reference is not None else default
    table = get_reference(name) if name is not None else None
    built = matrix.build(runs, task, table, tolerance, known)
    unknown = [_NO_TABLE] if known is None and table is None else []
    return replace(built, footer=built.footer + unknown, findings=findings.of(built.runs, known, table))
