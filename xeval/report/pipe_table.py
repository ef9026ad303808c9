"""Rows → a table of Markdown whose source is aligned too."""

from collections.abc import Sequence


def pipe_table(rows: Sequence[Sequence[str]], header: Sequence[str], alignment: Sequence[str]) -> str:
    """The table of `rows`, whose cells are escaped already; `alignment` is left or right for each column."""
    from tabulate import tabulate  # a tenth of a second that a command without a table need not wait for

    return tabulate(rows, list(header), "pipe", colalign=list(alignment), disable_numparse=True)
