"""Matrix → a table with all numbers: languages are columns or, if there are too many for a page, lines."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from xeval.definitions.languages import describe
from xeval.report.matrix import Matrix, Row
from xeval.report.verdicts import mark, mean_mark, number

MOST_COLUMNS = 20  # languages: XNLI has 15, UDPOS 33

Cell = TypeVar("Cell")


def lines(matrix: Matrix, names: Sequence[str], written: Callable[[str], str]) -> list[list[str]]:
    """Return the lines of the table, the header first.

    `names` stand for the rows of `matrix`, and are in the first column, or in the header if languages are lines.
    `written` escapes the other heads.
    """
    header = ["", *map(written, _header(matrix))]
    body = [[name, *_cells(row, matrix)] for name, row in zip(names, matrix.rows, strict=True)]
    return turned([header, *body]) if has_language_lines(matrix) else [header, *body]


def has_language_lines(matrix: Matrix) -> bool:
    """Return whether a table has a line for each language, and a column for each row of `matrix`."""
    return are_too_many(matrix.languages, len(matrix.rows))


def are_too_many(languages: Sequence[str], n_rows: int) -> bool:
    """Return whether a table of `n_rows` has too many `languages` for columns."""
    return len(languages) > max(MOST_COLUMNS, n_rows)


def turned(table: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """Return a table whose lines are the columns of `table`."""
    return [list(column) for column in zip(*table, strict=True)]


def _header(matrix: Matrix) -> list[str]:
    """Return what stands above the `_cells` of each row, or beside them if languages are lines."""
    n_first, n_all = matrix.n_reference_languages, len(matrix.languages)
    more = [f"mean of {n_all}"] if n_all > n_first > 0 else []
    languages = map(_with_name, matrix.languages) if has_language_lines(matrix) else matrix.languages
    return [*languages, f"mean of {n_first or n_all}", *more, "gap", "n", "seeds"]


def _with_name(language: str) -> str:
    name = describe(language).name
    return language if name == language else f"{language} {name}"


def _cells(row: Row, matrix: Matrix) -> list[str]:
    """Return the cells of `row`: its scores, means and gap, and the numbers of rows and seeds behind them."""
    n_first = matrix.n_reference_languages
    more = [number(row.mean_all)] if len(matrix.languages) > n_first > 0 else []
    scores = [number(row.cells.get(language), mark(row, language)) for language in matrix.languages]
    mean = number(row.mean_reference, mean_mark(row, n_first))
    return [*scores, mean, *more, number(row.printed_gap), row.n_examples, row.seeds]
