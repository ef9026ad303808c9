"""Experiments with a known truth: how often is a difference shown?

`python -m tests.helpers.compare_simulation` prints the answer.

Each experiment draws premises from a population; three hypotheses share one and five languages translate it. Two
trained models (or the means of several trainings on each side) answer every row with a fixed expected accuracy, which
is the same on both sides or differs by a given number of points. Each experiment draws a new test set, since that is
what the intervals are about. A model has its own luck on a premise, in all languages and in one, so rows of one premise
flip together.
"""

import numpy as np
from scipy.special import ndtri

from tests.helpers.checkpoints import KIND
from xeval.judging.comparison.compare import compare
from xeval.judging.comparison.paired_runs import PairedLanguage, PairedRuns
from xeval.judging.comparison.paired_tests import holm

ACCURACY = KIND.measure("accuracy")
LANGUAGES = {"en": 0.8, "es": 0.7, "zh": 0.65, "hi": 0.55, "sw": 0.5}  # expected accuracies
N_PREMISES, PER_PREMISE = 400, 3
SD_PREMISE_ALL, SD_PREMISE, SD_ROW = 0.5, 0.4, 0.5  # of a model's luck; that of the shared difficulty is 1
SD_TOTAL = np.sqrt(1 + SD_PREMISE_ALL**2 + SD_PREMISE**2 + SD_ROW**2)
N_RESAMPLES = 1000
N_EXPERIMENTS = {0.0: 2000, 1.0: 400, 2.0: 400, 4.0: 400}  # by the true difference


def trainings(accuracies: np.ndarray, n_seeds: int, difficulty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(L, S, N) bool: the rows that S trainings with (L,) expected accuracies have right, on (L, N) difficulties."""
    n_languages, n_rows = difficulty.shape
    in_all = SD_PREMISE_ALL * rng.standard_normal((1, n_seeds, N_PREMISES))
    in_one = SD_PREMISE * rng.standard_normal((n_languages, n_seeds, N_PREMISES))
    luck = np.repeat(in_all + in_one, PER_PREMISE, axis=2)
    luck = luck + SD_ROW * rng.standard_normal((n_languages, n_seeds, n_rows))
    return SD_TOTAL * ndtri(accuracies)[:, None, None] + luck > difficulty[:, None]


def tallies(right: np.ndarray) -> np.ndarray:
    """(S, N, 2) of (S, N) booleans."""
    return np.stack([right, np.ones(right.shape)], axis=-1)


def experiment(difference: float, n_seeds: int, rng: np.random.Generator) -> dict[str, float]:
    """One experiment where B's expected accuracy is `difference` points above A's in every language."""
    n_rows = N_PREMISES * PER_PREMISE
    difficulty = np.sqrt(0.7) * rng.standard_normal(n_rows)
    difficulty = difficulty + np.sqrt(0.3) * rng.standard_normal((len(LANGUAGES), n_rows))
    accuracies = np.array([*LANGUAGES.values()])
    right_a = trainings(accuracies, n_seeds, difficulty, rng)
    right_b = trainings(accuracies + difference / 100, n_seeds, difficulty, rng)
    labels, groups = np.arange(n_rows) % PER_PREMISE, np.repeat(np.arange(N_PREMISES), PER_PREMISE)
    languages = [
        PairedLanguage(code, "", ACCURACY, groups, tallies(a), tallies(b), labels, None, None, True)
        for code, a, b in zip(LANGUAGES, right_a, right_b, strict=True)
    ]
    seeds = list(range(n_seeds))
    comparison = compare(
        PairedRuns("t", "t", "A", "B", seeds, seeds, languages, []), int(rng.integers(2**32)), N_RESAMPLES
    )
    shown = {
        "mean": comparison.mean.excludes_zero,
        "cell": np.mean([language.interval.excludes_zero for language in comparison.languages]),
        "family": any(language.better for language in comparison.languages),
        "cell after Holm": np.mean([bool(language.better) for language in comparison.languages]),
    }
    if n_seeds == 1:
        by_rows = [language.mcnemar_p for language in comparison.languages]
        shown |= {"McNemar": np.mean([p <= 0.05 for p in by_rows]), "family, McNemar": min(holm(by_rows)) <= 0.05}
    return shown


def rates(difference: float, n_seeds: int, n_experiments: int, seed: int) -> dict[str, float]:
    """Shares of the experiments (of languages in them, for "cell" and "McNemar") in which a difference is shown."""
    rng = np.random.default_rng(seed)
    drawn = [experiment(difference, n_seeds, rng) for _ in range(n_experiments)]
    return {name: float(np.mean([shown[name] for shown in drawn])) for name in drawn[0]}


def describe(difference: float, n_seeds: int, found: dict[str, float]) -> str:
    said = {
        "mean": "interval of the mean excludes 0",
        "cell": "of a cell",
        "family": "any cell better after Holm",
        "cell after Holm": "a given cell",
        "McNemar": "with McNemar's test on rows instead: a cell before Holm",
        "family, McNemar": "any after it",
    }
    parts = [f"{text} {100 * found[name]:.1f}" for name, text in said.items() if name in found]
    return f"true difference {difference:.1f}, seeds {n_seeds}, %: {', '.join(parts)}"


if __name__ == "__main__":
    for n_seeds in (1, 3):
        for difference, n in N_EXPERIMENTS.items():
            found = rates(difference, n_seeds, n, seed=7)
            print(f"{n} experiments, {describe(difference, n_seeds, found)}", flush=True)
