"""`xeval export`: a run's fine-tuned weights as a folder that transformers loads, or its scores for other tools."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Results, TasksDirs


class ExportFormat(StrEnum):
    transformers = "transformers"
    every_eval_ever = "every-eval-ever"


def export(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's folder, or a model's name in --results; :key=value chooses a run."),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder to write to.")],
    output_format: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="transformers for weights, or every-eval-ever for the scores of all seeds.",
        ),
    ] = ExportFormat.transformers,
    organisation: Annotated[
        str | None,
        typer.Option("--organisation", metavar="NAME", help="With --format every-eval-ever: who submits the scores."),
    ] = None,
    results: Results = Path("results"),
    tasks_dir: TasksDirs = None,
) -> None:
    """Export a run's fine-tuned weights, tokenizer and label names as a folder for transformers.

    With --format every-eval-ever, writes its scores instead, in the schema of the EvalEval Coalition; DIR may then hold
    others.
    """
    if (organisation is None) == (output_format is ExportFormat.every_eval_ever):
        raise typer.BadParameter("--organisation: wanted with --format every-eval-ever, and only with it")
    if organisation is not None:
        return _every_eval_ever(run, folder, organisation, results, tasks_dir or [])
    from xeval.judging.comparison.named_runs import find_run
    from xeval.runs.export import export as export_run

    source = find_run(run, results)
    export_run(source, folder)
    print(
        f"{source.record.name_of_run} is in {folder}: transformers loads it with from_pretrained, and xeval run"
        f" {source.record.task} --no-train --model {shlex.quote(str(folder))} evaluates it"
    )


def _every_eval_ever(run: str, folder: Path, organisation: str, results: Path, tasks_dirs: list[Path]) -> None:
    from xeval.definitions.registry import all_tasks
    from xeval.judging.comparison.named_runs import find_runs
    from xeval.report.formats import every_eval_ever
    from xeval.support.files import write_atomically

    runs = find_runs(run, results)
    task = all_tasks(tasks_dirs).get(runs[0].record.task)
    for path, text in every_eval_ever.files(runs, task, organisation).items():
        write_atomically(folder / path, text.encode())
        print(folder / path)
