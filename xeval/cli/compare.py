"""`xeval compare`: is B better than A on the same test rows, and where?"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from xeval.cli.options import Results, TasksDirs
from xeval.registry import all_tasks

_WHAT = "folder of a run, of a model or of results, or a model's name in --results; :key=value chooses among them"


class Format(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    json = "json"


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The one side: {_WHAT}.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other side, named in the same way.")],
    results: Results = Path("results"),
    flips: Annotated[
        str | None, typer.Option("--flips", metavar="LANGUAGE", help="Show the rows that only one side has right.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="XEVAL_DATA", help="Local copy of the data: --flips then shows the sentences."),
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="How to show it.")] = Format.terminal,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the resampling; recorded.")] = None,
    tasks_dir: TasksDirs = None,
) -> None:
    """Compare B with A on the same test rows: differences with intervals, tests, and a sentence."""
    from xeval.comparison import compare as comparing  # pandas and scipy, which `xeval --help` need not wait for
    from xeval.comparison.flips import flipped_rows
    from xeval.comparison.named_runs import find_runs
    from xeval.comparison.paired_runs import pair
    from xeval.report import comparison

    paired = pair(find_runs(a, results), find_runs(b, results))
    shown = None
    if flips is not None:
        shown = flipped_rows(paired, flips, all_tasks(tasks_dir or []).get(paired.task), data)
    found = comparing.compare(paired, comparing.SEED if seed is None else seed)
    if output_format is Format.json:
        print(comparison.as_json(found, shown), end="")
    elif output_format is Format.markdown:
        print(comparison.markdown(found, shown), end="")
    else:
        comparison.show(found, shown, Console(highlight=False))
