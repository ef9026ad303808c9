"""Rows → a Markdown table with an aligned source."""

from collections.abc import Sequence


def pipe_table(rows: Sequence[Sequence[str]], header: Sequence[str], alignment: Sequence[str]) -> str:
    """Return a table of `rows`, whose cells must be escaped already. `alignment` is left or right for each column."""
    from tabulate import tabulate  # takes a tenth of a second, which commands without a table must not wait for

    return tabulate(rows, list(header), "pipe", colalign=list(alignment), disable_numparse=True)
