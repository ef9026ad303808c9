"""The parts of a comparison → terminal, Markdown, HTML. Each kind of comparison puts its own numbers into words."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from xeval.report.formats.markdown import escape
from xeval.report.page.plain import fragment
from xeval.report.tables import markdown_table, plain, table_of
from xeval.report.whole_words import fit


@dataclass(frozen=True)
class Parts:
    """The parts that every comparison shows, in words."""

    title: str
    sides: list[str]
    conclusion: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]


def print_parts(parts: Parts, console: Console) -> None:
    table = table_of(parts.header, parts.rows, n_left=1)
    fit(table, console)
    print_around(parts, table, console)


def print_around(parts: Parts, table: Table, console: Console) -> None:
    """Print `table`, which shows the rows of `parts`, with the other parts above and below it."""
    for line in (parts.title, *parts.sides):
        console.print(plain(line))
    console.print(table)
    console.print()
    console.print(plain(parts.conclusion), style="bold")
    for note in parts.notes:
        console.print(plain(note), style="dim")


def markdown_parts(parts: Parts) -> str:
    sides, notes = ("\n".join(f"- {escape(line)}" for line in lines) for lines in (parts.sides, parts.notes))
    table = markdown_table(parts.header, parts.rows, n_left=1)
    blocks = [f"# {escape(parts.title)}", sides, f"**{escape(parts.conclusion)}**", table, notes]
    return "\n\n".join(filter(None, blocks)) + "\n"


def html_parts(parts: Parts) -> str:
    """Return the parts as HTML for a notebook."""
    return fragment([parts.title, *parts.sides, parts.conclusion], parts.header, parts.rows, parts.notes)
