"""Everything, in about eight minutes on two idle cores, or the parts that are named: `python -m benchmarks scaling`."""

import sys
import time

import torch

from benchmarks import scaling
from benchmarks.flips import flips
from benchmarks.race import race, table
from xeval import devices, environment


def compare(architecture: str, n_rounds: int, n_steps: int, n_rows: int) -> str:
    done = race(architecture, n_rounds, n_steps, n_rows)
    peaks = ", ".join(f"{dtype} {peak / 1e9:,.0f}" for dtype, peak in done.peak_flops.items())
    return f"{table(done, 'train')}\n\n{table(done, 'evaluate')}\n\nGEMM peak, GFLOP/s: {peaks}"


PARTS = {
    "distilmbert": [lambda: compare("DistilmBERT", 3, 1, 48)],
    "mbert": [lambda: compare("mBERT", 2, 1, 24)],
    "scaling": [scaling.rows_and_languages, scaling.lengths, scaling.going_on],
    "flips": [flips],
}


def main(names: list[str]) -> int:
    if unknown := set(names) - set(PARTS):
        print(f"no part {min(unknown)!r}; wanted {', '.join(PARTS)}", file=sys.stderr)
        return 2
    started = time.perf_counter()
    here = environment.describe(devices.choose("auto", "auto"))
    print(f"{here.hardware}, torch {torch.__version__}, transformers {here.versions['transformers']}\n", flush=True)
    for name in names or PARTS:
        for measure in PARTS[name]:
            print(f"{measure()}\n", flush=True)
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
