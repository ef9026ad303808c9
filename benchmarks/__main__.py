"""Everything, in eleven minutes on two idle cores, or the parts that are named: `python -m benchmarks scaling`."""

import sys
import time
from collections.abc import Callable

import torch

from benchmarks import scaling
from benchmarks.flips import flips
from benchmarks.race import NAMES, ON_ANY_MACHINE, race, table
from benchmarks.widths import widths
from xeval.engine import devices, environment
from xeval.support.freed_memory import keep_freed_memory


def compare(architecture: str, n_rounds: int, n_steps: int, n_rows: int) -> str:
    """With as many contenders and, a GPU being so much faster, as much more work as the machine calls for."""
    on_gpu = torch.cuda.is_available()
    kinds, times = (tuple(NAMES), 40) if on_gpu else (ON_ANY_MACHINE, 1)
    done = race(architecture, n_rounds, times * n_steps, times * n_rows, kinds)
    peaks = ", ".join(f"{dtype} {peak / 1e9:,.0f}" for dtype, peak in done.peak_flops.items())
    return f"{table(done, 'train')}\n\n{table(done, 'evaluate')}\n\nGEMM peak, GFLOP/s: {peaks}"


PARTS: dict[str, list[Callable[[], str]]] = {
    "distilmbert": [lambda: compare("DistilmBERT", 5, 1, 144)],
    "mbert": [lambda: compare("mBERT", 2, 1, 72)],
    "scaling": [scaling.rows_and_languages, scaling.lengths, scaling.going_on],
    "flips": [flips],
    "widths": [widths],
}


def main(names: list[str]) -> int:
    if unknown := set(names) - set(PARTS):
        print(f"no part {min(unknown)!r}; wanted {', '.join(PARTS)}", file=sys.stderr)
        return 2
    keep_freed_memory()  # as `xeval run` does
    started = time.perf_counter()
    here = environment.describe(devices.choose("auto", "auto"))
    print(f"{here.hardware}, torch {torch.__version__}, transformers {here.versions['transformers']}\n", flush=True)
    for name in names or PARTS:
        for measure in PARTS[name]:
            began = time.perf_counter()
            print(f"{measure()}\n\n{name}: {time.perf_counter() - began:.0f} s\n", flush=True)
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
