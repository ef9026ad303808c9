"""What a run leaves on the screen: the matrix of what was asked for, beside the published one, or JSON."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import OutcomeFormat
from xeval.cli.screen import screen
from xeval.judging.verdict import Tolerance
from xeval.report.formats import terminal
from xeval.report.from_folder import matrix_of
from xeval.results.store import StoredRun
from xeval.support.text import one_line

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
    return show_outcomes([(runs, reference)], output_format, results, tolerance, tasks_dirs)


def show_outcomes(
    of_tasks: Sequence[tuple[list[StoredRun], str | None]],
    output_format: OutcomeFormat,
    results: Path,
    tolerance: Tolerance | None = None,
    tasks_dirs: Sequence[Path] = (),
) -> list[str]:
    """The same of the runs of several tasks, each beside its table."""
    strays: list[str] = []
    records = [run.record for runs, _ in of_tasks for run in runs]
    is_json = output_format is OutcomeFormat.json
    for runs, reference in of_tasks:
        scored = [run.record for run in runs if run.record.scores]
        if scored:
            table = matrix_of(runs, scored[0].task, reference, tolerance, tasks_dirs)
            strays += [verdict.sentence for row in table.verdicts for verdict in row.not_reproduced]
            if not is_json:
                terminal.show(table, screen())
    if is_json:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
    elif any(record.scores for record in records):
        several = " --task TASK" if len({record.task for record in records}) > 1 else ""
        print(f"Records and predictions are in {results}; a report of them: xeval report{several} --results {results}")
    failed = [record for record in records if record.failures]
    for record in failed:
        print(one_line(f"xeval: {record.name_of_run} failed: {record.failure}"), file=sys.stderr)
    if failed:
        raise typer.Exit(1)
    return strays
