"""`xeval report`: the matrix of a results folder as Markdown."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Results
from xeval.cli.outcome import CellTolerance, MeanTolerance, compare
from xeval.errors import StoreError, UnknownNameError
from xeval.files import write_atomically
from xeval.report import markdown
from xeval.store import load_records
from xeval.verdict import Tolerance


def report(
    results: Results = Path("results"),
    task: Annotated[str | None, typer.Option("--task", help="Default: the only task in the folder.")] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="Published table, by name or path; default: the task's.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; default: standard output.")] = None,
    tolerance: CellTolerance = Tolerance.cell,
    mean_tolerance: MeanTolerance = Tolerance.mean,
) -> None:
    """Put the results of a task beside a published table, in Markdown."""
    records = load_records(results)
    tasks = sorted({record.task for _, record in records})
    if not tasks:
        raise StoreError(f"{results}: no results there yet; make some with: xeval run xnli --model distilmbert")
    if task is None and len(tasks) > 1:
        raise StoreError(f"{results}: holds several tasks; choose one with --task ({', '.join(tasks)})")
    if task is not None and task not in tasks:
        raise UnknownNameError(f"task in {results}", task, tasks)
    chosen = task or tasks[0]
    within = Tolerance(tolerance, mean_tolerance)
    text = markdown.render(compare(records, chosen, reference, within))
    if output is None:
        print(text, end="")
    else:
        write_atomically(output, text.encode())
