"""`xeval report`: a results folder beside a published table, in one of several formats."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import ReferenceName, Results, TasksDirs
from xeval.cli.outcome import CellTolerance, MeanTolerance, compare
from xeval.cli.runs import runs_in
from xeval.cli.suite import table_of
from xeval.definitions.registry import all_tasks
from xeval.judging.verdict import Tolerance
from xeval.report.formats import Format, format_of, render_as
from xeval.report.formats.model_card import Footprint
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.files import write_atomically


def report(
    results: Results = Path("results"),
    task: Annotated[str | None, typer.Option("--task", help="Default: the only task in the folder.")] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", help="All tasks of this suite in one table; Markdown, HTML or JSON.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Only the runs of this model: alias, id (@revision) or folder.")
    ] = None,
    reference: ReferenceName = None,
    format: Annotated[
        Format | None, typer.Option("--format", help="Default: by the ending of --output; Markdown without one.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; default: standard output.")] = None,
    tolerance: CellTolerance = Tolerance.cell,
    mean_tolerance: MeanTolerance = Tolerance.mean,
    watts: Annotated[
        float | None, typer.Option("--watts", min=0, help="The machine's average draw, for the model card's estimate.")
    ] = None,
    grams_per_kwh: Annotated[
        float | None, typer.Option("--grams-per-kwh", min=0, help="CO2 equivalent of its grid, for the same.")
    ] = None,
    tasks_dir: TasksDirs = None,
) -> None:
    """Put the results of a task, or of a suite of tasks, beside published tables."""
    chosen = format or format_of(output)
    runs = runs_in(results, task, model)
    if suite is not None:
        from xeval.report.suite import formats  # scipy

        text = formats.render_as(chosen, table_of(runs, suite, tasks_dir or ()))
    else:
        name = _only_task(runs, results)
        matrix = compare(runs, name, reference, Tolerance(tolerance, mean_tolerance), tasks_dir or ())
        text = render_as(chosen, matrix, all_tasks(tasks_dir or ()).get(name), Footprint(watts, grams_per_kwh))
    if output is None:
        print(text, end="")
    else:
        write_atomically(output, text.encode())


def _only_task(runs: list[StoredRun], results: Path) -> str:
    tasks = sorted({run.record.task for run in runs})
    if len(tasks) > 1:
        raise StoreError(f"{results}: holds several tasks; choose one with --task ({', '.join(tasks)})")
    return tasks[0]
