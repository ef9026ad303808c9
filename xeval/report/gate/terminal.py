"""The gate's outcome → a short table for the terminal, a line for each failure, and the headline."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xeval.judging.gate.findings import GateFinding, Outcome
from xeval.report.gate.text import COLUMNS, by_configuration, cells, headline
from xeval.support.text import counted, one_line


def show(outcome: Outcome, console: Console) -> None:
    """Print `outcome` on `console`. Languages of which there is nothing to say are counted, not listed."""
    for name, findings in by_configuration(outcome.findings).items():
        console.print(escape(one_line(name)), style="italic")
        table = Table(show_edge=False)
        for column in COLUMNS:
            table.add_column(column, justify="left" if column in ("", "finding") else "right", overflow="fold")
        told = [finding for finding in findings if finding.kind != "note"]
        shown = [finding for finding in told if not _is_dull(finding)]
        for finding in shown:
            style = "red" if finding.fails else "green" if finding.kind == "improvement" else None
            table.add_row(*(escape(one_line(cell)) for cell in cells(finding)), style=style)
        if len(shown) < len(told):
            table.add_row(counted(len(told) - len(shown), "languages"), "", "", "", "", "unchanged")
        console.print(table)
    notes = [finding for finding in outcome.findings if finding.kind == "note"]
    for finding in [*outcome.failures, *notes]:
        console.print(escape(one_line(finding.sentence)), style="red" if finding.fails else "dim")
    console.print(escape(one_line(headline(outcome))), style="bold")


def _is_dull(finding: GateFinding) -> bool:
    on_language = finding.numbers is not None and finding.numbers.unit == "%" and not finding.what.startswith("mean of")
    return finding.kind == "unchanged" and on_language
