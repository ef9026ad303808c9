"""One training in one process, and in two that share it, on this machine's processors."""

import os
import subprocess
import sys
import time

import torch
from tabulate import tabulate
from transformers import PreTrainedModel

from benchmarks import inputs
from benchmarks.clock import noting
from benchmarks.ours import recipe
from xeval.engine.devices import Compute
from xeval.engine.followers import Training, follow, give_to_followers
from xeval.engine.prediction import predict_logits
from xeval.engine.ranks import ALONE, Ranks, joined
from xeval.engine.training import fine_tune

COMPUTE = Compute(torch.device("cpu"), torch.float32)
N_RANKS, N_ROUNDS, N_STEPS, N_ROWS = 2, 2, 2, 64


def shared() -> str:
    """Measure DistilmBERT each way in turns; the ranks that wait use no processor time."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={N_RANKS}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [*command, "-m", "benchmarks.shared"], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return process.stdout.strip()


def _race(ranks: Ranks) -> str:
    ways = {
        "one process, one thread": (ALONE, 1),
        f"one process, {N_RANKS} threads": (ALONE, N_RANKS),
        f"{N_RANKS} ranks, one thread each": (ranks, 1),
    }
    model = inputs.classifier("DistilmBERT")
    best = {name: (float("inf"), float("inf")) for name in ways}
    for _ in range(N_ROUNDS):
        for name, (of_way, n_threads) in ways.items():
            torch.set_num_threads(n_threads)
            best[name] = min(best[name][0], _train(model, of_way)), min(best[name][1], _evaluate(model, of_way))
    train_s, evaluate_s = best["one process, one thread"]
    lines = [
        [name, f"{each[0]:.2f}", f"{train_s / each[0]:.2f}", f"{N_ROWS / each[1]:.0f}", f"{evaluate_s / each[1]:.2f}"]
        for name, each in best.items()
    ]
    header = ["", "train, s/step", "times as fast", "evaluate, pairs/s", "times as fast"]
    return tabulate(lines, header, "pipe", disable_numparse=True, colalign=["left", *["right"] * 4])


def _train(model: PreTrainedModel, ranks: Ranks) -> float:
    """Return seconds per step without the first one, which sets up the optimizer's state."""
    ended: list[float] = []
    pairs, _ = inputs.training_pairs(1, N_STEPS)
    given = pairs, recipe(1 + N_STEPS), 5e-5, 0, COMPUTE
    give_to_followers(ranks, Training(inputs.KIND, model, *given, False))
    fine_tune(inputs.KIND, model, *given, None, noting(ended), ranks=ranks)
    return (ended[-1] - ended[0]) / N_STEPS


def _evaluate(model: PreTrainedModel, ranks: Ranks) -> float:
    """Return the seconds of an evaluation with the model that these ranks have just trained."""
    rows = inputs.pairs_of(inputs.typical_lengths(inputs.TEST_LENGTHS, N_ROWS))
    started = time.perf_counter()
    predict_logits(model, rows, COMPUTE, ranks=ranks)
    return time.perf_counter() - started


if __name__ == "__main__":
    with joined() as ranks:
        if ranks.leads:
            print(_race(ranks))
            ranks.give()
        else:
            follow(ranks)
