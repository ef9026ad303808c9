"""Experiments with a known truth: how often is each verdict given?

`python -m tests.helpers.verdict_simulation` prints the answer.

Each experiment draws a test set whose rows have their own difficulty, shared by every training, and premises that three
rows share. A training has its own luck in all languages, in each language, on each premise and on each row. The
published side is one such training or the mean of several, of a recipe that is better or worse in every language, by an
amount for which its expected accuracy on exactly these rows differs by the given number of points. Its scores are
rounded to 0.1.
"""

from collections import Counter

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from tests.helpers.sample_record import run_record, score, stored
from xeval.definitions.reference import Reference
from xeval.judging.equivalence import UNSETTLED, Published, Spread, compare
from xeval.judging.verdict import judge
from xeval.kinds.pairs import PairClassification
from xeval.results.records import Limits

LANGUAGES = {"en": 1.0, "es": 0.55, "zh": 0.4}  # by how much ability exceeds the mean difficulty
N_EXPERIMENTS = 200
N_PREMISES, PER_PREMISE = 1670, 3
SD_ALL, SD_LANGUAGE = 0.008, 0.006  # a training run's luck, on the scale of difficulty (standard deviation 1)
SD_PREMISE, SD_ROW = 0.15, 0.4
SD_TOTAL = np.sqrt(SD_ALL**2 + SD_LANGUAGE**2 + SD_PREMISE**2 + SD_ROW**2)


def expected_accuracy(ability: float, difficulty: np.ndarray) -> float:
    """The mean over (N,) rows of the probability that a training run has them right: the truth, in points."""
    return 100 * float(ndtr((ability - difficulty) / SD_TOTAL).mean())


def trainings(abilities: np.ndarray, difficulty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, L) accuracies in points of S trainings with (S, L) abilities on (L, N) difficulties."""
    n_seeds, n_languages = abilities.shape
    luck = SD_ALL * rng.standard_normal((n_seeds, 1)) + SD_LANGUAGE * rng.standard_normal((n_seeds, n_languages))
    on_premise = SD_PREMISE * rng.standard_normal((n_seeds, n_languages, N_PREMISES), dtype=np.float32)
    on_row = SD_ROW * rng.standard_normal((n_seeds, n_languages, N_PREMISES * PER_PREMISE), dtype=np.float32)
    strength = (abilities + luck)[..., None] + np.repeat(on_premise, PER_PREMISE, axis=2) + on_row
    return 100 * (strength > difficulty).mean(axis=2)


def experiment(difference: float, n_seeds: int, n_published: int, rng: np.random.Generator) -> tuple:
    """One experiment where the published side is `difference` points below our expected accuracy.

    Returns the outcome on the mean, those on the cells, and the (S, L) scores of our seeds.
    """
    shared = rng.standard_normal(N_PREMISES * PER_PREMISE)
    own = rng.standard_normal((len(LANGUAGES), shared.size))
    difficulty = (np.sqrt(0.7) * shared + np.sqrt(0.3) * own).astype(np.float32)
    ours = list(LANGUAGES.values())
    theirs = [_moved(ability, -difference, rows) for ability, rows in zip(ours, difficulty, strict=True)]
    abilities = np.array([*[ours] * n_seeds, *[theirs] * n_published], np.float32)
    scores = trainings(abilities, difficulty, rng)
    [verdict] = judge(stored(_records(scores[:n_seeds])), _reference(scores[n_seeds:]))
    return verdict.mean.outcome, [cell.outcome for cell in verdict.cells.values()], scores[:n_seeds]


def _moved(ability: float, points: float, difficulty: np.ndarray) -> float:
    wanted = expected_accuracy(ability, difficulty) + points
    return brentq(lambda moved: expected_accuracy(moved, difficulty) - wanted, ability - 2, ability + 2, xtol=1e-4)


def _records(points: np.ndarray) -> list:
    n = N_PREMISES * PER_PREMISE
    return [
        run_record(
            seed=seed,
            limits=Limits(),
            scores={code: score(value / 100, n) for code, value in zip(LANGUAGES, row.tolist(), strict=True)},
        )
        for seed, row in enumerate(points)
    ]


def _reference(points: np.ndarray) -> Reference:
    cells = dict(zip(LANGUAGES, np.round(points.mean(axis=0), 1).tolist(), strict=True))
    row = {"name": "published", "model": "org/m", "cells": cells, "how": "drawn", "recipe": "r"}
    if len(points) > 1:
        spread = dict(zip(LANGUAGES, np.round(points.std(axis=0, ddof=1), 2).tolist(), strict=True))
        row |= {"n_seeds": len(points), "spread": spread}
    table = {"name": "t", "title": "t", "task": "cats", "split": "test", "source_url": "x", "languages": [*cells]}
    return Reference.model_validate(table | {"rows": [row]}, strict=False)


def rates(difference: float, n_seeds: int, n_published: int, n_experiments: int, seed: int) -> dict[str, Counter]:
    """The share of each outcome for the mean and for the cells, and under "sd" our seeds' spread in each language."""
    rng = np.random.default_rng(seed)
    drawn = [experiment(difference, n_seeds, n_published, rng) for _ in range(n_experiments)]
    on_mean = Counter(mean for mean, _, _ in drawn)
    on_cells = Counter(outcome for _, cells, _ in drawn for outcome in cells)
    mean, cells = (Counter({k: n / counts.total() for k, n in counts.items()}) for counts in (on_mean, on_cells))
    sds = np.sqrt(np.mean([points.var(axis=0) * n_seeds / max(1, n_seeds - 1) for _, _, points in drawn], axis=0))
    return {"mean": mean, "cells": cells, "sd": Counter(dict(zip(LANGUAGES, sds.tolist(), strict=True)))}


def describe(difference: float, n_seeds: int, n_published: int, found: dict[str, Counter]) -> str:
    outcomes = ("reproduced",), UNSETTLED, ("not reproduced",)
    parts = [
        f"{what} " + " / ".join(f"{100 * sum(found[what][name] for name in names):.1f}" for names in outcomes)
        for what in ("mean", "cells")
    ]
    return f"true difference {difference:.1f}, seeds {n_seeds} against {n_published}: " + ", ".join(parts)


def share_reproduced(
    difference: float, n_seeds: int, true_sd: float, assumed_sd: float, n_experiments: int, seed: int
) -> float:
    """The share of "reproduced" within ±1.5 where scores are drawn directly, with another spread than assumed."""
    rng = np.random.default_rng(seed)
    ours = difference + true_sd * rng.standard_normal((n_experiments, n_seeds))
    theirs = np.round(true_sd * rng.standard_normal(n_experiments), 1)
    expected = Spread(assumed_sd, PairClassification.assumed_spread.df)
    outcomes = [
        compare(scores, Published(value, 1, 0.1**2 / 12), 1.5, expected).outcome
        for scores, value in zip(ours.tolist(), theirs.tolist(), strict=True)
    ]
    return outcomes.count("reproduced") / n_experiments


if __name__ == "__main__":
    for n_seeds in (1, 2, 3, 5):
        for true_sd in (0.25, 0.5, 1.0):
            at_edge, at_zero = (share_reproduced(d, n_seeds, true_sd, 0.5, 2000, seed=7) for d in (1.5, 0.0))
            print(
                f"assumed 0.5, true {true_sd}, {n_seeds} seeds | reproduced: {100 * at_edge:.1f} % with a true"
                f" difference of 1.5, {100 * at_zero:.1f} % with none",
                flush=True,
            )
    print(f"% of {N_EXPERIMENTS} experiments: reproduced / not settled / not reproduced")
    for n_seeds, n_published in ((5, 1), (5, 5), (1, 1)):
        for difference in (0.0, 1.0, 1.5, 4.0):
            found = rates(difference, n_seeds, n_published, N_EXPERIMENTS, seed=7)
            print(describe(difference, n_seeds, n_published, found), flush=True)
        if n_seeds > 1:
            print("  standard deviation between our seeds:", {code: round(sd, 2) for code, sd in found["sd"].items()})
