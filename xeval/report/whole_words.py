"""Tables on narrow terminals, where lines break between words, so that names and numbers can be read and copied."""

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement, measure_renderables
from rich.table import Table

_WIDE = 10_000  # columns, since no table is measured as wider than its console


def print_whole(table: Table, console: Console) -> None:
    """Print `table` with all words unbroken if the console has room for the longest word of every column.

    Rich narrows the widest columns first, even to less than their words. Here, a column stops at its longest word, and
    all of a number, such as an interval, stays on one line if there is room with one space between the columns instead
    of two. If even numbers of several lines are too wide, long words break in the header before any do in the cells.
    """
    fit(table, console)
    console.print(table)


def fit(table: Table, console: Console) -> bool:
    """Set the widths of `table`'s columns so that no word breaks, and return whether the console has room for that."""
    options = console.options.update(width=_WIDE)
    spaced = table.padding
    for numbers_whole in (True, False):
        for table.padding in (spaced, (0, 1, 0, 0)):
            if _fits(table, console, options, numbers_whole):
                return True
    if not any(_fits(table, console, options, numbers_whole, headers_whole=False) for numbers_whole in (True, False)):
        table.padding = spaced
        for column in table.columns:
            column.width = None
    return False


def _fits(
    table: Table, console: Console, options: ConsoleOptions, numbers_whole: bool, headers_whole: bool = True
) -> bool:
    """Set the columns of `table` to the widest that fit, and return whether any do.

    `numbers_whole` keeps all of a cell on one line in the columns that are aligned on the right.
    """
    sizes = []
    for column in table.columns:
        cells = measure_renderables(console, options, [*column.cells])
        header = measure_renderables(console, options, [column.header])
        least = cells.maximum if numbers_whole and column.justify == "right" else cells.minimum
        sizes.append((max(header.minimum * headers_whole, least), max(header.maximum, cells.maximum)))
    for most in range(console.width, 0, -1):
        for column, (least, greatest) in zip(table.columns, sizes, strict=True):
            column.width = max(least, min(greatest, most))
        if Measurement.get(console, options, table).maximum <= console.width:
            return True
    return False
