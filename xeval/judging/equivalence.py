"""Is one number the same as another, within a tolerance? Two one-sided t tests on scores in points (percent).

The question is about one fixed test set, on which both sides were scored: what differs between the numbers is how the
models were trained, and how much chance there is in a training is what the scores of several seeds show. Which rows
happen to be in the test set hits both sides alike and is not part of it. `docs/statistics.md` has the method, its
sources and its limits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xeval.kinds.kind import AssumedSpread

Outcome = Literal["reproduced", "not reproduced", "agrees", "leans low", "leans high"]
UNSETTLED: tuple[Outcome, ...] = ("agrees", "leans low", "leans high")  # more seeds would tell

ALPHA = 0.05  # of each one-sided test; the interval that shows both tests at once covers 90 %
MEASURED_FROM = 3  # seeds from which the spread of our own scores is used without any assumption
MOST_SEEDS = 50  # that are ever suggested


@dataclass(frozen=True)
class Spread:
    """A standard deviation between seeds, in points, and the degrees of freedom that it was estimated with."""

    sd: float
    df: float


def assumed_spread(assumed: AssumedSpread, of_training_language: bool, n_rows: int) -> Spread:
    """What is assumed on `n_rows` rows. On fewer than it was stated for, chance on single rows weighs more."""
    missing = max(0.0, 1 / n_rows - 1 / assumed.n_rows)
    sd = assumed.training_sd if of_training_language else assumed.other_sd
    return Spread(math.sqrt(sd**2 + 100**2 * assumed.disagreement / 2 * missing), assumed.df)


def spread_of_mean(assumed: AssumedSpread, spreads: Sequence[Spread]) -> Spread:
    """The spread of the mean over languages with these `spreads`, which share a training."""
    own = sum(spread.sd**2 for spread in spreads)
    all_pairs = sum(spread.sd for spread in spreads) ** 2
    variance = (own + assumed.correlation * (all_pairs - own)) / len(spreads) ** 2
    return Spread(math.sqrt(variance), min(spread.df for spread in spreads))


@dataclass(frozen=True)
class Published:
    """A published number in points. `spread` is the one between its own seeds, where the source states it."""

    value: float
    n_seeds: int
    rounding_variance: float  # points²
    spread: Spread | None = None


@dataclass(frozen=True)
class Comparison:
    """Ours minus published, in points, with the interval that both one-sided tests read."""

    ours: float
    difference: float
    low: float
    high: float
    seed_sd: float
    assumed: bool  # whether seed_sd rests on something else than our own seeds
    outcome: Outcome
    seeds_needed: int | None  # of ours, for a verdict if the numbers stay as they are; None: settled, or never


def compare(scores: Sequence[float], published: Published, tolerance: float, expected: Spread) -> Comparison:
    """Compare (n,) `scores` of our seeds with a published number.

    `expected` is the spread between seeds that is believed before ours are seen; from three seeds on it is not used.
    """
    ours = sum(scores) / len(scores)
    difference = ours - published.value
    spread = seed_spread(scores, expected)
    measured = len(scores) >= MEASURED_FROM
    half = half_width(spread, len(scores), published, pooled=not measured)
    outcome = read(difference, half, tolerance)
    needed = seeds_needed(difference, spread.sd, len(scores), published, tolerance)
    return Comparison(
        ours,
        difference,
        difference - half,
        difference + half,
        spread.sd,
        not measured,
        outcome,
        needed if outcome in UNSETTLED else None,
    )


def seed_spread(scores: Sequence[float], expected: Spread) -> Spread:
    """The spread between (n,) scores: their own from three on, pooled with `expected` for fewer.

    Pooling is the posterior scale of a normal variance under a scaled inverse chi-square prior (Gelman et al. 2013,
    Bayesian Data Analysis, section 2.6): sums of squares add up, and so do degrees of freedom.
    """
    ours = sum(scores) / len(scores)
    squares, df = sum((score - ours) ** 2 for score in scores), len(scores) - 1.0
    if len(scores) < MEASURED_FROM:
        squares, df = squares + expected.df * expected.sd**2, df + expected.df
    return Spread(math.sqrt(squares / df), df)


def half_width(spread: Spread, n_seeds: int, published: Published, pooled: bool = False) -> float:
    """Half of the 90 % interval of the difference, in points, for `n_seeds` of ours that spread like `spread`.

    The published side has the spread that it states, and ours where it states none. `pooled`: ours already holds
    theirs, or an assumption about both, so that there is only one. Degrees of freedom: Welch (1947).
    """
    from scipy.special import stdtrit  # half a second that `xeval --help` need not wait for

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
    """What the 90 % interval, `half` to each side of `difference`, says.

    Both one-sided tests reject when it lies inside ±tolerance (Schuirmann 1987). Where it lies neither inside nor
    wholly outside, nothing is shown, and the difference itself says which way it leans.
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
    """The least number of seeds of ours that would settle it if difference and spread stayed as they are.

    None where not even MOST_SEEDS would: the published side's own chance remains whatever we do.
    """
    for n in range(max(MEASURED_FROM, n_seeds + 1), MOST_SEEDS + 1):
        half = half_width(Spread(sd, n - 1), n, published)
        if read(difference, half, tolerance) not in UNSETTLED:
            return n
    return None
