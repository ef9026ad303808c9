"""What a run leaves on the screen: the matrix of what was asked for, beside the published one, or JSON."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from xeval.records import RunRecord
from xeval.registry import all_tasks, get_reference
from xeval.report import matrix, terminal
from xeval.schema import Reference
from xeval.verdict import Tolerance

_POINTS = "Points that a verdict allows"
CellTolerance = Annotated[float, typer.Option("--tolerance", min=0.01, max=100, help=f"{_POINTS} in a language.")]
MeanTolerance = Annotated[float, typer.Option("--mean-tolerance", min=0.01, max=100, help=f"{_POINTS} in the mean.")]


def show_outcome(
    records: list[RunRecord],
    reference: str | None,
    as_json: bool,
    results: Path,
    tolerance: Tolerance | None = None,
) -> list[str]:
    """Print `records` and exit with 1 if one of them failed.

    Returns the sentences on what is shown not to be reproduced of the table that they stand beside.
    """
    strays: list[str] = []
    scored = [record for record in records if record.scores]
    if scored:
        task = scored[0].task
        beside = find_reference(task, reference)
        table = matrix.build([(results, record) for record in records], task, beside, n_labels(task), tolerance)
        strays = [verdict.sentence for row in table.verdicts for verdict in row.not_reproduced]
    if as_json:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
    elif scored:
        terminal.show(table, Console(highlight=False))
        print(f"Records and predictions are in {results}; a report of them: xeval report --results {results}")
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        print(f"xeval: {record.model.id} seed {record.seed} failed: {record.failure}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)
    return strays


def n_labels(task: str) -> int | None:
    """How many labels the task called `task` has; None for one of the user's own that is not in XEVAL_TASKS."""
    found = all_tasks().get(task)
    return len(found.labels) if found else None


def find_reference(task: str, name: str | None) -> Reference | None:
    """The published table called `name`, or the task's own default; None for a task that has none."""
    if name is not None:
        return get_reference(name)
    try:
        default = all_tasks()[task].default_reference
    except KeyError:  # a task of the user's own
        return None
    return get_reference(default) if default else None
