"""All published values of one cell, and what looks suspicious when sources are compared."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from xeval.definitions.reference import Reference, ReferenceRow

FAR_APART = 5.0  # points between two sources of one cell
SAME = 0.05  # points: equal when printed with one decimal
ENOUGH = 5  # cells; with fewer, a match after rotating the columns may be an accident


@dataclass(frozen=True)
class Entry:
    """One published value of a cell."""

    value: float  # in percent
    decimals: int
    spread: float | None  # standard deviation between the source's seeds, points
    row: ReferenceRow
    table: Reference


def entries(tables: Iterable[Reference], task: str, model: str, language: str) -> list[Entry]:
    """Return every published value of `model` in `language` of `task`, by metric and then from the lowest."""
    known = [
        Entry(row.cells[language], row.decimals, row.spread.get(language), row, table)
        for table in tables
        if table.task == task
        for row in table.rows
        if row.model == model and language in row.cells
    ]
    return sorted(known, key=lambda entry: (entry.table.metric, entry.value))


def suspicions(tables: Sequence[Reference]) -> list[str]:
    """Return what is suspicious about published tables, one line each. A suspicion is a reason to look, not a proof."""
    return [*_swapped_averages(tables), *_best_throughout(tables), *_between_sources(tables)]


def _swapped_averages(tables: Iterable[Reference]) -> Iterator[str]:
    """Yield rows that claim each other's average, and rows with a note on an average that their cells do not give."""
    for table in tables:
        claimed = [row for row in table.rows if row.claimed_average is not None]
        for first, second in combinations(claimed, 2):
            if (
                not _claims(first, first)
                and not _claims(second, second)
                and _claims(first, second)
                and _claims(second, first)
            ):
                yield f"{table.name}: the averages of {first.name!r} and {second.name!r} are swapped"
        for row in claimed:
            if row.average_note and not _claims(row, row):
                yield (
                    f"{table.name}: {row.name!r} claims an average of {row.claimed_average:g} where its cells give"
                    f" {row.average:.2f}: {row.average_note}"
                )


def _claims(row: ReferenceRow, other: ReferenceRow) -> bool:
    """Return whether `row` claims the average of the cells of `other`."""
    return row.claimed_average is not None and abs(row.claimed_average - other.average) <= row.average_tolerance


def _best_throughout(tables: Iterable[Reference]) -> Iterator[str]:
    """Yield rows whose checkpoint was selected for each language on its own."""
    for table in tables:
        for row in table.rows:
            if "each language" in row.selection or "per language" in row.selection:
                yield f"{table.name}: {row.name!r} is the best of several for each language ({row.selection})"


def _what(table: Reference, row: ReferenceRow) -> tuple[object, ...]:
    """Return what two rows must have in common to be comparable."""
    return table.task, table.split_name, table.metric, row.model, row.protocol, row.adaptation, row.layers_frozen


def _between_sources(tables: Sequence[Reference]) -> Iterator[str]:
    """Yield rows of two tables that should agree but do not: same model, task, split, metric, protocol, adaptation."""
    rows = [(table, row) for table in tables for row in table.rows]
    for (table, row), (other_table, other) in combinations(rows, 2):
        is_same = _what(table, row) == _what(other_table, other)
        shared = [language for language in row.cells if language in other.cells]
        if not is_same or table is other_table:
            continue
        both = f"{row.name!r} of {table.name} and {other.name!r} of {other_table.name}"
        if shift := _rotation(
            [row.cells[language] for language in shared], [other.cells[language] for language in shared]
        ):
            yield f"{both}: their values agree if the columns of one are shifted by {shift}"
            continue
        apart = {language: row.cells[language] - other.cells[language] for language in shared}
        far = [language for language in shared if abs(apart[language]) >= FAR_APART]
        if far:
            values = ", ".join(f"{lang} {row.cells[lang]:g} and {other.cells[lang]:g}" for lang in far)
            yield f"{both}: {FAR_APART:g} points or more apart in {values}"


def _rotation(first: Sequence[float], second: Sequence[float]) -> int:
    """Return by how many places `first` must be rotated to equal `second`; 0 if they agree already, or never do."""
    if len(first) < ENOUGH or np.abs(np.subtract(first, second)).max() < SAME:
        return 0
    shifts = range(1, len(first))
    return next((shift for shift in shifts if np.abs(np.roll(first, shift) - np.asarray(second)).max() < SAME), 0)
