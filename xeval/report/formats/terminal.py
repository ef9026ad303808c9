"""Matrix → a table for the terminal: languages down, models across, so that fifteen of them fit 80 columns."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xeval.definitions.languages import describe
from xeval.definitions.model_name import short_name
from xeval.judging.verdict import NO_VERDICT
from xeval.report import in_short, verdicts, worst
from xeval.report.matrix import Matrix, without_verdict
from xeval.results.configurations import Configuration
from xeval.support.text import one_line


def show(matrix: Matrix, console: Console) -> None:
    """Print the matrix on `console`. Accuracies are percentages."""
    heads, shared = _heads(matrix)
    caption = f"{matrix.title}: {matrix.metric_in_words} in %, {matrix.setting}{f', {shared}' if shared else ''}"
    console.print(_plain(caption), style="italic")
    table = Table(show_edge=False)
    table.add_column("language", no_wrap=True)
    for head, row in zip(heads, matrix.rows, strict=True):
        table.add_column(head, justify="right", style="" if row.published else "bold", overflow="fold")
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

    checked = [f"✓ {matrix.checked}."] if matrix.checked else []
    for line in [*matrix.budgets, *(finding.line for finding in matrix.findings), *checked]:
        console.print(_plain(line))
    found = matrix.verdicts
    for line in [verdicts.legend(found), *(line for one in found for line in verdicts.headlines(one))] if found else []:
        console.print(_plain(line))
    board = in_short.of(matrix)
    farthest = [f"{one.name}. " * (len(board) > 1) + line for one in board if (line := worst.of(one.row))]
    closing = without_verdict(matrix.rows, matrix.reference, matrix.task, matrix.metric)
    settled = [claim for claim in matrix.claims if claim.outcome != NO_VERDICT]
    for line in farthest + closing + [f"{verdicts.MARKS[claim.outcome]} {claim.sentence}" for claim in settled]:
        console.print(_plain(line))


def _heads(matrix: Matrix) -> tuple[list[Text], str]:
    """What stands above each column, in two lines for each of two sides, and the settings that all of ours share."""
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
        heads.append(Text("\n").join([_plain(head), _plain(side)]) if side else _plain(head))
    return heads, shared


def _plain(text: str) -> Text:
    """Text in which nothing is markup, and no control character is left."""
    return Text(one_line(text))
