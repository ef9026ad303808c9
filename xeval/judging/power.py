"""How often so many seeds would show that a published row is reproduced, were it true of our training too.

The test is that of `equivalence.py`, repeated on scores drawn with the spread that is believed before any are seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from xeval.definitions.reference import Reference, ReferenceRow
from xeval.definitions.task import Task
from xeval.judging.equivalence import MEASURED_FROM, Published, Spread, half_width, read, seed_spread, spread_of_mean
from xeval.judging.verdict import Tolerance, expected_spread, published_cell, published_mean

DRAWS = 1_000
EVEN = 0.5  # a chance worth its seeds
MOST_SEEDS = 10  # that anybody is advised to train for it
CELLS = 5  # of a row that are drawn for, evenly from the narrowest spread to the widest


@dataclass(frozen=True)
class Power:
    """Shares of grids with so many seeds in which a row would be called reproduced."""

    n_seeds: int
    mean: float
    cell: float  # of a cell, on average


def power_of(row: ReferenceRow, task: Task, seeds: Sequence[int], tolerance: Tolerance | None = None) -> list[Power]:
    """For each number of `seeds`, how often `row` would be called reproduced, were it true of our training."""
    tolerance = tolerance or Tolerance()
    expected = _expected(row, task)
    mean = published_mean(row), spread_of_mean(task.of_kind.assumed_spread, list(expected.values()))
    by_spread = sorted(expected, key=lambda language: expected[language].sd)
    places = np.linspace(0, len(by_spread) - 1, min(CELLS, len(by_spread))).astype(int)
    cells = [(published_cell(row, by_spread[place]), expected[by_spread[place]]) for place in places]
    return [
        Power(
            n_seeds,
            share_reproduced(n_seeds, *mean, tolerance.mean),
            float(np.mean([share_reproduced(n_seeds, *cell, tolerance.cell) for cell in cells])),
        )
        for n_seeds in seeds
    ]


@dataclass(frozen=True)
class Chance:
    """That the mean of a published row is called reproduced, if it is true of our training."""

    by_seeds: dict[int, float]

    @property
    def even_from(self) -> int | None:
        """The fewest seeds that give it an even chance; None where not even MOST_SEEDS do."""
        return next((n for n, share in sorted(self.by_seeds.items()) if share >= EVEN), None)


def chance_of(row: ReferenceRow, task: Task, seeds: Sequence[int] = (), tolerance: Tolerance | None = None) -> Chance:
    """The chance with each number from 1 to MOST_SEEDS, and with those of `seeds`."""
    published = replace(published_mean(row), value=0.0)  # on which it does not depend, so that rows share an answer
    expected = spread_of_mean(task.of_kind.assumed_spread, list(_expected(row, task).values()))
    numbers = {*range(1, MOST_SEEDS + 1), *seeds}
    within = (tolerance or Tolerance()).mean
    return Chance({n: share_reproduced(n, published, expected, within) for n in numbers})


@dataclass(frozen=True)
class ChosenSeeds:
    """The seeds that a published table is reproduced with where nobody says which."""

    seeds: tuple[int, ...]  # none: what the recipes name
    why: str = ""


def seeds_to_reproduce(table: Reference, task: Task) -> ChosenSeeds:
    """As many seeds as give each row of `table` an even chance to be called reproduced, if that can be had.

    Otherwise the fewest whose own spread is measured: with fewer, verdicts rest on what is assumed of it.
    """
    rows = [row for row in table.rows if row.protocol == "zero-shot"]
    if not rows or not task.of_kind.trains:
        return ChosenSeeds(())
    needed = {row.name: chance_of(row, task).even_from for row in rows}
    reached = [n for n in needed.values() if n is not None]
    n = max([*reached, MEASURED_FROM])
    if not reached or n > max(reached):
        return ChosenSeeds(tuple(range(1, n + 1)), "the fewest whose spread is measured, not assumed")
    which = "each row" if len(reached) == len(rows) else f"{len(reached)} of {len(rows)} rows"
    return ChosenSeeds(
        tuple(range(1, n + 1)), f"the fewest that give {which} an even chance of being confirmed if true"
    )


def _expected(row: ReferenceRow, task: Task) -> dict[str, Spread]:
    """The spread between seeds that is believed before any are seen, by language."""
    assumed = task.of_kind.assumed_spread
    return {
        language: expected_spread(
            row,
            assumed,
            language,
            language == task.training_language,
            task.expected_rows.of("test", language) or assumed.n_rows,
        )
        for language in row.cells
    }


@cache
def share_reproduced(n_seeds: int, published: Published, expected: Spread, tolerance: float) -> float:
    """How often `n_seeds` of ours that spread as `expected` are called the same as `published`, being the same."""
    rng = np.random.default_rng(0)
    theirs = rng.normal(0, expected.sd / np.sqrt(published.n_seeds), DRAWS)
    ours = rng.normal(0, expected.sd, (DRAWS, n_seeds))
    return sum(map(_test_of(published, expected, tolerance), ours, theirs)) / DRAWS


def _test_of(published: Published, expected: Spread, tolerance: float) -> Callable[[np.ndarray, float], bool]:
    def is_reproduced(scores: np.ndarray, value: float) -> bool:
        spread = seed_spread(scores.tolist(), expected)
        half = half_width(spread, len(scores), published, pooled=len(scores) < MEASURED_FROM)
        difference = float(scores.mean()) - value
        return read(difference, half, tolerance) == "reproduced"

    return is_reproduced
