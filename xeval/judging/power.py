"""How often would a given number of seeds show that a published row is reproduced, if it holds for our training too?

The test is that of `equivalence.py`, repeated on simulated scores. They have the spread expected before any are seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from xeval.definitions.reference import Reference, ReferenceRow
from xeval.definitions.task import Task
from xeval.judging.equivalence import MEASURED_FROM, Published, Spread, half_width, read, seed_spread, spread_of_mean
from xeval.judging.verdict import Tolerance, expected_spread, published_cell, published_mean, why_other_numbers

DRAWS = 1_000
EVEN = 0.5  # a chance that is worth its seeds
MOST_SEEDS = 10  # more are never recommended for this
CELLS = 5  # cells of a row that are simulated, evenly from the narrowest spread to the widest


@dataclass(frozen=True)
class Power:
    """How often a row would be called reproduced with `n_seeds`, as fractions of simulated experiments."""

    n_seeds: int
    mean: float
    cell: float  # of a single cell, on average


def power_of(row: ReferenceRow, task: Task, seeds: Sequence[int]) -> list[Power]:
    """Return, for each number in `seeds`, how often `row` would be called reproduced if it holds for our training."""
    expected = _expected(row, task)
    mean = published_mean(row), spread_of_mean(task.of_kind.assumed_spread, list(expected.values()))
    by_spread = sorted(expected, key=lambda language: expected[language].sd)
    places = np.linspace(0, len(by_spread) - 1, min(CELLS, len(by_spread))).astype(int)
    cells = [(published_cell(row, by_spread[place]), expected[by_spread[place]]) for place in places]
    return [
        Power(
            n_seeds,
            share_reproduced(n_seeds, *mean, Tolerance().of_mean(len(row.cells))),
            float(np.mean([share_reproduced(n_seeds, *cell, Tolerance.cell) for cell in cells])),
        )
        for n_seeds in seeds
    ]


@dataclass(frozen=True)
class Chance:
    """The chance that the mean of a published row is called reproduced, if it holds for our training."""

    by_seeds: dict[int, float]

    @property
    def even_from(self) -> int | None:
        """The smallest number of seeds with an even chance, or None if none of `by_seeds` has one."""
        return next((n for n, share in sorted(self.by_seeds.items()) if share >= EVEN), None)


def chance_of(row: ReferenceRow, task: Task, seeds: Sequence[int] = (), tolerance: Tolerance | None = None) -> Chance:
    """Return the chance with each number of seeds from 1 to MOST_SEEDS, and with those in `seeds`."""
    published = replace(published_mean(row), value=0.0)  # does not change the chance, so rows share a cached answer
    expected = spread_of_mean(task.of_kind.assumed_spread, list(_expected(row, task).values()))
    numbers = {*range(1, MOST_SEEDS + 1), *seeds}
    within = (tolerance or Tolerance()).of_mean(len(row.cells))
    return Chance({n: share_reproduced(n, published, expected, within) for n in numbers})


@dataclass(frozen=True)
class ChosenSeeds:
    """The seeds that a published table is reproduced with if the user names none."""

    seeds: tuple[int, ...]  # empty: those that the recipes name
    why: str = ""


def seeds_to_reproduce(table: Reference, task: Task) -> ChosenSeeds:
    """Return enough seeds to give each row of `table` an even chance of being called reproduced.

    Rows that do not reach an even chance with MOST_SEEDS are ignored. There are never fewer than MEASURED_FROM seeds:
    with fewer, verdicts rest on an assumed spread. Empty if the table has no zero-shot row, if its kind trains nothing,
    or if its numbers are not what the task gives.
    """
    rows = [row for row in table.rows if row.protocol == "zero-shot"]
    if not rows or not task.of_kind.trains or why_other_numbers(table, task.name, task.metric, task):
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
    """Return the spread between seeds expected before any are seen, by language."""
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
    """Return how often `n_seeds` of ours with the spread `expected` are called reproduced when both means are equal."""
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
