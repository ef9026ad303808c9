"""`xeval report`: a results folder beside a published table, in one of several formats."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Results
from xeval.cli.outcome import CellTolerance, MeanTolerance, compare
from xeval.errors import StoreError, UnknownNameError
from xeval.files import write_atomically
from xeval.records import RunRecord
from xeval.registry import all_tasks
from xeval.report.formats import Format, format_of, render_as
from xeval.report.model_card import Footprint
from xeval.store import load_records
from xeval.verdict import Tolerance


def report(
    results: Results = Path("results"),
    task: Annotated[str | None, typer.Option("--task", help="Default: the only task in the folder.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only the runs of this model.")] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="Published table, by name or path; default: the task's.")
    ] = None,
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
) -> None:
    """Put the results of a task beside a published table."""
    chosen = format or format_of(output)
    records = _of_model(model, load_records(results), results)
    name = _only_task(task, records, results)
    matrix = compare(records, name, reference, Tolerance(tolerance, mean_tolerance))
    text = render_as(chosen, matrix, all_tasks().get(name), Footprint(watts, grams_per_kwh))
    if output is None:
        print(text, end="")
    else:
        write_atomically(output, text.encode())


def _of_model(model: str | None, records: list[tuple[Path, RunRecord]], results: Path) -> list[tuple[Path, RunRecord]]:
    models = {record.model.id for _, record in records}
    if model is not None and model not in models:
        raise UnknownNameError(f"model in {results}", model, models)
    return [run for run in records if model in (None, run[1].model.id)]


def _only_task(task: str | None, records: list[tuple[Path, RunRecord]], results: Path) -> str:
    tasks = sorted({record.task for _, record in records})
    if not tasks:
        raise StoreError(f"{results}: no results there yet; make some with: xeval run xnli --model distilmbert")
    if task is None and len(tasks) > 1:
        raise StoreError(f"{results}: holds several tasks; choose one with --task ({', '.join(tasks)})")
    if task is not None and task not in tasks:
        raise UnknownNameError(f"task in {results}", task, tasks)
    return task or tasks[0]
