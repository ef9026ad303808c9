"""Definitions of a score compared with a published number, for the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from xeval.definitions.toml import Printed
from xeval.judging.forensics import Definition
from xeval.report.tables import plain
from xeval.support.text import printed_difference, signed

NEAREST = 15  # rows of the table, or more if more definitions reach the number


def show(definitions: Sequence[Definition], published: Printed, console: Console) -> None:
    """Print the definitions nearest to `published`, the nearest first, and a line that says which ones reach it."""
    nearest = sorted(definitions, key=lambda definition: abs(100 * definition.value - float(published)))
    reaching = [definition for definition in nearest if definition.reaches(published)]
    table = Table(show_edge=False)
    for name in ("metric", "over"):
        table.add_column(name)
    table.add_column("in %", justify="right")
    table.add_column(f"− {published.text}", justify="right")
    for definition in nearest[: max(NEAREST, len(reaching))]:
        difference = signed(printed_difference(100 * definition.value, float(published), 2), 2)
        mark = " ✓" if definition in reaching else ""
        cells = definition.metric, definition.over, f"{100 * definition.value:.2f}", difference + mark
        table.add_row(*map(plain, cells))
    console.print(table)
    console.print(plain(conclusion(reaching, len(definitions), published)))


def conclusion(reaching: Sequence[Definition], n_definitions: int, published: Printed) -> str:
    """Say in one sentence which definitions print as the published number."""
    if not reaching:
        return f"None of {n_definitions} definitions gives {published.text}; the nearest are above."
    names = "; ".join(f"{definition.metric}, {definition.over}" for definition in reaching)
    return f"{published.text} is what {len(reaching)} of {n_definitions} definitions give: {names}."
