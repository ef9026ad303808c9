"""All measurements, in a quarter of an hour on two idle cores, or some by name: `python -m benchmarks scaling`."""

import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch

from benchmarks import cluster, inputs, scaling
from benchmarks.encoder_types import encoder_types
from benchmarks.flips import flips
from benchmarks.folder import folder
from benchmarks.race import IN_BFLOAT16, IN_FLOAT32, ON_A_GPU, race, table
from benchmarks.shared import shared
from benchmarks.split import split
from benchmarks.vectors import vectors
from benchmarks.widths import widths
from xeval.engine import devices, environment
from xeval.support.freed_memory import keep_freed_memory


def compare(architecture: str, n_rounds: int, n_rows: int) -> str:
    """Run all contenders in turns; on a GPU, each does more work, since it is faster.

    On a processor, faster contenders do more too. xeval computes several evaluation batches at once if it has enough.
    Contenders in bfloat16 are left out on a processor that is slow at it, where a step of the Trainer took minutes.
    """
    is_fast_at_bfloat16 = devices.choose("auto", "auto").dtype_name == "bfloat16"
    kinds = IN_BFLOAT16 if is_fast_at_bfloat16 else IN_FLOAT32
    n_steps, times_as_many = {"flags": 3, "bfloat16": 6}, {"flags": 4, "float32": 3, "bfloat16": 9}
    sizes = {kind: inputs.Size(3, n_steps.get(kind, 1), n_rows * times_as_many.get(kind, 1)) for kind in kinds}
    if torch.cuda.is_available():
        n_rounds = 3  # each records graphs anew, and in the first, every length is new to the Trainer
        sizes = dict.fromkeys(ON_A_GPU, inputs.Size(10, 50, 1_600))
        # xeval's warm-up is long enough to record a graph for nearly every batch size.
        sizes |= {"float32": inputs.Size(150, 50, 1_600), "bfloat16": inputs.Size(400, 400, 1_600)}
    done = race(architecture, n_rounds, sizes)
    peaks = ", ".join(f"{dtype} {peak / 1e9:,.0f}" for dtype, peak in done.peak_flops.items())
    return f"{table(done, 'train')}\n\n{table(done, 'evaluate')}\n\nGEMM peak, GFLOP/s: {peaks}"


PARTS: dict[str, list[Callable[[], str]]] = {
    "distilmbert": [lambda: compare("DistilmBERT", 5, 144)],
    "mbert": [lambda: compare("mBERT", 4, 72)],
    "tags": [lambda: compare("DistilmBERT, tags", 3, 480)],
    "answers": [lambda: compare("DistilmBERT, answers", 2, 24)],
    "split": [lambda: split("DistilmBERT"), lambda: split("mBERT")],
    "scaling": [scaling.rows_and_languages, scaling.lengths, scaling.going_on],
    "flips": [flips],
    "folder": [folder],
    "widths": [widths],
    "types": [encoder_types],
    "vectors": [vectors],
    "shared": [shared],
    "cluster": [cluster.engines, cluster.order],
}


def main(names: list[str]) -> int:
    if unknown := set(names) - set(PARTS):
        print(f"no part {min(unknown)!r}; wanted {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if find_spec("accelerate") is None:
        print("the Trainer needs accelerate, which is not installed: pip install -e '.[bench]'", file=sys.stderr)
        return 2
    keep_freed_memory()  # as `xeval run` does
    started = time.perf_counter()
    here = environment.describe(devices.choose("auto", "auto"))
    versions = f"torch {torch.__version__}, transformers {here.versions['transformers']}"
    print(f"{here.hardware}, {_bfloat16_instructions()}, {versions}\n", flush=True)
    for name in names or PARTS:
        for measure in PARTS[name]:
            began, table = time.perf_counter(), measure()
            print(f"{table}\n\n{name}: {time.perf_counter() - began:.0f} s, {_load()}\n", flush=True)
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


def _load() -> str:
    """Return how busy the machine was, with this work and other people's: figures from a busy machine are too high."""
    minutes = zip(os.getloadavg(), (1, 5, 15), strict=True)
    return f"load average {', '.join(f'{load:.1f} ({n} min)' for load, n in minutes)} on {os.cpu_count()} cores"


def _bfloat16_instructions() -> str:
    """Return which instructions the processor has for bfloat16, which decide how fast bfloat16 is there."""
    capabilities = devices.processor_capabilities()
    names = [name for name in ("amx_bf16", "avx512_bf16") if capabilities.get(name)]
    return " and ".join(names) if names else "no bfloat16 instructions" if capabilities else "instructions not known"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
