"""Flipped rows → terminal, Markdown, JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console

from xeval.judging.comparison.flips import FlippedRows
from xeval.report.formats.markdown import escape
from xeval.report.tables import markdown_table, plain, print_table


def show(flipped: FlippedRows, console: Console) -> None:
    """Print the rows on `console`, below their comparison."""
    console.print()
    console.print(plain(_title(flipped)))
    header = _header(flipped)
    print_table(header, _rows(flipped), console, n_left=len(header))


def markdown(flipped: FlippedRows) -> str:
    """Return a section to put below the comparison of the rows."""
    header = _header(flipped)
    table = markdown_table(header, _rows(flipped), n_left=len(header))
    return f"\n## {escape(_title(flipped))}\n\n{table}\n"


def as_object(flipped: FlippedRows) -> dict[str, Any]:
    return {key: value for key, value in asdict(flipped).items() if key != "text_names"}


def _title(flipped: FlippedRows) -> str:
    n, hint = len(flipped.rows), ""
    if not flipped.sentences and n:
        hint = "; --data DIR, with a copy of the data that was scored, adds their sentences"
    won = flipped.n_won
    which = "that only one side gets right"
    if max(flipped.n_seeds) > 1:
        which = "that one side gets right in more than half of its seeds, and the other in fewer than half"
    return f"Rows in {flipped.language} {which}: {n} ({n - won} A, {won} B){hint}"


def _header(flipped: FlippedRows) -> list[str]:
    sentences = flipped.text_names if flipped.sentences else []
    return ["row", "gold", "A", "B", *sentences]


def _rows(flipped: FlippedRows) -> list[list[str]]:
    return [
        [
            str(flip.row),
            _label(flipped, flip.label),
            _label(flipped, flip.prediction_a) + _share(flip.right_a, flipped.n_seeds[0]),
            _label(flipped, flip.prediction_b) + _share(flip.right_b, flipped.n_seeds[1]),
            *flipped.sentences.get(flip.row, ()),
        ]
        for flip in flipped.rows
    ]


def _label(flipped: FlippedRows, index: int | str) -> str:
    if isinstance(index, str):
        return index or "–"
    return flipped.labels[index] if flipped.labels else str(index)


def _share(n_right: int, n_seeds: int) -> str:
    return f" ({n_right} of {n_seeds} right)" if n_seeds > 1 else ""
