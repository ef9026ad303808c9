"""How surprised is a masked language model by each language, and does that correlate with how well it transfers?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import norm, permutation_test, rankdata

from xeval.judging.health import collapse
from xeval.results.configurations import by_configuration
from xeval.results.store import StoredRun

N_PERMUTATIONS = 9_999  # if there are no more orders than this, each is used once
FEWEST_LANGUAGES = 3
FEWEST_FOR_INTERVAL = 10
SEED = 20200705  # for the permutations
LEVEL = 0.95


@dataclass(frozen=True)
class LanguageProbe:
    """What the model gave for the sentences of one language."""

    language: str
    n_sentences: int
    n_pieces: int  # pieces that the model was asked for, without special ones
    n_characters: int
    pieces_per_word: float | None  # fertility; None where the script puts no space between words
    unknown_piece_share: float
    pseudo_log_likelihood: float  # of all sentences together, in nats

    @property
    def pseudo_perplexity(self) -> float:
        """Pseudo-perplexity per piece (Salazar et al. 2020), comparable only where pieces are comparable."""
        mean = -self.pseudo_log_likelihood / self.n_pieces
        return math.exp(mean) if mean < 700 else math.inf

    @property
    def bits_per_character(self) -> float:
        return -self.pseudo_log_likelihood / math.log(2) / self.n_characters

    @property
    def bits_per_sentence(self) -> float:
        """Bits per sentence, comparable between languages with parallel sentences, whatever their pieces and script."""
        return -self.pseudo_log_likelihood / math.log(2) / self.n_sentences

    def value(self, measure: str) -> float:
        value: float = getattr(self, measure)
        return value


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of a measure of the probe with the scores of one configuration, over languages."""

    task: str
    configuration: str  # recipe, overrides and limits, in words
    metric: str
    seeds: list[int]  # none of runs that trained nothing
    measure: str
    scores: dict[str, float]  # by language, mean over the seeds, without the training language
    rho: float | None  # None for too few languages, or if one side is the same in all
    p: float | None  # two-sided, from permutations
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Probe:
    """A model probed on the sentences of a task."""

    model: str
    model_sha256: str
    task: str
    text: str  # name of the text of each row that was probed
    masking: str
    dtype: str
    seed: int  # for the choice of sentences
    n_available: int  # sentences to choose from, in the language with the fewest
    n_too_long: int  # chosen sentences that were left out because they do not fit in some language
    is_parallel: bool  # whether the sentences of all languages are translations of each other
    languages: list[LanguageProbe]
    correlations: list[Correlation]
    notes: list[str]

    @property
    def measure(self) -> str:
        """The name of the measure by which the languages are best compared."""
        return measure_of(self.is_parallel)


def measure_of(is_parallel: bool) -> str:
    """Return the name of the measure by which languages are best compared: on parallel sentences, or on any."""
    return "bits_per_sentence" if is_parallel else "bits_per_character"


def correlations(
    measures: Mapping[str, Mapping[str, float]], runs: Sequence[StoredRun], model_sha256: str
) -> list[Correlation]:
    """Correlate each of the `measures`, by language, with the mean scores of each configuration of the model.

    Means are over seeds. Only runs of the very same model files count, without collapsed ones. Raises
    StoreError if a configuration has a seed twice.
    """
    own = [run for run in runs if run.record.model.sha256 == model_sha256 and run.record.scores]
    correlations = []
    for configuration, seeds in by_configuration(own).items():
        records = [run.record for run in seeds if collapse(run.record) is None]
        if not records:
            continue
        scored = [language for language in records[0].scores if all(language in record.scores for record in records)]
        trained_on = {record.training_language for record in records}
        means = {
            language: float(np.mean([record.scores[language].value for record in records]))
            for language in scored
            if language not in trained_on
        }
        for measure, values in measures.items():
            common = [language for language in values if language in means]
            ranked = RankCorrelation(
                [values[language] for language in common], [means[language] for language in common]
            )
            correlations.append(
                Correlation(
                    task=records[0].task,
                    configuration=configuration.in_words,
                    metric=records[0].metric,
                    seeds=[record.seed for record in records if record.has_seed],
                    measure=measure,
                    scores={language: means[language] for language in common},
                    rho=ranked.rho,
                    p=ranked.p,
                    ci95=ranked.ci95,
                )
            )
    return correlations


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of two lists of N numbers."""

    x: Sequence[float]
    y: Sequence[float]

    @cached_property
    def rho(self) -> float | None:
        if len(self.x) < FEWEST_LANGUAGES or len(set(self.x)) == 1 or len(set(self.y)) == 1:
            return None
        return float(_of_ranks(rankdata(self.x), rankdata(self.y)))

    @cached_property
    def p(self) -> float | None:
        """Two-sided p: how often pairing the lists at random, or in every possible way, correlates as much."""
        if self.rho is None:
            return None
        y = rankdata(self.y)
        tested = permutation_test(
            (rankdata(self.x),),
            lambda x, axis: _of_ranks(x, y),
            permutation_type="pairings",
            vectorized=True,
            n_resamples=N_PERMUTATIONS,
            rng=np.random.default_rng(SEED),
        )
        return float(tested.pvalue)

    @cached_property
    def ci95(self) -> tuple[float, float] | None:
        """The interval of Fisher's z with the variance of Bonett and Wright 2000, https://doi.org/10.1007/BF02294183.

        None for fewer than FEWEST_FOR_INTERVAL pairs, and for a perfect correlation, where it is undefined.
        """
        n = len(self.x)
        if self.rho is None or n < FEWEST_FOR_INTERVAL or abs(self.rho) > 1 - 1e-12:
            return None
        half = norm.ppf((1 + LEVEL) / 2) * math.sqrt((1 + self.rho**2 / 2) / (n - 3))
        return math.tanh(math.atanh(self.rho) - half), math.tanh(math.atanh(self.rho) + half)


def _of_ranks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of (..., N) and (N,) ranks as (...); for ranks, this is Spearman's."""
    x, y = x - x.mean(axis=-1, keepdims=True), y - y.mean()
    correlation: np.ndarray = (x * y).sum(axis=-1) / np.sqrt((x**2).sum(axis=-1) * (y**2).sum())
    return correlation
