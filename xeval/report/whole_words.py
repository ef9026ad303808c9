"""Tables on narrow terminals, where lines break between words, so that names and numbers can be read and copied."""

from rich.console import Console
from rich.measure import Measurement, measure_renderables
from rich.table import Table

_WIDE = 10_000  # columns, since no table is measured as wider than its console


def print_whole(table: Table, console: Console) -> None:
    """Print `table` with all words unbroken if the console has room for the longest word of every column.

    Rich narrows the widest columns first, even to less than their words. Here, a column stops at its longest word.
    """
    options = console.options.update(width=_WIDE)
    sizes = [measure_renderables(console, options, [column.header, *column.cells]) for column in table.columns]
    for most in range(console.width, 0, -1):
        for column, size in zip(table.columns, sizes, strict=True):
            column.width = max(size.minimum, min(size.maximum, most))
        if Measurement.get(console, options, table).maximum <= console.width:
            break
    else:
        for column in table.columns:
            column.width = None
    console.print(table)
