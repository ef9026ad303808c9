"""A verdict on a row → its forest plot: a line for each language with ours, published, interval and tolerance.

Positions are percentages of the plot's width, so it fits both a phone and a large screen.
"""

from dataclasses import dataclass

from xeval.definitions.languages import describe
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
    compared = {what: cell for what, cell in verdict.cells.items() if cell.comparison is not None}
    means = [verdict.mean] if verdict.mean.comparison is not None and len(verdict.cells) > 1 else []
    if not compared:
        return None
    values = [0.0, *(sign * cell.tolerance for cell in (*compared.values(), *means) for sign in (-1, 1))]
    for cell in (*compared.values(), *means):
        if cell.comparison is not None:
            values += [cell.comparison.low, cell.comparison.high]
    axis = axis_around(values, 0, 100)
    lines = [_line(describe(what).name, what, cell, axis) for what, cell in compared.items()]
    lines.sort(key=lambda line: line.at)
    mean = [_line("mean", f"of {len(verdict.cells)}", cell, axis) for cell in means]
    return Forest(lines, mean[0] if mean else None, _ticks(axis), axis.at(0))


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Return as few numbers as show the scale: more of them touch where two plots are side by side, or on a phone."""
    few, more = (
        [(at, f"+{label}" if float(label) > 0 else label) for at, label in axis.ticks(most) if EDGE < at < 100 - EDGE]
        for most in TICKS
    )
    return few if len(few) > 1 else more


def _line(name: str, code: str, verdict: Verdict, axis: Axis) -> ForestLine:
    comparison = verdict.comparison
    if comparison is None:
        raise ValueError(f"{name}: wanted what was compared, got none")
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
