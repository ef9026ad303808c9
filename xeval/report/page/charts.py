"""Numbers → positions in a drawing: plain geometry in SVG units, which the templates draw."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xeval.judging.calibration import Bin
from xeval.support.text import counted, one_decimal

WIDTH = 360  # of every drawing; text stays legible on a phone
LEFT, RIGHT, BOTTOM, TOP = 40, 12, 34, 10  # margins
ROW = 18  # height of a row of dots
DIGIT = 7  # at least the width of a digit
LETTER = 6.3  # width of a letter, on average
NAMES, WIDEST_NAMES = 92, 200  # width of the names to the left of the dots
NAME_GAP = 5  # between a name and the dots


@dataclass(frozen=True)
class Axis:
    """A linear scale from `low`..`high` to the drawing's `start`..`end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Return the positions of round numbers within the axis, and the numbers."""
        step = _round_step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(self.at(index * step), f"{index * step:.{decimals}f}") for index in range(first, last + 1)]


def axis_around(values: Sequence[float], start: float, end: float) -> Axis:
    """Return an axis that covers all of `values`, with a little room at both ends."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
    return Axis(low - room, high + room, start, end)


def _round_step(least: float) -> float:
    """Return the smallest number of at least `least` that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


@dataclass(frozen=True)
class DotRow:
    name: str
    y: float
    dots: list[tuple[float, str]]  # x, description
    mean: float
    published: float | None


@dataclass(frozen=True)
class Dots:
    height: float
    x_axis: Axis
    rows: list[DotRow]

    @property
    def has_published(self) -> bool:
        return any(row.published is not None for row in self.rows)


def dots(rows: Sequence[tuple[str, dict[int, float], float | None]]) -> Dots:
    """Place a row of dots for each (name, score by seed, published score or None)."""
    values = [value for _, seeds, published in rows for value in (*seeds.values(), published) if value is not None]
    widest = NAME_GAP + LETTER * max(len(name) for name, _, _ in rows)
    axis = axis_around(values, min(max(NAMES, round(widest)), WIDEST_NAMES), WIDTH - RIGHT)
    placed = [
        DotRow(
            name,
            TOP + ROW * (index + 0.5),
            [(axis.at(value), f"seed {seed}: {one_decimal(value)}") for seed, value in seeds.items()],
            axis.at(sum(seeds.values()) / len(seeds)),
            None if published is None else axis.at(published),
        )
        for index, (name, seeds, published) in enumerate(rows)
    ]
    return Dots(TOP + ROW * len(rows) + BOTTOM, axis, placed)


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    confidence: float  # x of the bin's mean confidence
    what: str


@dataclass(frozen=True)
class Reliability:
    height: float
    x_axis: Axis
    y_axis: Axis
    bars: list[Bar]


def reliability_diagram(bins: Sequence[Bin]) -> Reliability:
    height = 260
    x_axis, y_axis = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, height - BOTTOM, TOP)
    bars = [
        Bar(
            x_axis.at(bin_.low),
            y_axis.at(bin_.accuracy),
            round(x_axis.at(bin_.high) - x_axis.at(bin_.low), 1),
            round(y_axis.at(0) - y_axis.at(bin_.accuracy), 1),
            x_axis.at(bin_.confidence),
            f"confidence {bin_.confidence:.2f}, accuracy {bin_.accuracy:.2f}, {counted(bin_.n, 'predictions')}",
        )
        for bin_ in bins
    ]
    return Reliability(height, x_axis, y_axis, bars)


@dataclass(frozen=True)
class Line:
    points: list[tuple[float, float]]
    what: str

    @property
    def path(self) -> str:
        return " ".join(f"{x},{y}" for x, y in self.points)


@dataclass(frozen=True)
class Curves:
    height: float
    x_axis: Axis
    y_axis: Axis
    lines: list[Line]


def curves(series: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> Curves | None:
    """Place a line for each (name, points). Returns None if no point is finite."""
    height = 200
    finite = [(name, [point for point in points if all(map(math.isfinite, point))]) for name, points in series]
    everything = [point for _, points in finite for point in points]
    if not everything:
        return None
    y_axis = axis_around([y for _, y in everything], height - BOTTOM, TOP)
    # Numbers that hardly differ have many digits.
    left = max(LEFT, 10 + DIGIT * max(len(label) for _, label in y_axis.ticks()))
    x_axis = Axis(0, axis_around([0, *(x for x, _ in everything)], left, WIDTH - RIGHT).high, left, WIDTH - RIGHT)
    lines = [Line([(x_axis.at(x), y_axis.at(y)) for x, y in points], name) for name, points in finite if points]
    return Curves(height, x_axis, y_axis, lines)
