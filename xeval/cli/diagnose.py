"""`xeval diagnose`: what is wrong with the runs of a results folder."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import ReferenceName, Results, TasksDirs
from xeval.cli.screen import say
from xeval.report import from_folder
from xeval.results.named_models import runs_in
from xeval.support.text import counted


def diagnose(
    results: Results = Path("results"),
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Diagnose only this task's runs; default: all.")
    ] = None,
    reference: ReferenceName = None,
    tasks_dir: TasksDirs = None,
) -> None:
    """Find what is wrong with finished runs: one line for each finding, with its evidence and how to fix it.

    Exits with 1 if numbers are worthless or not what they claim to be (✗); warnings (!) alone exit with 0.
    """
    findings = from_folder.diagnose(results, task=task, reference=reference, tasks_dirs=tasks_dir or ())
    for finding in findings:
        say(finding.line)
    if not findings:
        print(f"nothing wrong found in {counted(len(runs_in(results, task)), 'runs')}")
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)
