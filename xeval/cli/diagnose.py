"""`xeval diagnose`: why the runs of a results folder give what they give."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Results, TasksDirs
from xeval.errors import StoreError, UnknownNameError
from xeval.registry import all_tasks, get_reference
from xeval.report import findings
from xeval.schema import one_line
from xeval.store import load_records


def diagnose(
    results: Results = Path("results"),
    task: Annotated[str | None, typer.Option("--task", help="Only this task's runs; default: all.")] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="Published table, by name or path; default: the task's.")
    ] = None,
    tasks_dir: TasksDirs = None,
) -> None:
    """Say what is wrong with finished runs: a line for each finding, with its evidence and the mend.

    Exits with 1 if numbers are worthless or something else than they say (✗); warnings (!) are no reason to.
    """
    records = load_records(results)
    there = sorted({record.task for _, record in records})
    if not there:
        raise StoreError(f"{results}: no results there yet; make some with: xeval run xnli --model distilmbert")
    if task is not None and task not in there:
        raise UnknownNameError(f"task in {results}", task, there)
    known, found = all_tasks(tasks_dir or []), []
    for name in [task] if task else there:
        definition = known.get(name)
        table = reference or (definition and definition.default_reference)
        runs = [run for run in records if run[1].task == name]
        found += findings.of(runs, definition, get_reference(table) if table else None)
    for finding in found:
        print(one_line(finding.line))
    if not found:
        print(f"nothing wrong found in {len(records)} runs")
    if any(finding.severity == "error" for finding in found):
        raise typer.Exit(1)
