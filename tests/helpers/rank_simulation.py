"""Experiments with a known truth: how often does a ranking distinguish equal models?

`python -m tests.helpers.rank_simulation` prints the answer.

Each experiment draws premises that three hypotheses share and five languages translate, and several models with some
training runs each, as in `compare_simulation.py`. In addition, each training run has luck that all its languages share.
The question is whether the models differ beyond these rows and these training runs: equal models have equal expected
accuracies, so distinguishing them is a mistake.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from tests.helpers.compare_simulation import (
    LANGUAGES,
    N_PREMISES,
    PER_PREMISE,
    SD_PREMISE,
    SD_PREMISE_ALL,
    SD_ROW,
    SD_TOTAL,
)  # fmt: skip
from xeval.judging.comparison.ranking import Ranking, Scope, ScoredModel, pulls_of, rank
from xeval.judging.equivalence import assumed_spread, spread_of_mean
from xeval.kinds.pairs import PairClassification

N_MODELS = 5000  # over all experiments of a world
N_ROWS = N_PREMISES * PER_PREMISE
SCOPE = Scope("t", "t", "accuracy", "pairs", "premises", [*LANGUAGES], N_ROWS, [])


@dataclass(frozen=True)
class World:
    name: str
    points: tuple[float, ...]  # each model's expected accuracies minus the first one's
    n_seeds: tuple[int, ...]
    sd: tuple[float, ...]  # of a training run's luck, in points of accuracy


def equal(n: int, n_seeds: int, *sd: float) -> World:
    between = " and ".join(map(str, sd))
    name = f"{n} equal models, seeds {n_seeds}, luck of a training run {between} points"
    return World(name, (0.0,) * n, (n_seeds,) * n, tuple(sd[place % len(sd)] for place in range(n)))


WORLDS = (
    equal(5, 1, 0.0),
    equal(5, 1, 0.5),
    equal(5, 2, 0.5),
    equal(5, 3, 0.0),
    equal(5, 3, 0.5),
    equal(5, 3, 2.0),
    equal(5, 3, 0.3, 2.0),
    equal(5, 5, 0.3, 2.0),
    equal(15, 3, 0.5),
    equal(15, 3, 0.3, 2.0),
    World("5 equal models, seeds 1 to 5, luck of a training run 1 point", (0.0,) * 5, (1, 2, 3, 4, 5), (1.0,) * 5),
    World("5 models, two apart by 3 points from three, seeds 3", (0, 0, 0, 3, 3), (3,) * 5, (0.5,) * 5),
    World("5 models, 2 points between each, seeds 3", (0, 2, 4, 6, 8), (3,) * 5, (0.5,) * 5),
    World("5 models, 2 points between each, seeds 5", (0, 2, 4, 6, 8), (5,) * 5, (0.5,) * 5),
)  # fmt: skip


def experiment(world: World, rng: np.random.Generator) -> Ranking:
    difficulty = np.sqrt(0.7) * rng.standard_normal(N_ROWS, dtype=np.float32)
    difficulty = difficulty + np.sqrt(0.3) * rng.standard_normal((len(LANGUAGES), N_ROWS), dtype=np.float32)
    models = [
        _model(str(place), *own, difficulty, rng)
        for place, own in enumerate(zip(world.points, world.n_seeds, world.sd, strict=True))
    ]
    assumed = PairClassification.assumed_spread
    spreads = [assumed_spread(assumed, language == "en", N_ROWS) for language in LANGUAGES]
    return rank(models, spread_of_mean(assumed, spreads), SCOPE)


def _model(
    name: str, points: float, n_seeds: int, sd: float, difficulty: np.ndarray, rng: np.random.Generator
) -> ScoredModel:
    expected = np.array([*LANGUAGES.values()])[:, None] + points / 100
    accuracies = np.clip(expected + sd / 100 * rng.standard_normal(n_seeds), 0.01, 0.99)  # (L, S)
    in_all = SD_PREMISE_ALL * rng.standard_normal((1, n_seeds, N_PREMISES, 1), dtype=np.float32)
    in_one = SD_PREMISE * rng.standard_normal((len(LANGUAGES), n_seeds, N_PREMISES, 1), dtype=np.float32)
    on_row = SD_ROW * rng.standard_normal((len(LANGUAGES), n_seeds, N_PREMISES, PER_PREMISE), dtype=np.float32)
    ability = (SD_TOTAL * ndtri(accuracies)).astype(np.float32)[:, :, None, None]
    right = ability + in_all + in_one + on_row > difficulty.reshape(len(LANGUAGES), 1, N_PREMISES, PER_PREMISE)
    of_premise = right.sum(axis=-1)  # (L, S, G)
    total = of_premise.sum(axis=-1)  # (L, S)
    without = ((total[:, :, None] - of_premise) / (N_ROWS - PER_PREMISE)).mean(axis=0)  # (S, G)
    values = (total / N_ROWS).mean(axis=0).tolist()
    return ScoredModel(name, list(range(n_seeds)), True, {}, values, pulls_of(without))


def rates(world: World, n_experiments: int, seed: int) -> dict[str, float]:
    """The shares of experiments with a false separation, and of differing pairs that are distinguished.

    Without a false separation, every rank interval contains the true rank.
    """
    rng = np.random.default_rng(seed)
    false, found = [], []
    for _ in range(n_experiments):
        ranking = experiment(world, rng)
        truth = [world.points[int(one.model.name)] for one in ranking.models]
        told = [(truth[pair.better] - truth[pair.worse], pair.is_told_apart) for pair in ranking.pairs]
        false.append(any(apart for difference, apart in told if difference <= 0))
        found += [apart for difference, apart in told if difference > 0]
    return {"false": float(np.mean(false))} | ({"found": float(np.mean(found))} if found else {})


def describe(world: World, found: dict[str, float]) -> str:
    said = {"false": "a false separation", "found": "pairs that differ told apart"}
    return f"{world.name}, %: " + ", ".join(f"{said[key]} {100 * value:.1f}" for key, value in found.items())


if __name__ == "__main__":
    for world in WORLDS:
        n = N_MODELS // len(world.points)
        print(f"{n} experiments, {describe(world, rates(world, n, seed=7))}", flush=True)
