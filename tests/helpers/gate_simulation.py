"""Experiments with a known truth: how often does the gate fail?

`python -m tests.helpers.gate_simulation` prints the answer.

There are two kinds. In the first, scores are drawn around given means; each training has luck that all its languages
share, and luck in each language. In the second, trainings answer the rows of one test set, as in
`verdict_simulation.py`. Both sides are seeds of one recipe, except that the later one is worse by a known number of
points; each seed's speed is drawn, too. Then `xeval.judging.gate.bless` and `xeval.judging.gate.check` judge them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq

from tests.helpers import verdict_simulation
from tests.helpers.sample_record import INVOCATION, run_record, score, stored
from xeval.definitions.registry import get_task
from xeval.judging.gate.bless import bless
from xeval.judging.gate.check import check
from xeval.kinds.pairs import PairClassification
from xeval.kinds.tags import Tagging
from xeval.results.records import Limits, Timing

N_EXPERIMENTS = 300
N_WITHOUT_DROP = 2000  # a rate near 5 % takes more experiments to estimate
SD_LOG_SPEED = 0.1  # of one run, as on a machine with other work
ROWS = verdict_simulation.N_PREMISES * verdict_simulation.PER_PREMISE


@dataclass(frozen=True)
class World:
    """The distribution to draw from: expected accuracies in percent, standard deviations between seeds in points."""

    means: Mapping[str, float]
    sds: Mapping[str, float]
    correlation: float = 0.5  # between two languages of one training
    n_rows: int = 1200
    metric: str = "accuracy"


LANGUAGES = ["en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"]


def small_encoder(**changes) -> World:
    """Spreads as uneven as those of a small encoder on xnli-mini, and 1,200 rows."""
    sds = dict(zip(LANGUAGES, np.linspace(2.8, 0.6, len(LANGUAGES)).tolist(), strict=True))
    return World({code: 68.0 if code == "en" else 47.0 for code in LANGUAGES}, sds, **changes)


def base_encoder(**changes) -> World:
    """The spreads that verdicts assume for an encoder of BERT's size on XNLI."""
    assumed = PairClassification.assumed_spread
    sds = {code: assumed.training_sd if code == "en" else assumed.other_sd for code in LANGUAGES}
    means = {code: 82.0 if code == "en" else 70.0 for code in LANGUAGES}
    return World(means, sds, **{"n_rows": assumed.n_rows} | changes)


def tagger(**changes) -> World:
    """Spreads as uneven as those of XLM-R base on WikiANN, of F1: 0.3 to 5.0 points, 1.8 in the root mean square."""
    assumed = Tagging.assumed_spread
    codes = get_task("pan-x").languages
    sds = dict(zip(codes, (0.3 + 4.7 * np.linspace(0, 1, len(codes)) ** 4).tolist(), strict=True))
    values = {"correlation": assumed.correlation, "n_rows": assumed.n_rows, "metric": "span_f1"}
    return World(dict.fromkeys(codes, 60.0), sds, **values | changes)


@dataclass(frozen=True)
class Drop:
    points: float = 0.0
    languages: tuple[str, ...] = ()  # none: all of them
    speed: float = 1.0  # times the blessed one

    def of(self, language: str) -> float:
        return self.points if not self.languages or language in self.languages else 0.0


Scores = dict[str, list[float]]  # language → accuracy of each seed, in percent


def drawn(world: World, n_seeds: int, drop: Drop, rng: np.random.Generator) -> tuple[Scores, Scores]:
    """Blessed and later scores of one experiment, drawn directly around the means."""
    codes = list(world.means)
    means, sds = (np.array([by_language[code] for code in codes]) for by_language in (world.means, world.sds))
    shared = rng.standard_normal((2, n_seeds, 1))
    own = rng.standard_normal((2, n_seeds, len(codes)))
    luck = np.sqrt(world.correlation) * shared + np.sqrt(1 - world.correlation) * own  # (2, S, L)
    points = np.clip(means + sds * luck, 0, 100)
    points[1] -= [drop.of(code) for code in codes]
    return tuple(dict(zip(codes, side.T.tolist(), strict=True)) for side in points)


def answered(n_seeds: int, drop: Drop, rng: np.random.Generator) -> tuple[Scores, Scores]:
    """Blessed and later scores of trainings that answer the rows of one test set."""
    shared = rng.standard_normal(ROWS)
    own = rng.standard_normal((len(verdict_simulation.LANGUAGES), ROWS))
    difficulty = (np.sqrt(0.7) * shared + np.sqrt(0.3) * own).astype(np.float32)
    blessed = list(verdict_simulation.LANGUAGES.values())
    codes = list(verdict_simulation.LANGUAGES)
    now = [
        _lowered(ability, drop.of(code), rows) for code, ability, rows in zip(codes, blessed, difficulty, strict=True)
    ]
    abilities = np.array([*[blessed] * n_seeds, *[now] * n_seeds], np.float32)
    points = verdict_simulation.trainings(abilities, difficulty, rng)  # (2 S, L)
    return tuple(dict(zip(codes, side.T.tolist(), strict=True)) for side in (points[:n_seeds], points[n_seeds:]))


def _lowered(ability: float, points: float, difficulty: np.ndarray) -> float:
    wanted = verdict_simulation.expected_accuracy(ability, difficulty) - points
    return brentq(lambda to: verdict_simulation.expected_accuracy(to, difficulty) - wanted, ability - 2, ability + 0.1)


def records(scores: Scores, n_rows: int, speeds: list[float], weights: str, metric: str = "accuracy") -> list:
    """Records of seeds with these scores and speeds (pairs per second)."""
    n_seeds = len(speeds)
    training = run_record().training
    return [
        run_record(
            seed=seed + 1,
            metric=metric,
            limits=Limits(),
            scores={code: score(values[seed] / 100, n_rows) for code, values in scores.items()},
            timing={"train": Timing(wall_s=20 / speeds[seed], rows=20, invocation=INVOCATION)},
            training=training.model_copy(update={"weights_sha256": weights * 64}),
        )
        for seed in range(n_seeds)
    ]


@dataclass
class Rates:
    """The share of experiments in which the gate failed at all, and on each thing."""

    failed: float = 0.0
    on: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        parts = ", ".join(f"{what} {100 * self.on[what]:.1f}" for what in ("mean", "a language", "throughput"))
        return f"{100 * self.failed:.1f} ({parts})"


def rates(
    draw: Callable[[np.random.Generator], tuple[Scores, Scores]],
    n_seeds: int,
    n_experiments: int,
    seed: int,
    n_rows: int = ROWS,
    speed: float = 1.0,
    metric: str = "accuracy",
) -> Rates:
    rng = np.random.default_rng(seed)
    found, failed = Counter(), 0
    for _ in range(n_experiments):
        blessed, now = draw(rng)
        logs = SD_LOG_SPEED * rng.standard_normal((2, n_seeds)) + np.log([[100.0], [100.0 * speed]])
        before, later = np.exp(logs).tolist()
        baseline = bless(stored(records(blessed, n_rows, before, "a", metric)))
        outcome = check(baseline, stored(records(now, n_rows, later, "b", metric)))
        failed += not outcome.passed
        found.update({_family(finding.what) for finding in outcome.failures})
    return Rates(failed / n_experiments, Counter({what: n / n_experiments for what, n in found.items()}))


def _family(what: str) -> str:
    return "mean" if what.startswith("mean of") else "throughput" if what.endswith("throughput") else "a language"


def of_world(world: World, n_seeds: int, drop: Drop, n_experiments: int, seed: int) -> Rates:
    numbers = n_seeds, n_experiments, seed, world.n_rows, drop.speed
    return rates(lambda rng: drawn(world, n_seeds, drop, rng), *numbers, world.metric)


def of_rows(n_seeds: int, drop: Drop, n_experiments: int, seed: int) -> Rates:
    return rates(lambda rng: answered(n_seeds, drop, rng), n_seeds, n_experiments, seed)


DROPS = {
    "3 points in all languages": Drop(3.0),
    "5 points in all languages": Drop(5.0),
    "5 points in Thai": Drop(5.0, ("th",)),
    "10 points in Thai": Drop(10.0, ("th",)),
    "half the speed": Drop(speed=0.5),
}
WORLDS = {
    "small encoder": small_encoder(),
    "small encoder, languages independent": small_encoder(correlation=0.0),
    "small encoder, languages nearly alike": small_encoder(correlation=0.9),
    "base encoder": base_encoder(),
    "tagging": tagger(),
}
SEEDS = (2, 3, 5)

if __name__ == "__main__":
    print(f"no drop: % of {N_WITHOUT_DROP} experiments in which the gate failed anyway (and on what)")
    for name, world in WORLDS.items():
        for n_seeds in SEEDS:
            print(f"{name}, {n_seeds} seeds: {of_world(world, n_seeds, Drop(), N_WITHOUT_DROP, seed=7)}", flush=True)
    print(f"rows, {N_EXPERIMENTS} experiments, 3 seeds: {of_rows(3, Drop(), N_EXPERIMENTS, seed=7)}", flush=True)
    print(f"a true drop: % of {N_EXPERIMENTS} experiments in which the gate failed (and on what)")
    for name in ("small encoder", "base encoder", "tagging"):
        for said, drop in DROPS.items():
            for n_seeds in SEEDS:
                found = of_world(WORLDS[name], n_seeds, drop, N_EXPERIMENTS, seed=7)
                print(f"{name}, {said}, {n_seeds} seeds: {found}", flush=True)
    print(f"rows, 3 points in all languages, 3 seeds: {of_rows(3, Drop(3.0), N_EXPERIMENTS, seed=7)}")
