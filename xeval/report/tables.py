"""A header and rows → a table on a terminal or in Markdown. The first columns are aligned on the left."""

from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xeval.report.formats.markdown import escape
from xeval.report.pipe_table import pipe_table
from xeval.report.whole_words import print_whole
from xeval.support.text import one_line


def print_table(header: list[str], rows: list[list[str]], console: Console, n_left: int) -> None:
    print_whole(table_of(header, rows, n_left), console)


def table_of(header: list[str], rows: list[list[str]], n_left: int) -> Table:
    """Return the table for a terminal, in which text from elsewhere is harmless."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(header):
        side: Literal["left", "right"] = "left" if place < n_left else "right"
        table.add_column(plain(name), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    return table


def markdown_table(header: list[str], rows: list[list[str]], n_left: int) -> str:
    """Return the table in Markdown. The columns on the right hold numbers, and are not escaped."""
    alignment = ["left" if place < n_left else "right" for place in range(len(header))]
    cells = [[escape(cell) if place < n_left else cell for place, cell in enumerate(row)] for row in rows]
    return pipe_table(cells, [escape(name) for name in header], alignment)


def plain(text: str) -> Text:
    """Return text without markup and without control characters."""
    return Text(one_line(text))


def shown_p(value: float | None) -> str:
    """Return a p value as a cell shows it, or a dash if there is none."""
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
