"""`xeval diagnose`: why the runs of a results folder give what they give."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import ReferenceName, Results, TasksDirs
from xeval.cli.runs import runs_in
from xeval.cli.screen import say
from xeval.definitions.registry import all_tasks, get_reference
from xeval.report import findings
from xeval.support.text import counted


def diagnose(
    results: Results = Path("results"),
    task: Annotated[str | None, typer.Option("--task", help="Only this task's runs; default: all.")] = None,
    reference: ReferenceName = None,
    tasks_dir: TasksDirs = None,
) -> None:
    """Say what is wrong with finished runs: a line for each finding, with its evidence and how to fix it.

    Exits with 1 if numbers are worthless or something else than they say (✗); warnings (!) are no reason to.
    """
    runs = runs_in(results, task)
    known, found = all_tasks(tasks_dir or []), []
    for name in sorted({run.record.task for run in runs}):
        definition = known.get(name)
        table = reference or (definition and definition.default_reference)
        of_task = [run for run in runs if run.record.task == name]
        found += findings.of(of_task, definition, get_reference(table) if table else None)
    for finding in found:
        say(finding.line)
    if not found:
        print(f"nothing wrong found in {counted(len(runs), 'runs')}")
    if any(finding.severity == "error" for finding in found):
        raise typer.Exit(1)
