"""What a run leaves on the screen: the matrix of what was asked for, beside the published one, or JSON."""

import json
import sys
from pathlib import Path

import typer
from rich.console import Console

from xeval.records import RunRecord
from xeval.registry import all_tasks, get_reference
from xeval.report import matrix, terminal
from xeval.schema import Reference


def show_outcome(records: list[RunRecord], reference: str | None, as_json: bool, results: Path) -> None:
    """Print `records` and exit with 1 if one of them failed."""
    if as_json:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=1))
    elif any(record.scores for record in records):
        task = records[0].task
        table = matrix.build([(results, record) for record in records], task, find_reference(task, reference))
        terminal.show(table, Console(highlight=False))
        print(f"Records and predictions are in {results}; a report of them: xeval report --results {results}")
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        print(f"xeval: {record.model.id} seed {record.seed} failed: {record.failure}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def find_reference(task: str, name: str | None) -> Reference | None:
    """The published table called `name`, or the task's own default; None for a task that has none."""
    if name is not None:
        return get_reference(name)
    try:
        default = all_tasks()[task].default_reference
    except KeyError:  # a task of the user's own
        return None
    return get_reference(default) if default else None
