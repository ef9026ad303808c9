"""Verdicts → marks in the matrix, and the lines below it: a legend, and sentences that can be quoted."""

from collections import Counter
from collections.abc import Iterable, Sequence

from xeval.judging.equivalence import ALPHA
from xeval.judging.verdict import NO_VERDICT, RowVerdict, Verdict
from xeval.report.matrix import Row
from xeval.support.text import one_decimal

MARKS = {"reproduced": "✓", "not reproduced": "✗", "agrees": "≈", "leans low": "↓", "leans high": "↑"}


def outcome(row: Row, language: str) -> str:
    """Return the outcome of the verdict on the number of `row` in `language`. Empty if there is no verdict on it."""
    cell = row.verdict.cells.get(language) if row.verdict else None
    return cell.outcome if cell else ""


def mark(row: Row, language: str) -> str:
    """Return the mark after the number of `row` in `language`."""
    return MARKS.get(outcome(row, language), "")


def mean_mark(row: Row, n_languages: int) -> str:
    """Return the mark after the mean of `row` over `n_languages`, if the verdict is on that mean."""
    if row.verdict is None or len(row.verdict.cells) != n_languages:
        return ""
    return MARKS.get(row.verdict.mean.outcome, "")


def number(value: float | None, mark: str = "") -> str:
    """Format a cell as all formats do: one decimal and its mark, or a dash if there is no number."""
    return "–" if value is None else f"{one_decimal(value)} {mark}".rstrip()


def notes(verdicts: Sequence[RowVerdict]) -> list[str]:
    """Return the lines on `verdicts` below a table: what its marks mean, and what is worth saying of each verdict."""
    lines = [line for verdict in verdicts for line in headlines(verdict, verdicts)]
    return [legend(verdicts), *lines] if verdicts else []


def legend(verdicts: Sequence[RowVerdict]) -> str:
    """Explain the marks, with the tolerance behind them. Empty if there are no verdicts, and so no marks."""
    if not verdicts:
        return ""
    tolerance = verdicts[0].tolerance
    level = 100 * (1 - 2 * ALPHA)
    return (
        f"✓ reproduced: the {level:.0f} % interval of ours minus published lies inside the tolerance; ✗ not reproduced:"
        " it lies wholly outside. Otherwise ≈ agrees: the difference is inside; ↓ leans low, ↑ leans high: it is"
        f" outside. Tolerance: ±{tolerance.cell} points for a cell, ±{tolerance.mean} for the mean."
    )


def headlines(verdict: RowVerdict, among: Sequence[RowVerdict] = ()) -> list[str]:
    """Return the sentence on the mean, the count of outcomes, and a sentence on each cell that is not reproduced.

    If others `among` those shown are on the same published row, the count names the configuration too.
    """
    strays = [cell.sentence for cell in verdict.cells.values() if cell.outcome == "not reproduced"]
    return [verdict.mean.sentence, count(verdict, among), *strays]


def sentences(verdict: RowVerdict, among: Sequence[RowVerdict]) -> list[str]:
    """Return the sentences on the mean and on every cell. If none has a verdict, one sentence covers the whole row."""
    if {cell.outcome for cell in (verdict.mean, *verdict.cells.values())} == {NO_VERDICT}:
        return headlines(verdict, among)
    return [verdict.mean.sentence, *(cell.sentence for cell in verdict.cells.values())]


def count(verdict: RowVerdict, among: Sequence[RowVerdict]) -> str:
    """Say how many cells have which outcome, and which cells do not agree."""
    is_shared = sum(other.row == verdict.row for other in among) > 1
    which = f"{verdict.row} ({verdict.configuration.in_words})" if is_shared else verdict.row
    return f"{which}, by language: {by_language(verdict)}."


def by_language(verdict: RowVerdict) -> str:
    """Return the outcomes by language, as `✗ not reproduced 1 (es) · ≈ agrees 11`."""
    parts = [
        f"{MARKS.get(outcome, '')} {outcome} {n}{_where(verdict.cells.values(), outcome)}".strip()
        for outcome, n in tally(verdict).items()
    ]
    return " · ".join(parts)


def tally(verdict: RowVerdict) -> dict[str, int]:
    """Count the cells by outcome, in the order of the marks."""
    counts = Counter(cell.outcome for cell in verdict.cells.values())
    return {outcome: counts[outcome] for outcome in (*MARKS, NO_VERDICT) if counts[outcome]}


def _where(cells: Iterable[Verdict], outcome: str) -> str:
    return (
        ""
        if outcome in ("reproduced", "agrees")
        else f" ({' '.join(cell.what for cell in cells if cell.outcome == outcome)})"
    )
