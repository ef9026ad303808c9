"""Matrix → a table for the terminal: languages down, models across, so that fifteen of them fit 80 columns."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xeval.definitions.languages import describe
from xeval.report import verdicts
from xeval.report.matrix import Matrix, without_verdict
from xeval.support.text import one_line


def show(matrix: Matrix, console: Console) -> None:
    """Print the matrix on `console`. Accuracies are percentages."""
    console.print(_plain(f"{matrix.title}: {matrix.metric_in_words} in %, {matrix.setting}"), style="italic")
    table = Table(show_edge=False)
    table.add_column("language", no_wrap=True)
    for row in matrix.rows:
        table.add_column(_plain(row.name), justify="right", style="" if row.published else "bold", overflow="fold")
    for language in matrix.languages:
        table.add_row(
            _plain(f"{language}  {describe(language).name}"),
            *(verdicts.number(row.cells.get(language), verdicts.mark(row, language)) for row in matrix.rows),
        )
    table.add_section()
    n = matrix.n_reference_languages
    if n:
        means = (verdicts.number(row.mean_reference, verdicts.mean_mark(row, n)) for row in matrix.rows)
        table.add_row(f"mean of {n}", *means)
    if len(matrix.languages) > n:
        table.add_row(f"mean of {len(matrix.languages)}", *(verdicts.number(row.mean_all) for row in matrix.rows))
    table.add_row("gap", *(verdicts.number(row.gap) for row in matrix.rows))
    table.add_row("seeds", *(row.seeds for row in matrix.rows))
    console.print(table)

    for line in [*matrix.budgets, *(finding.line for finding in matrix.findings)]:
        console.print(_plain(line))
    found = matrix.verdicts
    for line in [verdicts.legend(found), *(line for one in found for line in verdicts.headlines(one))] if found else []:
        console.print(_plain(line))
    for line in without_verdict(matrix.rows, matrix.reference, matrix.task, matrix.metric):
        console.print(_plain(line))
    for claim in matrix.claims:
        console.print(_plain(claim.sentence))


def _plain(text: str) -> Text:
    """Text in which nothing is markup, and no control character is left."""
    return Text(one_line(text))
