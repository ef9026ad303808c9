"""The cost of commands that read a results folder with two hundred runs, and with two thousand."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

import xeval
from xeval.results.identity import identity, ingredients_of
from xeval.results.store import StoredRun, load_runs, run_folder, save_record

TASK, MODEL = "xnli-mini", "mini-distilmbert"
N_RUNS = (200, 2_000)
SEEDS = 5
ROUNDS = 2
# Run in a small separate process, since a process starts with the memory of its parent.
_MEASURE = """
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)
sys.exit(code)
"""


def folder() -> str:
    """Return a Markdown table of seconds, processor seconds and megabytes of the commands that read all runs."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["XEVAL_CACHE"] = str(place / "cache")
        xeval.run(TASK, [MODEL], results=place / "one")
        (template,) = load_runs(place / "one")
        rows = []
        for n_runs in N_RUNS:
            results, baseline = place / f"{n_runs}", place / f"{n_runs}.toml"
            copy_runs(template, results, n_runs)
            _once(["bless", "--results", results, "--output", baseline], place)
            commands = {
                "list runs": ["list", "runs", "--results", results],
                "report": ["report", "--results", results, "--output", place / "report.md"],
                "report, HTML": ["report", "--results", results, "--output", place / "report.html"],
                "check": ["check", "--results", results, "--baseline", baseline],
                "rank": ["rank", "--results", results],
            }
            rows += [(n_runs, what, *measured(words, place)) for what, words in commands.items()]
    header = ("runs", "command", "seconds", "of processor time", "MB at most")
    return tabulate(rows, header, tablefmt="github", floatfmt=(",.0f", "", ".1f", ".1f", ",.0f"))


def copy_runs(template: StoredRun, results: Path, n_runs: int) -> None:
    """Write `n_runs` runs with the predictions of `template`, in files of their own, with five seeds of each model."""
    for number in range(n_runs):
        model, seed = divmod(number, SEEDS)
        files = {"id": f"lab/model-{model:03}", "origin": "hub", "sha256": f"{model:064x}"}
        record = template.record.model_copy(
            update={"model": template.record.model.model_copy(update=files), "seed": seed + 1}
        )
        own = identity(ingredients_of(record), record.seed)
        place = run_folder(results, record.task, record.model.id, record.recipe.name, record.seed, own)
        shutil.copytree(template.folder / "predictions", place / "predictions")
        save_record(place, record.model_copy(update={"identity": own}))


def measured(words: list[object], place: Path) -> tuple[float, float, float]:
    """Return the seconds, processor seconds and peak megabytes of the round with the least processor time."""
    rounds = [_once(words, place) for _ in range(ROUNDS)]
    return min(rounds, key=lambda taken: taken[1])


def _once(words: list[object], place: Path) -> tuple[float, float, float]:
    # As in an installed xeval, nothing is compiled again.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(place / "compiled")}
    command = [sys.executable, "-c", _MEASURE, sys.executable, "-m", "xeval", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | compiled, check=False)
    if done.returncode:
        raise RuntimeError(f"xeval {words[0]}: {done.stderr}")
    seconds, of_processor, megabytes = map(float, done.stdout.split())
    return seconds, of_processor, megabytes
