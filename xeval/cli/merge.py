"""`xeval merge`: results folders of machines without a common disk → one folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from xeval.cli.options import Quiet
from xeval.cli.screen import say, screen
from xeval.support.progress import reporter

if TYPE_CHECKING:
    from xeval.results.merge import MergedRun


def merge(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC", help="Results folders to merge; they are only read.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="Results folder to merge them into.")],
    quiet: Quiet = False,
) -> None:
    """Merge the results of machines that share no disk: runs with the same weights become one, with all languages.

    If a run has different weights, the first one stays. Damaged results are named and left out, and the command then
    exits with 1.
    """
    from xeval.results.merge import merge as merge_folders  # pyarrow

    merged = merge_folders(sources, destination, reporter=reporter(quiet))
    for run in merged:
        for line in [*run.notes, *run.damage]:
            say(line)
    screen().print(_table(merged))
    if any(run.damage for run in merged):
        raise typer.Exit(1)


def _table(merged: Sequence["MergedRun"]) -> Table:
    """Return a table with a line for each source."""
    table = Table(show_edge=False, box=None, pad_edge=False)
    table.add_column("from", overflow="fold")
    columns = ("new", "added to", "there already", "left out", "damaged")
    for name in ("runs", *columns, "languages taken"):
        table.add_column(name, justify="right")
    for source in dict.fromkeys(run.source for run in merged):
        runs = [run for run in merged if run.source == source]
        counts = [sum(run.outcome == outcome for run in runs) for outcome in columns]
        numbers = [len(runs), *counts, sum(len(run.languages) for run in runs)]
        table.add_row(escape(str(source)), *(f"{number:,}" for number in numbers))
    return table
