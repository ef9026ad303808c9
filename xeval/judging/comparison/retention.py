"""How much of its teacher's score a student keeps, by language, and whether it loses English or transfer.

A is the teacher and B the student. A language's loss has two parts: the loss in the training language, and the growth
of the gap to the training language.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from xeval.definitions.languages import describe
from xeval.judging.comparison.paired_metrics import resampled_values
from xeval.judging.comparison.paired_runs import PairedLanguage, PairedRuns
from xeval.judging.comparison.resampling import LEVEL, N_RESAMPLES, SEED
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.text import metric_in_words, on_mean_of, one_decimal, percent, printed_difference

FEWEST = 5  # languages, for a rank correlation
LEARNT = 0.02  # with a teacher closer to chance than this, a share of what it has learnt means nothing


@dataclass(frozen=True)
class Share:
    """A ratio of B to A, with its bootstrap percentile interval, unless all rows are of one group."""

    value: float
    low: float | None
    high: float | None

    @property
    def bounds(self) -> str:
        """Its interval in percent, such as "93.2 to 97.0"; a dash if there is none."""
        if self.low is None or self.high is None:
            return "–"
        return f"{one_decimal(100 * self.low)} to {one_decimal(100 * self.high)}"


@dataclass(frozen=True)
class LanguageRetention:
    language: str
    script: str
    value_a: float
    value_b: float
    kept: Share | None  # None if A scores 0, of which nothing can be kept
    kept_above_chance: Share | None  # None if chance is unknown, or A is hardly above it
    training_loss: float | None  # A minus B in the training language; None if that was not evaluated
    transfer_loss: float | None  # the rest of A minus B in this language
    kappa: float | None  # Cohen's, between A's and B's answers; None for a kind of task without labels
    fertility: float | None  # pieces per word, of B's tokenizer


@dataclass(frozen=True)
class Cost:
    """What a side costs to run, as far as is known."""

    rows_per_s: float | None
    n_parameters: int | None


@dataclass(frozen=True)
class Retention:
    task: str
    title: str
    metric: str
    name_a: str
    name_b: str
    training_language: str
    languages: list[LanguageRetention]
    mean_kept: Share
    mean_a: float
    mean_b: float
    costs: tuple[Cost, Cost]
    fertility_correlation: tuple[float, float] | None  # Spearman's ρ between share kept and fertility, and p
    notes: list[str]

    @property
    def conclusion(self) -> str:
        return _conclusion(self)


def retention(
    paired: PairedRuns, a: Sequence[StoredRun], b: Sequence[StoredRun], seed: int = SEED, n_resamples: int = N_RESAMPLES
) -> Retention:
    """Work out how much of A's score B keeps. `a` and `b` are the runs that `paired` was made from.

    Raises StoreError if A scores 0 in every language.
    """
    example = a[0].record
    tallies = [language.tallies for language in paired.languages]
    drawn_a, drawn_b = resampled_values(tallies, seed, n_resamples)  # (L, B)
    means = {language.language: language.means for language in paired.languages}
    at_home = means.get(example.training_language)
    rows = [
        _language(language, drawn_a[place], drawn_b[place], at_home, example.chance, [run.record for run in b])
        for place, language in enumerate(paired.languages)
    ]
    mean_a, mean_b = np.mean(list(means.values()), axis=0).tolist()
    n_groups = min(len(np.unique(language.groups)) for language in paired.languages)
    mean_kept = _share(mean_a, mean_b, drawn_a.mean(axis=0), drawn_b.mean(axis=0), n_groups)
    if mean_kept is None:
        raise StoreError(
            f"{paired.name_a} scores 0 in every language, so B can keep nothing of it; name a teacher that has learnt"
            " the task as A"
        )
    return Retention(
        task=paired.task,
        title=paired.title,
        metric=paired.metric,
        name_a=paired.name_a,
        name_b=paired.name_b,
        training_language=example.training_language,
        languages=rows,
        mean_kept=mean_kept,
        mean_a=mean_a,
        mean_b=mean_b,
        costs=(_cost(a, b, list(means)), _cost(b, a, list(means))),
        fertility_correlation=_correlation(rows),
        notes=paired.notes,
    )


def _language(
    language: PairedLanguage,
    drawn_a: np.ndarray,
    drawn_b: np.ndarray,
    at_home: tuple[float, float] | None,
    chance: float | None,
    students: Sequence[RunRecord],
) -> LanguageRetention:
    value_a, value_b = language.means
    n_groups = len(np.unique(language.groups))
    training_loss = transfer_loss = above = None
    if at_home is not None:
        training_loss = at_home[0] - at_home[1]
        transfer_loss = (value_a - value_b) - training_loss
    if chance is not None and value_a >= chance + LEARNT:
        above = _share(value_a - chance, value_b - chance, drawn_a - chance, drawn_b - chance, n_groups)
    tokenized = [record.scores[language.language].tokenization for record in students]
    words = [each.pieces_per_word for each in tokenized if each is not None and each.pieces_per_word is not None]
    return LanguageRetention(
        language=language.language,
        script=describe(language.language).script,
        value_a=value_a,
        value_b=value_b,
        kept=_share(value_a, value_b, drawn_a, drawn_b, n_groups),
        kept_above_chance=above,
        training_loss=training_loss,
        transfer_loss=transfer_loss,
        kappa=_kappa(language),
        fertility=float(np.mean(words)) if words else None,
    )


def _share(value_a: float, value_b: float, drawn_a: np.ndarray, drawn_b: np.ndarray, n_groups: int) -> Share | None:
    """Return B as a share of A, with percentiles of (B,) draws. Draws in which A is 0 or less are left out.

    None if A itself is 0 or less, or every draw of it.
    """
    has_some = drawn_a > 0
    if value_a <= 0 or not has_some.any():
        return None
    if n_groups < 2:  # which says nothing about others
        return Share(value_b / value_a, None, None)
    low, high = np.quantile(drawn_b[has_some] / drawn_a[has_some], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Share(value_b / value_a, float(low), float(high))


def _kappa(language: PairedLanguage) -> float | None:
    """Return Cohen's kappa (1960) between both sides' answers, the mean over all pairs of seeds."""
    if language.predictions_a is None or language.predictions_b is None:
        return None
    return float(np.mean([cohens_kappa(x, y) for x in language.predictions_a for y in language.predictions_b]))


def cohens_kappa(x: np.ndarray, y: np.ndarray) -> float:
    """Return the agreement of two (N,) lists of labels beyond what label frequencies give; 1 if both are constant."""
    n_labels = int(max(x.max(), y.max())) + 1
    expected = float(np.bincount(x, minlength=n_labels) @ np.bincount(y, minlength=n_labels)) / len(x) ** 2
    return 1.0 if expected == 1 else (float(np.mean(x == y)) - expected) / (1 - expected)


def _cost(runs: Sequence[StoredRun], others: Sequence[StoredRun], languages: Sequence[str]) -> Cost:
    """Return the size of a side, and its speed in `languages`, which both sides have, if both ran on one processor."""
    processors = {place.processor for run in (*runs, *others) for place in run.record.environments}
    phases = {f"evaluate/{language}" for language in languages}
    timings = [timing for run in runs for phase, timing in run.record.timing.items() if phase in phases]
    seconds = sum(timing.wall_s for timing in timings)
    speed = sum(timing.rows for timing in timings) / seconds if seconds and len(processors) == 1 else None
    return Cost(speed, runs[0].record.model.n_parameters)


def _correlation(rows: Sequence[LanguageRetention]) -> tuple[float, float] | None:
    pairs = [(row.fertility, row.kept.value) for row in rows if row.fertility is not None and row.kept is not None]
    if len(pairs) < FEWEST or any(len(set(column)) < 2 for column in zip(*pairs, strict=True)):
        return None
    rho, p = spearmanr(*zip(*pairs, strict=True))
    return float(rho), float(p)


def _conclusion(retention: Retention) -> str:
    kept, where = retention.mean_kept, on_mean_of([row.language for row in retention.languages])
    text = (
        f"B ({retention.name_b}) keeps {percent(kept.value)} of the {metric_in_words(retention.metric)} of"
        f" A ({retention.name_a}) {where} ({_interval(kept)})"
    )
    home = next((row for row in retention.languages if row.language == retention.training_language), None)
    others = [row for row in retention.languages if row is not home]
    return f"{text}{_where_it_is_lost(home, others) if home and others else ''}."


def _interval(kept: Share) -> str:
    return (
        f"95 % interval {kept.bounds}"
        if kept.low is not None
        else "no interval, since a language's rows are all of one group"
    )


def _where_it_is_lost(home: LanguageRetention, others: Sequence[LanguageRetention]) -> str:
    """Say how much B loses or gains in the training language and elsewhere, and where it keeps least.

    Losses are differences of scores as printed, so that they agree with those in the table.
    """
    at_home, *elsewhere = (printed_difference(100 * row.value_a, 100 * row.value_b) for row in (home, *others))
    mean = round(float(np.mean(elsewhere)), 9)  # without noise, which has a sign
    transfer = round(mean - at_home, 9)
    verb, other, more = ("gains", "loses", transfer < 0) if at_home < 0 else ("loses", "gains", transfer >= 0)
    there = f"{one_decimal(abs(transfer))} {'more' if more else 'fewer'}"
    if at_home * mean < 0:  # "gains 2 points and 5 fewer elsewhere" would hide that 3 are lost there
        there = f"{other} {one_decimal(abs(mean))}"
    text = (
        f"; it {verb} {one_decimal(abs(at_home))} points in {describe(home.language).name} and {there} elsewhere on"
        " average"
    )
    shares = {row.language: row.kept.value for row in others if row.kept is not None}
    if not shares:
        return text
    least = min(shares, key=shares.__getitem__)
    return f"{text}, and keeps least in {least} ({percent(shares[least])})"
