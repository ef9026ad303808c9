"""Matrix → the cells of the page's tables: number, mark, and depth of colour."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from xeval.definitions.languages import describe
from xeval.report import verdicts
from xeval.report.matrix import Matrix, Row
from xeval.support.text import one_decimal, printed_difference, signed

LEVELS = 9  # colour levels; style.css has a class for each


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `text` always says what the colour shows."""

    text: str
    value: float | None = None  # the table is sorted by it
    colour: str = ""  # a class in style.css: for a colour, or "words" for text
    mark: str = ""
    outcome: str = ""  # the mark in words
    bar: float = 0.0  # length, as a share of the widest bar
    language: str = ""  # BCP 47 tag of a text from the data, for fonts and speech


@dataclass(frozen=True)
class Line:
    """One line of a table, for a language or a group of languages."""

    name: str
    more: tuple[str, ...]
    cells: list[Cell]


def score_lines(matrix: Matrix) -> list[Line]:
    """Return a line per language with a cell per row of the matrix: the training language first, then by transfer.

    The colour scale covers the other languages. The training language, far above them, has the deepest colour.
    """
    every = [(language, value) for row in matrix.rows for language, value in row.cells.items()]
    values = [value for language, value in every if language != matrix.training_language] or [every[0][1]]
    low, high = min(values), max(values)

    def cell(row: Row, language: str) -> Cell:
        value = row.cells.get(language)
        if value is None:
            return Cell("–")
        level = round(LEVELS * min(1.0, max(0.0, (value - low) / (high - low or 1))))
        mark, outcome = verdicts.mark(row, language), verdicts.outcome(row, language)
        return Cell(one_decimal(value), value, f"heat-{level}", mark, outcome)

    return [language_line(language, [cell(row, language) for row in matrix.rows]) for language in matrix.by_transfer]


def mean_lines(matrix: Matrix) -> list[Line]:
    """Return the lines with the means over languages and the gap, which stay at the bottom when the table is sorted."""
    n, most = matrix.n_reference_languages, len(matrix.languages)
    lines = []
    if n:
        marks = [verdicts.mean_mark(row, n) for row in matrix.rows]
        cells = [
            Cell(
                verdicts.number(row.mean_reference),
                mark=mark,
                outcome=row.verdict.mean.outcome if row.verdict and mark else "",
            )
            for row, mark in zip(matrix.rows, marks, strict=True)
        ]
        lines.append(Line(f"mean of {n}", (), cells))
    if most > n:
        lines.append(Line(f"mean of {most}", (), [Cell(verdicts.number(row.mean_all)) for row in matrix.rows]))
    lines.append(Line("gap", (), [Cell(verdicts.number(row.printed_gap)) for row in matrix.rows]))
    return lines


def difference_lines(matrix: Matrix) -> tuple[list[Row], list[Line]]:
    """Return our rows that are below a published one, and a line per language with ours minus published in points."""
    rows = [row for row in matrix.ours if row.beside]
    differences = {
        (row.name, language): row.cells[language] - published
        for row in rows
        if row.beside is not None
        for language, published in row.beside.cells.items()
        if language in row.cells
    }
    largest = max((abs(difference) for difference in differences.values()), default=0) or 1

    def cell(row: Row, language: str) -> Cell:
        difference = differences.get((row.name, language))
        if difference is None or row.beside is None:
            return Cell("–")
        side, level = "more" if difference > 0 else "less", round(LEVELS * abs(difference) / largest)
        judged = row.verdict.cells.get(language) if row.verdict else None
        comparison = judged.comparison if judged else None
        interval = f" ({signed(comparison.low)} to {signed(comparison.high)})" if comparison else ""
        mark, outcome = verdicts.mark(row, language), verdicts.outcome(row, language)
        printed = signed(printed_difference(row.cells[language], row.beside.cells[language]))
        return Cell(f"{printed}{interval}", difference, f"{side}-{level}", mark, outcome)

    compared = [language for language in matrix.by_transfer if any((row.name, language) in differences for row in rows)]
    return rows, [language_line(language, [cell(row, language) for row in rows]) for language in compared]


def gap_lines(matrix: Matrix) -> dict[str, list[Line]]:
    """Return the transfer gap, each row's training language minus others, in points: by language, script and family.

    Groups are of languages that no row was trained on, so all rows have the same ones.
    """
    homes = {matrix.home_of(row) for row in matrix.rows}
    others = [language for language in matrix.by_transfer if homes != {language}]
    targets = [language for language in others if language not in homes]
    by = {
        "language": [(describe(language).name, [language]) for language in others],
        "script": _grouped(targets, "script"),
        "family": _grouped(targets, "family"),
    }
    known = [gap for row in matrix.rows for language in others if (gap := _gap(row, [language], matrix)) is not None]
    widest = max(map(abs, known), default=0) or 1

    def cell(row: Row, languages: list[str]) -> Cell:
        gap = _gap(row, languages, matrix)
        return Cell("–") if gap is None else Cell(one_decimal(gap), gap, bar=max(0.0, gap) / widest)

    return {
        kind: [
            Line(name, (" ".join(languages),), [cell(row, languages) for row in matrix.rows])
            for name, languages in groups
        ]
        for kind, groups in by.items()
        if groups
    }


def _gap(row: Row, languages: list[str], matrix: Matrix) -> float | None:
    """Return how far `languages` are below the language that `row` was trained on: the mean of the printed gaps."""
    home = matrix.home_of(row)
    if home in languages or not {home, *languages} <= row.cells.keys():
        return None
    return statistics.fmean(printed_difference(row.cells[home], row.cells[language]) for language in languages)


def _grouped(languages: Iterable[str], attribute: str) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for language in languages:
        groups.setdefault(getattr(describe(language), attribute), []).append(language)
    return sorted(groups.items())


def language_line(language: str, cells: list[Cell]) -> Line:
    known = describe(language)
    return Line(known.name, (language, known.script, known.family), cells)
