"""The gate's outcome → a short table for the terminal, a line for each failure, and the headline."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xeval.judging.gate.findings import GateFinding, Outcome
from xeval.report.gate.text import COLUMNS, by_configuration, cells, headline, span_of_changes
from xeval.support.text import counted, one_line

MANY = 50  # configurations; with more, unchanged ones are counted, not listed


def show(outcome: Outcome, console: Console) -> None:
    """Print `outcome` on `console`.

    Unchanged languages are counted, not listed. So are unchanged configurations if there are more than MANY.
    """
    groups = by_configuration(outcome.findings)
    dull = {name for name, findings in groups.items() if len(groups) > MANY and all(map(_is_quiet, findings))}
    for name, findings in groups.items():
        if name not in dull:
            _show_one(name, findings, console)
    if dull:
        console.print(f"{counted(len(dull), 'other configurations')}: unchanged")
    notes = [note for note in outcome.findings if note.kind == "note" and note.configuration not in dull]
    for finding in [*outcome.failures, *notes]:
        console.print(escape(one_line(finding.sentence)), style="red" if finding.fails else "dim")
    console.print(escape(one_line(headline(outcome))), style="bold")


def _show_one(name: str, findings: Sequence[GateFinding], console: Console) -> None:
    """Print the table of one configuration."""
    console.print(escape(one_line(name)), style="italic")
    table = Table(show_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("", "finding") else "right", overflow="fold")
    told = [finding for finding in findings if finding.kind != "note"]
    shown = [finding for finding in told if not _is_dull(finding)]
    for finding in shown:
        style = "red" if finding.fails else "green" if finding.kind == "improvement" else None
        table.add_row(*(escape(one_line(cell)) for cell in cells(finding)), style=style)
    if dull := [finding for finding in told if _is_dull(finding)]:
        table.add_row(counted(len(dull), "languages"), "", "", span_of_changes(dull), "", "unchanged")
    console.print(table)


def _is_quiet(finding: GateFinding) -> bool:
    return finding.kind in ("unchanged", "note")


def _is_dull(finding: GateFinding) -> bool:
    on_language = finding.numbers is not None and finding.numbers.unit == "%" and not finding.what.startswith("mean of")
    return finding.kind == "unchanged" and on_language
