"""Is B better than A on the same test rows, and where? Paired answers → differences, intervals, tests, a sentence.

Differences are B minus A, as fractions. `docs/statistics.md` describes the method.
"""

import math
from dataclasses import dataclass

import numpy as np

from xeval.judging.comparison.paired_metrics import exchange_p, paired_metric_difference
from xeval.judging.comparison.paired_runs import PairedLanguage, PairedRuns
from xeval.judging.comparison.paired_tests import group_p, holm, mcnemar_p
from xeval.judging.comparison.resampling import N_RESAMPLES, SEED, Interval, paired_mean_difference, shared_places
from xeval.support.text import counted, numbered, on_mean_of, one_decimal, printed_difference, signed

ALPHA = 0.05  # after Holm's correction


@dataclass(frozen=True)
class LanguageDifference:
    """The difference in one language.

    McNemar's test and its counts exist only for one run on each side, and a metric that is a share of rows.
    """

    language: str
    n_rows: int
    value_a: float  # the metric, mean over seeds
    value_b: float
    interval: Interval
    only_a_right: int | None  # rows
    only_b_right: int | None
    mcnemar_p: float | None  # exact, if rows were independent
    group_p: float  # exchanges whole groups of dependent rows; exact, or by sampling if not a share of rows
    holm_p: float  # group_p, corrected over the languages
    seed_differences: list[float]  # in the order of the paired seeds; empty if seeds are not paired

    @property
    def better(self) -> str:
        """ "A" or "B" if the corrected test shows a difference, else ""."""
        if self.holm_p > ALPHA or self.interval.difference == 0:
            return ""
        return "B" if self.interval.difference > 0 else "A"


@dataclass(frozen=True)
class RunComparison:
    task: str
    title: str
    metric: str
    unit: str  # what rows are called
    grouped_by: str  # what groups of dependent rows are called
    name_a: str
    name_b: str
    seeds_a: list[int]
    seeds_b: list[int]
    languages: list[LanguageDifference]
    mean_a: float  # over languages
    mean_b: float
    mean: Interval
    mean_seed_differences: list[float]
    resampled: str  # what was drawn: "premises", "rows", or "premises, rows in de es"
    is_share_of_rows: bool  # whether rows are right or wrong, which makes the tests exact
    notes: list[str]
    trains_nothing: bool = False  # if so, seeds mean nothing

    @property
    def conclusion(self) -> str:
        return _conclusion(self)


def compare(paired: PairedRuns, seed: int = SEED, n_resamples: int = N_RESAMPLES) -> RunComparison:
    """Compare two sides on the rows that they share. `seed` is for the resampling."""
    is_share = paired.languages[0].is_share_of_rows
    p_values = [
        group_p(_whole_differences(language), language.groups) if is_share else exchange_p(language.tallies, seed)
        for language in paired.languages
    ]
    languages = [
        _difference(language, p, corrected, paired.paired_by_seed, seed, n_resamples)
        for language, p, corrected in zip(paired.languages, p_values, holm(p_values), strict=True)
    ]
    by_seed = np.array([difference.seed_differences for difference in languages])  # (L, S)
    return RunComparison(
        task=paired.task,
        title=paired.title,
        metric=paired.metric,
        unit=paired.unit,
        grouped_by=paired.grouped_by,
        name_a=paired.name_a,
        name_b=paired.name_b,
        seeds_a=paired.seeds_a,
        seeds_b=paired.seeds_b,
        languages=languages,
        mean_a=float(np.mean([difference.value_a for difference in languages])),
        mean_b=float(np.mean([difference.value_b for difference in languages])),
        mean=difference_of(paired.languages, seed, n_resamples),
        mean_seed_differences=by_seed.mean(axis=0).tolist(),
        resampled=_resampled(paired),
        is_share_of_rows=is_share,
        notes=paired.notes,
        trains_nothing=paired.trains_nothing,
    )


def difference_of(languages: list[PairedLanguage], seed: int, n_resamples: int = N_RESAMPLES) -> Interval:
    """Return B minus A on the mean of `languages`, with its interval."""
    places = shared_places([language.ids for language in languages], [language.groups for language in languages])
    if not languages[0].is_share_of_rows or places:
        return paired_metric_difference([language.tallies for language in languages], seed, n_resamples)
    return paired_mean_difference([language.rows for language in languages], seed, n_resamples)


def _difference(
    language: PairedLanguage, p: float, corrected: float, by_seed: bool, seed: int, n_resamples: int
) -> LanguageDifference:
    values_a, values_b = language.values_a, language.values_b
    only_a = only_b = exact_p = None
    if language.is_share_of_rows and len(values_a) == len(values_b) == 1:
        right_a, right_b = language.right_a, language.right_b
        only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        exact_p = mcnemar_p(only_a, only_b)
    mean_a, mean_b = language.means
    return LanguageDifference(
        language=language.language,
        n_rows=len(language.groups),
        value_a=mean_a,
        value_b=mean_b,
        interval=difference_of([language], seed, n_resamples),
        only_a_right=only_a,
        only_b_right=only_b,
        mcnemar_p=exact_p,
        group_p=p,
        holm_p=corrected,
        seed_differences=(values_b - values_a).tolist() if by_seed else [],
    )


def _whole_differences(language: PairedLanguage) -> np.ndarray:
    """Return (N,) int64, B minus A row by row, counted in units of 1 / the least common multiple of the seed counts."""
    n_a, n_b = len(language.right_a), len(language.right_b)
    unit = math.lcm(n_a, n_b)
    sum_a, sum_b = language.right_a.sum(axis=0), language.right_b.sum(axis=0)
    differences: np.ndarray = sum_b * (unit // n_b) - sum_a * (unit // n_a)
    return differences


def _resampled(paired: PairedRuns) -> str:
    without = [language.language for language in paired.languages if not language.has_groups]
    if len(without) == len(paired.languages):
        return "rows"
    return f"{paired.grouped_by}, rows in {' '.join(without)}" if without else paired.grouped_by


def _conclusion(comparison: RunComparison) -> str:
    mean, n = comparison.mean, len(comparison.languages)
    where = on_mean_of([difference.language for difference in comparison.languages])
    bounds = f"{mean.name} of B minus A {mean.in_points}"
    size = f"{one_decimal(abs(printed_difference(100 * comparison.mean_b, 100 * comparison.mean_a)))} points"
    sides = [f"A ({comparison.name_a})", f"B ({comparison.name_b})"]
    if comparison.name_a == comparison.name_b and not comparison.trains_nothing:
        seeds_a, seeds_b = (numbered("seeds", seeds) for seeds in (comparison.seeds_a, comparison.seeds_b))
        sides = [f"A ({comparison.name_a}, {seeds_a})", f"B ({comparison.name_b}, {seeds_b})"]
    if mean.excludes_zero:
        behind, ahead = sides if mean.difference > 0 else reversed(sides)
        text = f"{ahead} is better than {behind} by {size} {where} ({bounds})"
    else:
        text = f"No difference is shown {where}: {' and '.join(sides)} are {size} apart ({bounds})"
        text += ", which does not show that they are equal"
    if n > 1:
        text += f"; by language, {_by_language(comparison.languages)} (Holm's correction, {100 * ALPHA:.0f} %)"
    return f"{text}. {_scope(comparison)}"


def _by_language(languages: list[LanguageDifference]) -> str:
    parts = []
    for side in ("A", "B"):
        codes = [difference.language for difference in languages if difference.better == side]
        parts += [f"{side} is better in {len(codes)} ({' '.join(codes)})"] if codes else []
    undecided = sum(not difference.better for difference in languages)
    parts += [f"{undecided} of {len(languages)} show no difference"] if undecided else []
    return ", ".join(parts)


def _scope(comparison: RunComparison) -> str:
    """Say what the interval covers, and what the seeds show about the rest: training again."""
    trained = "" if comparison.trains_nothing else "trained "
    about = f"The interval covers the draw of test {comparison.unit} for these {trained}models"
    if comparison.trains_nothing:
        return f"{about}."
    if len(comparison.seeds_a) == len(comparison.seeds_b) == 1:
        return f"{about}; one training run on each side cannot show what other seeds would give."
    differences = [100 * value for value in comparison.mean_seed_differences]
    if not differences:
        return f"{about}, not retraining; seeds are not paired, so their spread is not shown."
    ahead = sum(value > 0 for value in differences)
    return (
        f"{about}, not retraining: over {counted(len(differences), 'pairs of seeds')} the difference ran from"
        f" {signed(min(differences))} to {signed(max(differences))}, and B was ahead in {ahead}."
    )
