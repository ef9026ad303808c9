"""Is one number the same as another, within a tolerance? Two one-sided t tests on scores in points (percent).

Both sides were scored on the same fixed test set, so the numbers differ only by how the models were trained. The scores
of several seeds show how much of that is chance. Which rows happen to be in the test set affects both sides alike and
is not part of the question. `docs/statistics.md` describes the method, its sources and its limits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xeval.kinds.kind import AssumedSpread

Outcome = Literal["reproduced", "not reproduced", "agrees", "leans low", "leans high"]
UNSETTLED: tuple[Outcome, ...] = ("agrees", "leans low", "leans high")  # more seeds could settle these

ALPHA = 0.05  # level of each one-sided test; the interval that shows both tests covers 90 %
MEASURED_FROM = 3  # seeds; from here on our own scores alone give the spread, without any assumption
MOST_SEEDS = 50  # more are never suggested


@dataclass(frozen=True)
class Spread:
    """A standard deviation between seeds, in points, and the degrees of freedom of its estimate."""

    sd: float
    df: float


def assumed_spread(assumed: AssumedSpread, of_training_language: bool, n_rows: int) -> Spread:
    """Return the spread assumed on `n_rows` rows.

    If these are fewer rows than the assumption was stated for, chance on single rows weighs more.
    """
    missing = max(0.0, 1 / n_rows - 1 / assumed.n_rows)
    sd = assumed.training_sd if of_training_language else assumed.other_sd
    return Spread(math.sqrt(sd**2 + 100**2 * assumed.disagreement / 2 * missing), assumed.df)


def spread_of_mean(assumed: AssumedSpread, spreads: Sequence[Spread]) -> Spread:
    """Return the spread of the mean over languages with these `spreads`, all scored from the same training runs."""
    own = sum(spread.sd**2 for spread in spreads)
    all_pairs = sum(spread.sd for spread in spreads) ** 2
    variance = (own + assumed.correlation * (all_pairs - own)) / len(spreads) ** 2
    return Spread(math.sqrt(variance), min(spread.df for spread in spreads))


@dataclass(frozen=True)
class Published:
    """A published number in points. `spread` is between the source's own seeds, if the source states it."""

    value: float
    n_seeds: int
    rounding_variance: float  # points²
    spread: Spread | None = None


@dataclass(frozen=True)
class Comparison:
    """Our number minus the published one, in points, with the interval that both one-sided tests use."""

    ours: float
    difference: float
    low: float
    high: float
    seed_sd: float
    assumed: bool  # whether seed_sd rests on anything but our own seeds
    outcome: Outcome
    seeds_needed: int | None  # seeds of ours for a verdict if the numbers stay the same; None: settled, or never


def compare(scores: Sequence[float], published: Published, tolerance: float, expected: Spread) -> Comparison:
    """Compare (n,) `scores` of our seeds with a published number.

    `expected` is the spread between seeds expected before ours are seen. From three seeds on, it is not used.
    """
    ours = sum(scores) / len(scores)
    difference = ours - published.value
    spread = seed_spread(scores, expected)
    measured = len(scores) >= MEASURED_FROM
    half = half_width(spread, len(scores), published, pooled=not measured)
    outcome = read(difference, half, tolerance)
    needed = seeds_needed(difference, spread.sd, len(scores), published, tolerance)
    return Comparison(
        ours=ours,
        difference=difference,
        low=difference - half,
        high=difference + half,
        seed_sd=spread.sd,
        assumed=not measured,
        outcome=outcome,
        seeds_needed=needed if outcome in UNSETTLED else None,
    )


def seed_spread(scores: Sequence[float], expected: Spread) -> Spread:
    """Return the spread between (n,) scores: their own from three scores on, pooled with `expected` for fewer.

    Pooling is the posterior scale of a normal variance under a scaled inverse chi-square prior (Gelman et al. 2013,
    Bayesian Data Analysis, section 2.6): sums of squares add up, and so do degrees of freedom.
    """
    ours = sum(scores) / len(scores)
    squares, df = sum((score - ours) ** 2 for score in scores), len(scores) - 1.0
    if len(scores) < MEASURED_FROM:
        squares, df = squares + expected.df * expected.sd**2, df + expected.df
    return Spread(math.sqrt(squares / df), df)


def half_width(spread: Spread, n_seeds: int, published: Published, pooled: bool = False) -> float:
    """Return half the width of the 90 % interval of the difference, in points, for `n_seeds` of ours with `spread`.

    The published side has the spread that it states, or else ours. With `pooled`, `spread` already includes the
    published spread, or an assumption about both, so it is used for both sides. Degrees of freedom: Welch (1947).
    """
    from scipy.special import stdtrit  # takes half a second, which `xeval --help` must not wait for

    ours, theirs = 1 / n_seeds, 1 / published.n_seeds
    if published.spread is None or pooled:
        parts = [(spread.sd**2 * (ours + theirs), spread.df)]
    else:
        parts = [(spread.sd**2 * ours, spread.df), (published.spread.sd**2 * theirs, published.spread.df)]
    variance = sum(part for part, _ in parts) + published.rounding_variance
    doubt = sum(part**2 / df for part, df in parts)
    df = variance**2 / doubt if doubt > 0 else math.inf
    return float(stdtrit(min(df, 1e9), 1 - ALPHA)) * math.sqrt(variance)


def read(difference: float, half: float, tolerance: float) -> Outcome:
    """Return the outcome that follows from the 90 % interval, `half` to each side of `difference`.

    Both one-sided tests reject if the interval lies inside ±tolerance (Schuirmann 1987). If it lies neither inside nor
    wholly outside, nothing is shown, and the outcome only says which way the difference leans.
    """
    distance = abs(difference)
    if distance + half < tolerance:
        return "reproduced"
    if distance - half > tolerance:
        return "not reproduced"
    if distance <= tolerance:
        return "agrees"
    return "leans low" if difference < 0 else "leans high"


def seeds_needed(difference: float, sd: float, n_seeds: int, published: Published, tolerance: float) -> int | None:
    """Return the smallest number of our seeds that would settle the outcome if difference and spread did not change.

    None if not even MOST_SEEDS would: the chance on the published side remains however many seeds we train.
    """
    for n in range(max(MEASURED_FROM, n_seeds + 1), MOST_SEEDS + 1):
        half = half_width(Spread(sd, n - 1), n, published)
        if read(difference, half, tolerance) not in UNSETTLED:
            return n
    return None
