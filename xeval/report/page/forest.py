"""A verdict on a row → its forest plot: a line for each language with ours, published, interval and tolerance.

Positions are percentages of the plot's width, so it fits both a phone and a large screen.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from xeval.definitions.languages import describe
from xeval.judging.equivalence import Comparison
from xeval.judging.verdict import RowVerdict, Verdict
from xeval.report.page.charts import Axis, axis_around
from xeval.report.verdicts import MARKS
from xeval.support.text import one_decimal, printed_difference, signed

TICKS = (4, 6)  # at most
EDGE = 5  # percent of the width at each end, where a tick's number would not fit


@dataclass(frozen=True)
class ForestLine:
    name: str
    code: str
    verdict: Verdict
    mark: str
    ours: str
    published: str
    difference: str
    interval: str
    at: float  # of the difference; below are the ends of its interval, and those of the tolerance
    low: float
    high: float
    band: tuple[float, float]

    @property
    def band_width(self) -> float:
        return round(self.band[1] - self.band[0], 1)


@dataclass(frozen=True)
class Forest:
    languages: list[ForestLine]  # from the furthest below to the furthest above
    mean: ForestLine | None
    ticks: list[tuple[float, str]]
    zero: float


def plot(verdict: RowVerdict) -> Forest | None:
    """Place the forest plot of `verdict`. Returns None if no language was compared."""
    languages = _compared(verdict.cells.values())
    means = _compared([verdict.mean] if len(verdict.cells) > 1 else [])
    if not languages:
        return None
    values = [0.0]
    for cell, comparison in (*languages, *means):
        values += [-cell.tolerance, cell.tolerance, comparison.low, comparison.high]
    axis = axis_around(values, 0, 100)
    lines = [_line(describe(cell.what).name, cell.what, cell, comparison, axis) for cell, comparison in languages]
    lines.sort(key=lambda line: line.at)
    mean = [_line("mean", f"of {len(verdict.cells)}", cell, comparison, axis) for cell, comparison in means]
    return Forest(lines, mean[0] if mean else None, _ticks(axis), axis.at(0))


def _compared(verdicts: Iterable[Verdict]) -> list[tuple[Verdict, Comparison]]:
    """Return the verdicts on numbers that were compared, each with its comparison."""
    return [(verdict, verdict.comparison) for verdict in verdicts if verdict.comparison is not None]


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Return as few numbers as show the scale: more of them touch where two plots are side by side, or on a phone."""
    few, more = (
        [(at, f"+{label}" if float(label) > 0 else label) for at, label in axis.ticks(most) if EDGE < at < 100 - EDGE]
        for most in TICKS
    )
    return few if len(few) > 1 else more


def _line(name: str, code: str, verdict: Verdict, comparison: Comparison, axis: Axis) -> ForestLine:
    return ForestLine(
        name=name,
        code=code,
        verdict=verdict,
        mark=MARKS[verdict.outcome],
        ours=one_decimal(comparison.ours),
        published=one_decimal(verdict.published),
        difference=signed(printed_difference(comparison.ours, verdict.published)),
        interval=f"{signed(comparison.low)} to {signed(comparison.high)}",
        at=axis.at(comparison.difference),
        low=axis.at(comparison.low),
        high=axis.at(comparison.high),
        band=(axis.at(-verdict.tolerance), axis.at(verdict.tolerance)),
    )
