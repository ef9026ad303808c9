"""Many models on the same test rows: which are told apart, and which ranks can each have?

Two models are told apart where their difference is larger than other test rows and other trainings explain. All pairs
are tested and corrected together (Holm). A rank interval counts what that leaves: at best 1 + the models that are shown
to be better, at worst the number of models less those shown to be worse (Al Mohamad, Goeman and van Zwet 2022,
https://doi.org/10.1111/biom.13419). Values are fractions. `docs/statistics.md` has the method.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from xeval.judging.comparison.paired_tests import holm
from xeval.judging.equivalence import MEASURED_FROM, MOST_SEEDS, Spread

ALPHA = 0.05  # chance of even one false separation among all pairs
MOST_ROWS = 100  # times the test rows there are: more are never suggested


@dataclass(frozen=True)
class ScoredModel:
    """All seeds of one configuration, on the rows that every model was scored on."""

    name: str
    seeds: list[int]
    is_drawn: bool  # whether another seed would give another model
    languages: dict[str, float]  # of the metric, mean over the seeds
    values: list[float]  # mean over the languages, of each seed
    pulls: np.ndarray  # (S, G): what each group of rows moves each of `values` by; their squares add up to its variance

    @property
    def value(self) -> float:
        return float(np.mean(self.values))


@dataclass(frozen=True)
class Pair:
    """Two models, numbered from the best on. `difference` is never negative."""

    better: int
    worse: int
    difference: float
    standard_error: float
    p: float  # two-sided, of this pair alone
    holm_p: float  # corrected over all pairs

    @property
    def is_told_apart(self) -> bool:
        return self.holm_p <= ALPHA


@dataclass(frozen=True)
class Neighbours:
    """What would tell a model from the one below it, if difference and spreads stayed as they are."""

    pair: Pair
    seeds_needed: int | None  # on each side, on these rows
    rows_needed: int | None  # in each language, with these seeds


@dataclass(frozen=True)
class RankedModel:
    model: ScoredModel
    best_rank: int
    worst_rank: int
    letters: str  # models that share one are not told apart
    seed_sd: float | None  # of the mean over languages, between its own seeds
    next: Neighbours | None  # None for the last


@dataclass(frozen=True)
class Ranking:
    task: str
    title: str
    metric: str
    unit: str  # what rows are called
    grouped_by: str  # what they are drawn in
    languages: list[str]
    n_rows: int  # in each language at most
    models: list[RankedModel]  # the best first
    pairs: list[Pair]
    expected_sd: float | None  # between the seeds of a model, on average; None where nothing is drawn
    is_assumed: bool  # whether that rests on something else than these seeds
    notes: list[str]

    @property
    def conclusion(self) -> str:
        return _conclusion(self)


@dataclass(frozen=True)
class Scope:
    """What was ranked, in words."""

    task: str
    title: str
    metric: str
    unit: str
    grouped_by: str
    languages: list[str]
    n_rows: int
    notes: list[str]


def rank(models: Sequence[ScoredModel], assumed: Spread, scope: Scope) -> Ranking:
    """Rank `models`. `assumed`: the spread between seeds, in points, that is believed where none has two of them."""
    models = sorted(models, key=lambda model: -model.value)
    expected, is_assumed = _expected(models, assumed)
    parts = [_Parts.of(model, expected) for model in models]
    numbers = list(combinations(range(len(models)), 2))
    drawn = [_Difference(parts[i], parts[j]) for i, j in numbers]
    p_values = [one.p() for one in drawn]
    pairs = [
        Pair(i, j, one.size, math.sqrt(one.variance()), p, corrected)
        for (i, j), one, p, corrected in zip(numbers, drawn, p_values, holm(p_values), strict=True)
    ]
    between = {(pair.better, pair.worse): (pair, one) for pair, one in zip(pairs, drawn, strict=True)}
    level = ALPHA / max(1, len(pairs))
    below = [_neighbours(*between[key], level, scope.n_rows) for key in pairwise(range(len(models)))]
    letters = letters_of(len(models), {(pair.better, pair.worse) for pair in pairs if pair.is_told_apart})
    ranked = [
        RankedModel(
            model,
            1 + sum(pair.is_told_apart for pair in pairs if pair.worse == place),
            len(models) - sum(pair.is_told_apart for pair in pairs if pair.better == place),
            letters[place],
            float(np.std(model.values, ddof=1)) if len(model.values) > 1 else None,
            below[place] if place < len(below) else None,
        )
        for place, model in enumerate(models)
    ]
    sd = expected.sd / 100 if any(model.is_drawn for model in models) else None
    return Ranking(**vars(scope), models=ranked, pairs=pairs, expected_sd=sd, is_assumed=is_assumed)  # fmt: skip


def pulls_of(leave_one_out: np.ndarray) -> np.ndarray:
    """(..., G) pulls from (..., G) values with each group of rows left out: the jackknife.

    Their squares add up to the variance of the value, and their products to the covariance of two (Efron and Stein
    1981, https://doi.org/10.1214/aos/1176345462).
    """
    n_groups = leave_one_out.shape[-1]
    pulls: np.ndarray = leave_one_out.mean(axis=-1, keepdims=True) - leave_one_out
    return pulls * math.sqrt((n_groups - 1) / n_groups)


def letters_of(n: int, told_apart: set[tuple[int, int]]) -> list[str]:
    """Letters for models 0 to n - 1: two share one exactly if they are not among `told_apart`.

    One letter for each largest set of models none of which are told apart: sets are split at each such pair, and what
    lies inside another is dropped (Piepho 2004, https://doi.org/10.1198/1061860043515).
    """
    sets = [frozenset(range(n))]
    for pair in sorted(told_apart):
        split = [own - {one} for own in sets if own.issuperset(pair) for one in pair]
        kept = [own for own in sets if not own.issuperset(pair)]
        sets = [*kept, *(own for own in dict.fromkeys(split) if not any(own <= other for other in kept))]
        sets = [own for own in sets if not any(own < other for other in sets)]
    names = [_letter(place) for place in range(len(sets))]
    ordered = sorted(sets, key=sorted)
    return [" ".join(name for name, own in zip(names, ordered, strict=True) if model in own) for model in range(n)]


def _letter(place: int) -> str:
    """a, b, …, z, aa, ab, …"""
    letter = chr(ord("a") + place % 26)
    return letter if place < 26 else _letter(place // 26 - 1) + letter


def _expected(models: Sequence[ScoredModel], assumed: Spread) -> tuple[Spread, bool]:
    """What a model's seeds spread by on average, in points, and whether that rests on `assumed`."""
    several = [_own_spread(model) for model in models if model.is_drawn and len(model.values) > 1]
    df = sum(own.df for own in several)
    squares = sum(own.df * own.sd**2 for own in several)
    if is_assumed := df < MEASURED_FROM - 1:
        squares, df = squares + assumed.df * assumed.sd**2, df + assumed.df
    return Spread(math.sqrt(squares / df), df), is_assumed


def _own_spread(model: ScoredModel) -> Spread:
    """Between several seeds, in points."""
    return Spread(100 * float(np.std(model.values, ddof=1)), len(model.values) - 1.0)


@dataclass(frozen=True)
class _Parts:
    """What a model's mean would move by."""

    value: float
    pulls: np.ndarray  # (G,) of the mean over seeds: other rows for these trainings
    n_seeds: int
    spread: Spread  # between trainings on these rows, as a fraction
    on_single_rows: float  # the part of their variance that other rows show as well

    @classmethod
    def of(cls, model: ScoredModel, expected: Spread) -> "_Parts":
        n, mean = len(model.values), model.pulls.mean(axis=0)
        if not model.is_drawn:
            return cls(model.value, mean, n, Spread(0.0, math.inf), 0.0)
        own = _own_spread(model) if n > 1 else expected
        spread = max(own, expected, key=lambda known: known.sd)  # one that varies more than most is not believed steady
        on_rows = float(np.sum((model.pulls - mean) ** 2)) / (n - 1) if n > 1 else 0.0
        return cls(model.value, mean, n, Spread(spread.sd / 100, spread.df), on_rows)


class _Difference:
    """Between the means of two models, with its variance for as many seeds and rows as one likes."""

    def __init__(self, better: _Parts, worse: _Parts) -> None:
        self.sides = (better, worse)
        self.size = better.value - worse.value
        self.of_rows = float(np.sum((better.pulls - worse.pulls) ** 2))  # for these trainings
        self.n_groups = len(better.pulls)
        self.is_drawn = any(side.spread.sd > 0 for side in self.sides)

    def variance(self, n_seeds: int | None = None, more_rows: float = 1.0) -> float:
        """Of other rows and of other trainings, what both show being counted once: clustered in two ways (Cameron,
        Gelbach and Miller 2011, https://doi.org/10.1198/jbes.2010.07136). For `n_seeds` of either side in place of what
        there are, and so many times the rows."""
        rows_alone = max(0.0, self.of_rows - sum(side.on_single_rows / side.n_seeds for side in self.sides))
        both = sum(side.on_single_rows / (n_seeds or side.n_seeds) for side in self.sides)
        trainings = sum(side.spread.sd**2 / (n_seeds or side.n_seeds) for side in self.sides)
        return (rows_alone + both) / more_rows + max(0.0, trainings - both)

    def p(self, n_seeds: int | None = None, more_rows: float = 1.0) -> float:
        """Two-sided, by Student's distribution with Satterthwaite's (1946) degrees of freedom."""
        from scipy.special import stdtr  # half a second that `xeval --help` need not wait for

        variance = self.variance(n_seeds, more_rows)
        if self.size == 0 or self.n_groups < 2:
            return 1.0
        if variance == 0:
            return 0.0
        doubt = (self.of_rows / more_rows) ** 2 / (self.n_groups * more_rows - 1)
        for side in self.sides:
            n = n_seeds or side.n_seeds
            doubt += (side.spread.sd**2 / n) ** 2 / (side.spread.df + n - side.n_seeds)
        df = variance**2 / doubt if doubt > 0 else math.inf
        return float(2 * stdtr(min(df, 1e9), -self.size / math.sqrt(variance)))


def _neighbours(pair: Pair, between: _Difference, level: float, n_rows: int) -> Neighbours:
    if pair.is_told_apart or pair.difference == 0:
        return Neighbours(pair, None, None)
    counts = range(max(side.n_seeds for side in between.sides) + 1, MOST_SEEDS + 1)
    seeds = next((n for n in counts if between.is_drawn and between.p(n_seeds=n) <= level), None)
    factors = np.geomspace(1, MOST_ROWS, 200)[1:].tolist()
    more = next((factor for factor in factors if between.p(more_rows=factor) <= level), None)
    return Neighbours(pair, seeds, math.ceil(n_rows * more) if more else None)


def _conclusion(found: Ranking) -> str:
    n = sum(pair.is_told_apart for pair in found.pairs)
    where = (
        f"on the mean of {len(found.languages)} languages" if len(found.languages) > 1 else f"in {found.languages[0]}"
    )
    lead = [one.model.name for one in found.models if one.best_rank == 1]
    if len(lead) == 1:
        first = f"{lead[0]} is first {where}"
    elif n == 0:
        first = f"None of the {len(lead)} models is shown to be better than another {where}"
    else:
        first = f"{len(lead)} models may be first {where}: {'; '.join(lead)}"
    told = f"{n} of {len(found.pairs)} pairs are told apart" if len(found.pairs) > 1 else ""
    level = f"{100 * ALPHA:.0f} % for all pairs together" if len(found.pairs) > 1 else f"{100 * ALPHA:.0f} %"
    basis = ", with an assumed spread between seeds" if found.expected_sd is not None and found.is_assumed else ""
    return ". ".join(filter(None, [first, told])) + f" (at {level}{basis})."
