"""Many models on the same test rows: which ones differ, and which ranks can each have?

Two models are told apart if their difference is larger than other test rows and other training runs could explain. All
pairs are tested and corrected together (Holm). A model's rank interval follows from that: the best rank is 1 plus the
number of models shown to be better, the worst is the number of models minus those shown to be worse (Al Mohamad, Goeman
and van Zwet 2022, https://doi.org/10.1111/biom.13419). Values are fractions. `docs/statistics.md` describes the method.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xeval.judging.comparison.paired_tests import holm
from xeval.judging.equivalence import MEASURED_FROM, MOST_SEEDS, Spread
from xeval.support.text import on_mean_of

ALPHA = 0.05  # chance of even one false separation among all pairs
RankInterval = tuple[int, int]  # best rank, worst rank
Numbers = int | float | np.ndarray
MOST_ROWS = 100  # times the present number of test rows; more are never suggested


@dataclass(frozen=True)
class ScoredModel:
    """All seeds of one configuration, on the rows that every model was scored on."""

    name: str
    seeds: list[int]
    is_drawn: bool  # whether another seed would give another model
    languages: dict[str, float]  # the metric by language, mean over the seeds
    values: list[float]  # mean over the languages, one per seed
    pulls: np.ndarray  # (S, G): how far each group of rows moves each of `values`; squares add up to the variance

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
    p: float  # two-sided, for this pair alone
    holm_p: float  # corrected over all pairs

    @property
    def is_told_apart(self) -> bool:
        return self.holm_p <= ALPHA


@dataclass(frozen=True)
class Neighbours:
    """How many seeds or rows would tell a model from the next one below, if difference and spreads did not change."""

    pair: Pair
    seeds_needed: int | None  # on each side, on these rows
    rows_needed: int | None  # in each language, with these seeds


@dataclass(frozen=True)
class RankedModel:
    model: ScoredModel
    best_rank: int
    worst_rank: int
    letters: str  # models that share a letter are not told apart
    seed_sd: float | None  # of the mean over languages, between the model's own seeds
    next: Neighbours | None  # None for the last model


@dataclass(frozen=True)
class Ranking:
    task: str
    title: str
    metric: str
    unit: str  # what rows are called
    grouped_by: str  # what groups of dependent rows are called
    languages: list[str]
    n_rows: int  # in each language at most
    models: list[RankedModel]  # the best first
    pairs: list[Pair]
    expected_sd: float | None  # between the seeds of a model, on average; None if no model depends on a seed
    is_assumed: bool  # whether expected_sd rests on anything but these seeds
    notes: list[str]

    @property
    def conclusion(self) -> str:
        return _conclusion(self)


@dataclass(frozen=True)
class Scope:
    """What was ranked, for the words of a report."""

    task: str
    title: str
    metric: str
    unit: str
    grouped_by: str
    languages: list[str]
    n_rows: int
    notes: list[str]


def rank(models: Sequence[ScoredModel], assumed: Spread, scope: Scope) -> Ranking:
    """Rank `models`. `assumed` is the spread between seeds, in points, to use while too few seeds show their own."""
    models = sorted(models, key=lambda model: -model.value)
    drawn, expected, is_assumed = _all_pairs(models, assumed)
    p_values = drawn.p().tolist()
    columns = (drawn.better, drawn.worse, drawn.size, np.sqrt(drawn.variance()))
    pairs = list(map(Pair, *(column.tolist() for column in columns), p_values, holm(p_values)))
    below = _neighbours(pairs, drawn, scope.n_rows)
    letters = letters_of(len(models), {(pair.better, pair.worse) for pair in pairs if pair.is_told_apart})
    ranked = [
        RankedModel(
            model,
            *ranks,
            letters[place],
            float(np.std(model.values, ddof=1)) if len(model.values) > 1 else None,
            below[place] if place < len(below) else None,
        )
        for place, (model, ranks) in enumerate(zip(models, _intervals(len(models), drawn), strict=True))
    ]
    sd = expected.sd / 100 if any(model.is_drawn for model in models) else None
    return Ranking(**vars(scope), models=ranked, pairs=pairs, expected_sd=sd, is_assumed=is_assumed)


def rank_intervals(models: Sequence[ScoredModel], assumed: Spread) -> list[RankInterval]:
    """Return the best and the worst rank of each of `models`, in their order, as `rank` does. Fast for hundreds."""
    order = sorted(range(len(models)), key=lambda place: -models[place].value)
    drawn, _, _ = _all_pairs([models[place] for place in order], assumed)
    ranks = dict(zip(order, _intervals(len(models), drawn), strict=True))
    return [ranks[place] for place in range(len(models))]


def _all_pairs(models: Sequence[ScoredModel], assumed: Spread) -> tuple["_Differences", Spread, bool]:
    """Compare every pair of `models`, which are sorted from the best on.

    Also returns the spread expected between seeds, and whether it rests on `assumed`.
    """
    expected, is_assumed = _expected(models, assumed)
    return _Differences.of([_Parts.of(model, expected) for model in models]), expected, is_assumed


def _intervals(n: int, drawn: "_Differences") -> list[RankInterval]:
    """Return the rank intervals of models 0 to n - 1."""
    told = np.array(holm(drawn.p().tolist())) <= ALPHA
    better = np.bincount(drawn.worse[told], minlength=n)
    worse = np.bincount(drawn.better[told], minlength=n)
    return list(zip((1 + better).tolist(), (n - worse).tolist(), strict=True))


def pulls_of(leave_one_out: np.ndarray) -> np.ndarray:
    """Return (..., G) pulls from (..., G) values with each group of rows left out: the jackknife.

    The squares of pulls add up to the variance of a value, and the products of two values' pulls to their covariance
    (Efron and Stein 1981, https://doi.org/10.1214/aos/1176345462).
    """
    n_groups = leave_one_out.shape[-1]
    pulls: np.ndarray = leave_one_out.mean(axis=-1, keepdims=True) - leave_one_out
    return pulls * math.sqrt((n_groups - 1) / n_groups)


def letters_of(n: int, told_apart: set[tuple[int, int]]) -> list[str]:
    """Return letters for models 0 to n - 1. Two models share a letter exactly if they are not among `told_apart`.

    There is one letter for each largest set of models without a pair that is told apart. Sets are split at each such
    pair, and a set inside another is dropped (Piepho 2004, https://doi.org/10.1198/1061860043515).
    """
    sets = [frozenset(range(n))]
    for pair in sorted(told_apart):
        split = [own - {member} for own in sets if own.issuperset(pair) for member in pair]
        kept = [own for own in sets if not own.issuperset(pair)]
        sets = [*kept, *(own for own in split if not any(own <= other for other in kept))]
    names = [_letter(place) for place in range(len(sets))]
    ordered = sorted(sets, key=sorted)
    return [" ".join(name for name, own in zip(names, ordered, strict=True) if model in own) for model in range(n)]


def _letter(place: int) -> str:
    """a, b, …, z, aa, ab, …"""
    letter = chr(ord("a") + place % 26)
    return letter if place < 26 else _letter(place // 26 - 1) + letter


def _expected(models: Sequence[ScoredModel], assumed: Spread) -> tuple[Spread, bool]:
    """Return the average spread between a model's seeds, in points, and whether it rests on `assumed`."""
    several = [_own_spread(model) for model in models if model.is_drawn and len(model.values) > 1]
    df = sum(own.df for own in several)
    squares = sum(own.df * own.sd**2 for own in several)
    if is_assumed := df < MEASURED_FROM - 1:
        squares, df = squares + assumed.df * assumed.sd**2, df + assumed.df
    return Spread(math.sqrt(squares / df), df), is_assumed


def _own_spread(model: ScoredModel) -> Spread:
    """Return the spread between the model's several seeds, in points."""
    return Spread(100 * float(np.std(model.values, ddof=1)), len(model.values) - 1.0)


@dataclass(frozen=True)
class _Parts:
    """A model's mean, and the parts of its variance."""

    value: float
    pulls: np.ndarray  # (G,) for the mean over seeds: other rows, same training runs
    n_seeds: int
    spread: Spread  # between training runs on these rows, as a fraction
    on_single_rows: float  # the part of their variance that is also in the variance over rows

    @classmethod
    def of(cls, model: ScoredModel, expected: Spread) -> "_Parts":
        n, mean = len(model.values), model.pulls.mean(axis=0)
        if not model.is_drawn:
            return cls(model.value, mean, n, Spread(0.0, math.inf), 0.0)
        own = _own_spread(model) if n > 1 else expected
        spread = max(own, expected, key=lambda known: known.sd)  # its own spread counts only if it is larger
        on_rows = float(np.sum((model.pulls - mean) ** 2)) / (n - 1) if n > 1 else 0.0
        return cls(model.value, mean, n, Spread(spread.sd / 100, spread.df), on_rows)


@dataclass(frozen=True)
class _Differences:
    """The differences between the means of two models, for P pairs, with variances for any number of seeds and rows."""

    better: np.ndarray  # (P,) numbers of models
    worse: np.ndarray
    size: np.ndarray  # (P,) of the difference
    of_rows: np.ndarray  # (P,) its variance over other rows, for these training runs
    n_groups: int
    n_seeds: np.ndarray  # (2, P) like the arrays below: of the better and of the worse model
    sd: np.ndarray
    df: np.ndarray
    on_single_rows: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[_Parts]) -> "_Differences":
        better, worse = np.triu_indices(len(parts), k=1)  # in the order of itertools.combinations
        sides = np.stack([better, worse])
        pulls = np.stack([part.pulls for part in parts])  # (M, G)
        of_rows = [((own - pulls[place + 1 :]) ** 2).sum(axis=1) for place, own in enumerate(pulls)]
        value = np.array([part.value for part in parts])
        return cls(
            better,
            worse,
            value[better] - value[worse],
            np.concatenate(of_rows),
            pulls.shape[1],
            np.array([part.n_seeds for part in parts])[sides],
            np.array([part.spread.sd for part in parts])[sides],
            np.array([part.spread.df for part in parts])[sides],
            np.array([part.on_single_rows for part in parts])[sides],
        )

    def only(self, place: int) -> "_Differences":
        """Return the pair at `place` alone."""
        arrays: dict[str, Any] = {
            name: value[..., [place]] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, **arrays)

    @property
    def is_drawn(self) -> bool:
        return bool((self.sd > 0).any())

    def variance(self, n_seeds: Numbers | None = None, more_rows: Numbers = 1.0) -> np.ndarray:
        """Return the (P,) variances over other rows and other training runs; what is in both counts once.

        This is two-way clustering (Cameron, Gelbach and Miller 2011, https://doi.org/10.1198/jbes.2010.07136).
        `n_seeds` replaces the number of seeds on both sides, and `more_rows` multiplies the number of rows. For a
        single pair, either may be an array of several numbers.
        """
        seeds = self.n_seeds if n_seeds is None else n_seeds
        rows_alone = np.maximum(0.0, self.of_rows - (self.on_single_rows / self.n_seeds).sum(axis=0))
        both = (self.on_single_rows / seeds).sum(axis=0)
        trainings = (self.sd**2 / seeds).sum(axis=0)
        variance: np.ndarray = (rows_alone + both) / more_rows + np.maximum(0.0, trainings - both)
        return variance

    def p(self, n_seeds: Numbers | None = None, more_rows: Numbers = 1.0) -> np.ndarray:
        """Return (P,) two-sided p, by Student's distribution with Satterthwaite's (1946) degrees of freedom."""
        from scipy.special import stdtr  # takes half a second, which `xeval --help` must not wait for

        seeds = self.n_seeds if n_seeds is None else n_seeds
        variance = self.variance(n_seeds, more_rows)
        if self.n_groups < 2:
            return np.ones_like(variance)  # a single group says nothing about others
        doubt = (self.of_rows / more_rows) ** 2 / (self.n_groups * more_rows - 1)
        doubt = doubt + ((self.sd**2 / seeds) ** 2 / (self.df + seeds - self.n_seeds)).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = np.where(doubt > 0, variance**2 / doubt, math.inf)
            p = 2 * stdtr(np.minimum(df, 1e9), -self.size / np.sqrt(variance))
        return np.where(self.size == 0, 1.0, np.where(variance == 0, 0.0, p))


def _neighbours(pairs: Sequence[Pair], drawn: _Differences, n_rows: int) -> list[Neighbours]:
    """Pair each model but the last with the next one below."""
    level = ALPHA / max(1, len(pairs))
    return [
        _neighbour(pair, drawn.only(place), level, n_rows)
        for place, pair in enumerate(pairs)
        if pair.worse == pair.better + 1
    ]


def _neighbour(pair: Pair, between: _Differences, level: float, n_rows: int) -> Neighbours:
    if pair.is_told_apart or pair.difference == 0:
        return Neighbours(pair, None, None)
    counts = np.arange(between.n_seeds.max() + 1, MOST_SEEDS + 1)
    enough = counts[between.p(n_seeds=counts) <= level].tolist() if between.is_drawn else []
    factors = np.geomspace(1, MOST_ROWS, 200)[1:]
    more = factors[between.p(more_rows=factors) <= level].tolist()
    return Neighbours(pair, enough[0] if enough else None, math.ceil(n_rows * more[0]) if more else None)


def _conclusion(ranking: Ranking) -> str:
    n = sum(pair.is_told_apart for pair in ranking.pairs)
    where = on_mean_of(ranking.languages)
    lead = [entry.model.name for entry in ranking.models if entry.best_rank == 1]
    if len(lead) == 1:
        first = f"{lead[0]} is first {where}"
    elif n == 0:
        first = f"None of the {len(lead)} models is shown to be better than another {where}"
    else:
        first = f"{len(lead)} models may be first {where}: {'; '.join(lead)}"
    told = f"{n} of {len(ranking.pairs)} pairs can be distinguished" if len(ranking.pairs) > 1 else ""
    level = f"{100 * ALPHA:.0f} % for all pairs together" if len(ranking.pairs) > 1 else f"{100 * ALPHA:.0f} %"
    basis = ", with an assumed spread between seeds" if ranking.expected_sd is not None and ranking.is_assumed else ""
    return ". ".join(filter(None, [first, told])) + f" (at {level}{basis})."
