"""Tables on narrow terminals, where phrases are folded before names and numbers are."""

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

_WIDE = 10_000  # columns, since no table is measured as wider than its console


def print_whole(table: Table, console: Console) -> None:
    """Print `table` with names and numbers unbroken, so that they can be read and copied, if the console has room."""
    words = [column for column in table.columns if _holds_words(column)]
    for column in words:
        column.no_wrap = True
    if Measurement.get(console, console.options.update(width=_WIDE), table).minimum > console.width:
        for column in words:
            column.no_wrap = False  # otherwise they would be cut off
    console.print(table)


def _holds_words(column: Column) -> bool:
    """Return whether all cells are single words, and the longest is at least as wide as a header of several."""
    cells, header = [str(cell) for cell in column.cells], str(column.header)
    return not any(" " in cell for cell in cells) and (
        " " not in header or cell_len(header) <= max(map(cell_len, cells), default=0)
    )
