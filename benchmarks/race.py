"""The contenders' training and evaluation, in turns, so that disturbances of the machine affect all of them."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from statistics import median

from tabulate import tabulate

from benchmarks import inputs
from benchmarks.arithmetic import needed_flops
from benchmarks.worker import Worker

NAMES = {
    "defaults": "Trainer as the example script sets it: float32",
    "tf32": "the same with TF32",
    "grouped": "Trainer, its fastest flags in float32: length grouping, dynamic padding",
    "flags": "Trainer, its fastest flags: bfloat16, length grouping, dynamic padding",
    "float32": "xeval, float32",
    "bfloat16": "xeval, bfloat16",
}
IN_FLOAT32 = ("defaults", "grouped", "float32")
IN_BFLOAT16 = ("defaults", "flags", "float32", "bfloat16")
ON_A_GPU = ("defaults", "tf32", "flags", "float32", "bfloat16")
DTYPES = {"defaults": "float32", "grouped": "float32", "flags": "bfloat16"}


@dataclass
class Measured:
    """One contender's tokens per second in each round, padding not counted, and the peak memory of its process."""

    train: list[float] = field(default_factory=list)
    evaluate: list[float] = field(default_factory=list)
    peak_memory_bytes: int = 0


@dataclass
class Race:
    architecture: str
    measured: dict[str, Measured]
    peak_flops: dict[str, float]  # by dtype; the best of all rounds


def race(architecture: str, n_rounds: int, sizes: Mapping[str, inputs.Size]) -> Race:
    """Have each kind of contender do in each round what its size says."""
    workers = {kind: Worker(kind, architecture, size) for kind, size in sizes.items()}
    for worker in workers.values():
        worker.wait()
    dtypes = ["float32", "bfloat16"] if "bfloat16" in sizes else ["float32"]
    result = Race(architecture, {kind: Measured() for kind in sizes}, dict.fromkeys(dtypes, 0.0))
    for number in range(1, n_rounds + 1):
        for dtype, best in result.peak_flops.items():
            result.peak_flops[dtype] = max(best, workers[dtype].ask("peak_flops"))
        for task in ("train", "evaluate"):
            for kind, worker in workers.items():
                seconds, n_tokens = worker.ask(task)
                getattr(result.measured[kind], task).append(n_tokens / seconds)
                line = (
                    f"{architecture}, round {number} of {n_rounds}: {task}, {kind}, {n_tokens / seconds:,.0f} tokens/s"
                )
                print(line, file=sys.stderr, flush=True)
    for kind, worker in workers.items():
        result.measured[kind].peak_memory_bytes = worker.ask("peak_memory_bytes")
        worker.end()
    return result


def table(race: Race, task: str) -> str:
    """Return a Markdown table of speed, ratio to the defaults with its spread, and share of the machine's peak.

    The spread is over rounds. The last ratio is what a contender would reach at 100 % of the peak of its arithmetic.
    """
    workload = inputs.WORKLOADS[race.architecture]
    lengths = inputs.typical_lengths(workload.training_lengths if task == "train" else workload.test_lengths, 1_000)
    needed = needed_flops(workload.config, lengths, task == "train", workload.kind.reads)
    flops_per_token = needed / lengths.sum()
    defaults, rows = getattr(race.measured["defaults"], task), []
    for kind, measured in race.measured.items():
        speeds = getattr(measured, task)
        ratios = sorted(speed / slow for speed, slow in zip(speeds, defaults, strict=True))
        highest = race.peak_flops.get(DTYPES.get(kind, kind), float("nan")) / flops_per_token  # TF32 has no peak
        rows.append(
            [
                NAMES[kind],
                f"{median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
                f"{median(speeds) / lengths.mean():,.1f}",
                f"{median(speeds):,.0f}",
                "–" if isnan(highest) else f"{100 * median(speeds) / highest:.0f} %",
                "–" if isnan(highest) else f"{highest / median(defaults):.1f}",
                f"{measured.peak_memory_bytes / 2**30:.1f}",
            ]
        )
    header = [
        f"{race.architecture}, {task}",
        "ratio",
        "rows/s",
        "tokens/s",
        "of GEMM peak",
        "ratio at the peak",
        "memory, GiB",
    ]
    return tabulate(rows, header, "pipe", disable_numparse=True, colalign=["left"] + ["right"] * 6)
