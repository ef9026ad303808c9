"""`xeval report`: a results folder compared with a published table, in one of several formats."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import CellTolerance, MeanTolerance, ReferenceName, Results, TasksDirs
from xeval.cli.outcome import suite_matrix_of
from xeval.cli.screen import write
from xeval.judging.verdict import Tolerance
from xeval.report import from_folder
from xeval.report.formats import Format, format_of
from xeval.report.formats.model_card import Footprint
from xeval.results.named_models import runs_in


def report(
    results: Results = Path("results"),
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Task; default: the only one in the folder.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite", metavar="SUITE", help="Show all tasks of this suite in one table; Markdown, HTML or JSON."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="MODEL", help="Show only the runs of this model: alias, id (@revision) or folder."
        ),
    ] = None,
    reference: ReferenceName = None,
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"{', '.join(Format)}. Default: by the extension of --output, or markdown without it.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write; default: standard output.")
    ] = None,
    tolerance: CellTolerance = Tolerance.cell,
    mean_tolerance: MeanTolerance = Tolerance.mean,
    watts: Annotated[
        float | None,
        typer.Option(
            "--watts",
            min=0,
            metavar="WATTS",
            help="Average power draw of the machine, for the model card's energy estimate.",
        ),
    ] = None,
    grams_per_kwh: Annotated[
        float | None,
        typer.Option(
            "--grams-per-kwh", min=0, metavar="GRAMS", help="CO2 equivalent of its power grid, for the CO2 estimate."
        ),
    ] = None,
    tasks_dir: TasksDirs = None,
) -> None:
    """Compare the results of a task, or of a suite of tasks, with published tables."""
    chosen, within = format or format_of(output), Tolerance(tolerance, mean_tolerance)
    if suite is not None:
        of_footprint = {"--watts": watts, "--grams-per-kwh": grams_per_kwh}
        _refuse_beside_suite({"--reference": reference, **from_folder.changed_options(within), **of_footprint})
        from xeval.report.suite import formats  # scipy

        text = formats.render_as(chosen, suite_matrix_of(runs_in(results, task, model), suite, tasks_dir or ()))
    else:
        text = from_folder.report_of(
            results,
            task=task,
            model=model,
            reference=reference,
            format=chosen,
            tolerance=within,
            footprint=Footprint(watts, grams_per_kwh),
            tasks_dirs=tasks_dir or (),
        )
    write(text, output)


def _refuse_beside_suite(given: Mapping[str, object]) -> None:
    """Raise for an option that is given but means nothing for the table of a suite."""
    for option, value in given.items():
        if value is not None:
            raise typer.BadParameter(f"{option}: a suite's report has no use for it; leave out one of the two")
