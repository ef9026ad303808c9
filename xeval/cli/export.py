"""`xeval export`: a run's fine-tuned weights as a folder that transformers loads."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Results


def export(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's folder, or a model's name in --results; :key=value chooses a run."),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; not there yet, or empty.")],
    results: Results = Path("results"),
) -> None:
    """Write a run's fine-tuned weights, its tokenizer and the names of its labels as a folder for transformers."""
    from xeval.judging.comparison.named_runs import find_run
    from xeval.runs.export import export as export_run

    found = find_run(run, results)
    export_run(found, folder)
    print(
        f"{found.record.name_of_run} is in {folder}: transformers loads it with from_pretrained, and xeval run"
        f" {found.record.task} --no-train --model {folder} evaluates it"
    )
