"""Matrix → a table for terminals and notebooks. Languages go down and models across, so 15 languages fit 80 columns."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xeval.definitions.languages import describe
from xeval.definitions.model_name import short_name
from xeval.judging.verdict import NO_VERDICT
from xeval.report import in_short, verdicts, worst
from xeval.report.matrix import Matrix
from xeval.report.page.plain import fragment
from xeval.report.tables import plain
from xeval.results.configurations import Configuration


def show(matrix: Matrix, console: Console) -> None:
    """Print the matrix on `console`. Scores are percentages."""
    heads, shared = _heads(matrix)
    console.print(plain(_caption(matrix, shared)), style="italic")
    table = Table(show_edge=False)
    table.add_column("language", no_wrap=True)
    for head, row in zip(heads, matrix.rows, strict=True):
        table.add_column(head, justify="right", style="" if row.published else "bold", overflow="fold")
    for cells in _languages(matrix):
        table.add_row(*map(plain, cells))
    table.add_section()
    for cells in _totals(matrix):
        table.add_row(*cells)
    console.print(table)
    for line in [*_findings(matrix), *_below(matrix)]:
        console.print(plain(line))


def as_html(matrix: Matrix) -> str:
    """Render what `show` prints for a notebook, with findings above the table and notes on the numbers folded."""
    heads, shared = _heads(matrix)
    header = ["language", *(head.plain.replace("\n", ", ") for head in heads)]
    rows = [*_languages(matrix), *_totals(matrix)]
    return fragment([_caption(matrix, shared), *_findings(matrix)], header, rows, _below(matrix))


def _caption(matrix: Matrix, shared: str) -> str:
    only = matrix.sources[0] if len(matrix.sources) == 1 else matrix.training_language  # several are in the heads
    elsewhere = f"trained on {describe(only).name}" if only != matrix.training_language else ""
    how = ", ".join(filter(None, [matrix.setting, elsewhere, shared]))
    return f"{matrix.title}: {matrix.metric_in_words} in %, {how}"


def _languages(matrix: Matrix) -> list[list[str]]:
    return [
        [
            f"{language}  {describe(language).name}",
            *(verdicts.number(row.cells.get(language), verdicts.mark(row, language)) for row in matrix.rows),
        ]
        for language in matrix.languages
    ]


def _totals(matrix: Matrix) -> list[list[str]]:
    """Return the lines with means, gap and seeds."""
    n, lines = matrix.n_reference_languages, list[list[str]]()
    if n:
        means = (verdicts.number(row.mean_reference, verdicts.mean_mark(row, n)) for row in matrix.rows)
        lines.append([f"mean of {n}", *means])
    if len(matrix.languages) > n:
        lines.append([f"mean of {len(matrix.languages)}", *(verdicts.number(row.mean_all) for row in matrix.rows)])
    lines.append(["gap", *(verdicts.number(row.printed_gap) for row in matrix.rows)])
    return [*lines, ["seeds", *(row.seeds for row in matrix.rows)]]


def _findings(matrix: Matrix) -> list[str]:
    checked = [f"✓ {matrix.checked}."] if matrix.checked else []
    return [*matrix.budgets, *(finding.line for finding in matrix.findings), *matrix.left_out, *checked]


def _below(matrix: Matrix) -> list[str]:
    """Return the notes on the numbers, a line each."""
    board = in_short.of(matrix)
    farthest = [f"{entry.own_name}. " * (len(board) > 1) + line for entry in board if (line := worst.of(entry.row))]
    settled = [claim for claim in matrix.claims if claim.outcome != NO_VERDICT]
    claims = [f"{verdicts.MARKS[claim.outcome]} {claim.sentence}" for claim in settled]
    return [*verdicts.notes(matrix.verdicts), *farthest, *matrix.without_verdict, *claims]


def _heads(matrix: Matrix) -> tuple[list[Text], str]:
    """Return the column heads, and the settings that all rows of ours share.

    A published row and a row of ours below it have a second line, "published" or "ours".
    """
    settings = {row.name: Configuration.of(row.runs[0].record).in_words for row in matrix.ours}
    shared = settings[matrix.ours[0].name] if len(set(settings.values())) == 1 else ""
    ids = {row.name: row.runs[0].record.model.id for row in matrix.ours}
    short = {model_id: short_name(model_id) for model_id in ids.values()}
    heads = []
    for row in matrix.rows:
        head, side = row.name, ""
        if row.published:
            head, _, protocol = row.name.partition(", published")
            side = f"published{protocol}"
        else:
            model_id = ids[row.name]
            is_clear = list(short.values()).count(short[model_id]) == 1
            head = head.replace(model_id, short[model_id] if is_clear else model_id, 1)
            head = head.replace(f", {shared}", "", 1) if shared else head
            side = "ours" if row.beside is not None else ""
        heads.append(Text("\n").join([plain(head), plain(side)]) if side else plain(head))
    return heads, shared
