"""Matrix → a table for the terminal: languages down, models across, so that fifteen of them fit 80 columns."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xeval.languages import describe
from xeval.report.matrix import Matrix


def show(matrix: Matrix, console: Console) -> None:
    """Print the matrix on `console`. Accuracies are percentages."""
    table = Table(title=f"{escape(matrix.title)}: accuracy in %, zero-shot", title_justify="left", show_edge=False)
    table.add_column("language", no_wrap=True)
    for row in matrix.rows:
        table.add_column(escape(row.name), justify="right", style="dim" if row.published else "bold", overflow="fold")
    for language in matrix.languages:
        table.add_row(
            f"{language}  {describe(language).name}",
            *(_number(row.cells.get(language)) for row in matrix.rows),
        )
    table.add_section()
    if matrix.n_reference_languages:
        table.add_row(f"mean of {matrix.n_reference_languages}", *(_number(row.mean_reference) for row in matrix.rows))
    if len(matrix.languages) > matrix.n_reference_languages:
        table.add_row(f"mean of {len(matrix.languages)}", *(_number(row.mean_all) for row in matrix.rows))
    table.add_row("gap", *(_number(row.gap) for row in matrix.rows))
    table.add_row("seeds", *(row.seeds for row in matrix.rows))
    console.print(table)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
