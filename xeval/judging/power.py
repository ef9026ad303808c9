"""How often so many seeds would show that a published row is reproduced, were it true of our training too.

The test is that of `equivalence.py`, repeated on scores drawn with the spread that is believed before any are seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xeval.definitions.reference import ReferenceRow
from xeval.definitions.task import Task
from xeval.judging.equivalence import MEASURED_FROM, Published, Spread, half_width, read, seed_spread, spread_of_mean
from xeval.judging.verdict import Tolerance, expected_spread, published_cell, published_mean

DRAWS = 1_000
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
    assumed = task.of_kind.assumed_spread
    expected = {
        language: expected_spread(
            row,
            assumed,
            language,
            language == task.training_language,
            task.expected_rows.of("test", language) or assumed.n_rows,
        )
        for language in row.cells
    }
    mean = published_mean(row), spread_of_mean(assumed, list(expected.values()))
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
