"""The table of a suite as Markdown, HTML, JSON, and for the terminal."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from xeval.report.formats import Format
from xeval.report.formats.markdown import escape
from xeval.report.page.plain import page
from xeval.report.pipe_table import pipe_table
from xeval.report.suite.table import Average, Cell, Row, SuiteMatrix
from xeval.report.tables import plain
from xeval.report.whole_words import print_whole
from xeval.support.errors import XevalError
from xeval.support.text import counted, one_decimal

SUITE_REPORT_VERSION = 1


def render_as(chosen: Format, matrix: SuiteMatrix) -> str:
    """Render the whole report. Raises XevalError for a format that suites do not have."""
    renderers = {Format.MARKDOWN: markdown, Format.HTML: html, Format.JSON: as_json}
    if chosen not in renderers:
        known = ", ".join(format.value for format in renderers)
        raise XevalError(f"suite {matrix.suite.name}: wanted the format {known}, got {chosen.value}")
    return renderers[chosen](matrix)


# ── cells ──


def cell(entry: Cell | None, title: str = "") -> str:
    """Format a cell as `71.2 [69.8, 72.6]`, or a dash. A split other than test follows unless the title names it."""
    if entry is None:
        return "–"
    text = f"{one_decimal(entry.value)}{'*' * entry.other_metrics}"
    if entry.interval is not None:
        text += f" [{one_decimal(entry.interval[0])}, {one_decimal(entry.interval[1])}]"
    return text if entry.split == "test" or title.endswith(f" ({entry.split})") else f"{text} {entry.split}"


def average(mean: Average | None) -> str:
    """Format an average as `71.2`, with the number of its tasks if some are missing."""
    if mean is None:
        return "–"
    part = f" ({mean.n} of {mean.of})" if mean.n < mean.of else ""
    return f"{one_decimal(mean.value)}{'*' * mean.other_metrics}{part}"


def _header(matrix: SuiteMatrix) -> list[str]:
    return ["model", *matrix.titles.values(), *matrix.suite.groups, f"mean of {len(matrix.tasks)}"]


def _cells(row: Row, matrix: SuiteMatrix) -> list[str]:
    scores = [cell(row.cells.get(task), title) for task, title in matrix.titles.items()]
    return [*scores, *(average(row.groups.get(group)) for group in matrix.suite.groups), average(row.total)]


# ── formats ──


def markdown(matrix: SuiteMatrix) -> str:
    header = [escape(name) for name in _header(matrix)]
    body = [
        [escape(row.name) if row.published else f"**{escape(row.name)}**", *map(escape, _cells(row, matrix))]
        for row in matrix.rows
    ]
    alignment = ["left"] + ["right"] * (len(header) - 1)
    table = pipe_table(body, header, alignment)
    notes = "\n".join(f"- {escape(line)}" for line in matrix.footer)
    return f"# {escape(matrix.suite.title)}\n\n{table}\n\n{notes}\n"


def html(matrix: SuiteMatrix) -> str:
    """Return one self-contained file without a script."""
    return page(
        f"{matrix.suite.title}: scores",
        matrix.suite.title,
        _header(matrix),
        [[row.name, *_cells(row, matrix)] for row in matrix.rows],
        matrix.footer,
        bold=[not row.published for row in matrix.rows],
    )


def as_json(matrix: SuiteMatrix) -> str:
    """Return JSON as docs/files.md describes it. Scores are fractions."""
    report = {
        "suite_report_version": SUITE_REPORT_VERSION,
        "suite": matrix.suite.name,
        "title": matrix.suite.title,
        "tasks": {
            member.task: {"title": matrix.titles[member.task], "group": member.group} for member in matrix.suite.tasks
        },
        "rows": [_json_row(row) for row in matrix.rows],
        "footnotes": matrix.footer,
    }
    return json.dumps(report, indent=1, allow_nan=False) + "\n"


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "published": row.published,
        "model": row.model,
        "scores": {task: _json_cell(cell) for task, cell in row.cells.items()},
        "groups": {group: _json_average(average) for group, average in row.groups.items()},
        "mean": row.total and _json_average(row.total),
        "problems": row.problems,
    }


def _json_cell(cell: Cell) -> dict[str, Any]:
    own = cell.score and {
        "interval95": cell.score.interval,
        "split": cell.split,
        "metrics": cell.score.metrics,
        "languages": cell.score.languages,
        "lacking": cell.score.lacking,
        "runs": [str(run.folder) for run in cell.runs],
    }
    return {"value": round(cell.value / 100, 12), "other_metrics": cell.other_metrics, **(own or {})}


def _json_average(average: Average) -> dict[str, Any]:
    return {"value": round(average.value / 100, 12), "n_tasks": average.n, "of": average.of}


def show(matrix: SuiteMatrix, console: Console) -> None:
    """Print the table on `console`, tasks down and models across, with published rows only for models of ours."""
    console.print(plain(f"{matrix.suite.title}: scores in %"), style="italic")
    table = Table(show_edge=False)
    table.add_column("task")
    own = {row.model for row in matrix.ours}
    rows = [row for row in matrix.rows if not row.published or row.model in own]
    for row in rows:
        table.add_column(plain(row.name), justify="right", style="" if row.published else "bold", overflow="fold")
    for task, title in matrix.titles.items():
        table.add_row(plain(title), *(cell(row.cells.get(task), title) for row in rows))
    table.add_section()
    for group in matrix.suite.groups:
        table.add_row(plain(group), *(average(row.groups.get(group)) for row in rows))
    table.add_row(f"mean of {len(matrix.tasks)}", *(average(row.total) for row in rows))
    print_whole(table, console)
    if len(rows) < len(matrix.rows):
        others = counted(len(matrix.rows) - len(rows), "published rows of other models")
        console.print(plain(f"A report shows {others} too."))
    for line in matrix.footer:
        console.print(plain(line))
