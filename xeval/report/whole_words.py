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
    columns = [measure_renderables(console, options, [column.header, *column.cells]) for column in table.columns]
    n_between = Measurement.get(console, options, table).maximum - sum(column.maximum for column in columns)
    for most in range(console.width, 0, -1):
        widths = [max(column.minimum, min(column.maximum, most)) for column in columns]
        if sum(widths) + n_between <= console.width:
            for column, width in zip(table.columns, widths, strict=True):
                column.width = width
            break
    console.print(table)
