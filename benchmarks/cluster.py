"""The cost of handing runs to other processes, the gain from several of them, and the order of a release table's runs.

Runs are short ones of the microcosm in float32, each on one thread. Slurm is measured where its daemons can be started.
"""

import heapq
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
from tabulate import tabulate

from benchmarks import inputs
from benchmarks.clock import noting
from benchmarks.ours import recipe
from xeval.definitions.registry import get_recipe, get_suite, get_task
from xeval.definitions.task import Task
from xeval.engine.devices import choose
from xeval.engine.prediction import predict_logits
from xeval.engine.training import count_steps, fine_tune
from xeval.results.store import RECORD
from xeval.runs.on_local import in_this_process, on_local
from xeval.runs.plan import plan_grid, run_plan
from xeval.runs.requests import Engine
from xeval.support.progress import Silent

# Two or three seconds of training and evaluation on an idle core.
MAX_TRAIN, MAX_EVAL, LANGUAGES = 64, 30, ["en", "es", "zh"]
# Number of runs by number of workers. A run counts if it ends while all workers are busy and have finished one already.
N_RUNS = {1: 6, 2: 10, 4: 16}
ONE_PROCESS = "one process"

# Layers and hidden size, from which an encoder's speed is estimated.
ENCODERS = {
    "mBERT": (12, 768),
    "DistilmBERT": (6, 768),
    "XLM-R base": (12, 768),
    "XLM-R large": (24, 1024),
    "mDeBERTa": (12, 768),
}
N_SEEDS = 5
# Rough number of tokens in a row: one sentence, a pair of sentences, a window with a question.
TOKENS = {"tagging": 30, "pair-classification": 45, "answers": 200}
TOKENS_OF_OTHERS = 30


def engines() -> str:
    """Return seconds per run on each engine, the overhead compared with one process, and the gain from several workers.

    An engine's overhead is the time on a worker between computing one run and the next, beyond the same time in a
    process that only makes these runs, one after the other. What both must do, such as reading data and writing the
    record, does not count. An engine's start-up time is part of the time until its first run ends.
    """
    lines, alone_s, gap_s = [], dict[str, float](), dict[str, float]()
    for name, n_workers, start in _contenders():
        with patch.dict(os.environ, {"OMP_NUM_THREADS": "1"}), start() as engine:
            first_s, run_s, inside_s = _seconds_of_runs(engine, n_workers)
        efficiency = f"{alone_s.setdefault(name, run_s) / run_s:.0%}"
        own_gap_s = gap_s.setdefault(name, run_s - inside_s)
        overhead = f"{own_gap_s - gap_s[ONE_PROCESS]:.1f}" if n_workers == 1 and name != ONE_PROCESS else "–"
        lines.append([name, n_workers, f"{first_s:.1f}", f"{run_s:.1f}", f"{inside_s:.1f}", overhead, efficiency])
        print(", ".join(map(str, lines[-1])), file=sys.stderr, flush=True)
    headers = ["engine", "workers", "until the first ends, s", "a run, s", "computing, s", "overhead, s", "efficiency"]
    cores = f"{os.cpu_count()} cores here, so more workers than that gain nothing"
    return f"{tabulate(lines, headers, 'pipe', disable_numparse=True)}\n\n{cores}"


def _contenders() -> Iterator[tuple[str, int, Callable[[], AbstractContextManager[Engine]]]]:
    yield ONE_PROCESS, 1, lambda: nullcontext(in_this_process(Silent()))
    for n_workers in N_RUNS:
        yield "local", n_workers, partial(_local, n_workers)
    if find_spec("ray") is not None:
        for n_workers in N_RUNS:
            yield "ray", n_workers, partial(_ray, n_workers)
    if find_spec("submitit") is not None and _slurm_is_possible():
        yield "slurm", 1, partial(_slurm, 1)


@contextmanager
def _local(n_workers: int) -> Iterator[Engine]:
    yield on_local(["cpu"] * n_workers, quiet=True)


@contextmanager
def _ray(n_workers: int) -> Iterator[Engine]:
    """Give an engine on a cluster that is already running, as a permanent one would be."""
    from xeval.runs.on_ray import on_ray

    with tempfile.TemporaryDirectory(prefix="xr", dir="/tmp") as folder:  # names of Unix sockets must be short
        command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block"]
        options = [f"--num-cpus={n_workers}", "--port=0", "--include-dashboard=false", f"--temp-dir={folder}"]
        log = Path(folder) / "log"
        environment = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        with patch.dict(os.environ, environment), log.open("w") as file:
            head = subprocess.Popen([*command, *options], stdout=file, stderr=file)
            try:
                while "--address='" not in (text := log.read_text()):
                    time.sleep(0.2)
                address = text.partition("--address='")[2].partition("'")[0]
                with patch.dict(os.environ, {"RAY_ADDRESS": address}):
                    yield on_ray(quiet=True)
            finally:
                head.terminate()
                head.wait()


def _slurm_is_possible() -> bool:
    from tests.helpers.slurm_cluster import why_not

    return why_not() is None


@contextmanager
def _slurm(n_workers: int) -> Iterator[Engine]:
    from tests.helpers.slurm_cluster import SlurmCluster
    from xeval.runs.on_slurm import on_slurm

    with (
        tempfile.TemporaryDirectory() as folder,
        SlurmCluster(Path(folder) / "slurm", n_workers) as cluster,
        patch.dict(os.environ, cluster.environment),
    ):
        yield on_slurm(Path(folder) / "jobs", quiet=True, every_s=0.5)


def _seconds_of_runs(engine: Engine, n_workers: int) -> tuple[float, float, float]:
    """Return seconds until a grid's first run ends, per later run on its worker, and of computing in such a run."""
    n_runs = N_RUNS[n_workers]
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"XEVAL_CACHE": f"{folder}/cache"}):
        plan = plan_grid(
            "xnli-mini",
            ["mini-distilmbert"],
            seeds=list(range(1, n_runs + 1)),
            languages=LANGUAGES,
            max_train=MAX_TRAIN,
            max_eval=MAX_EVAL,
            dtype="float32",
            device="cpu",
            results=Path(folder) / "results",
        )
        started = time.time()
        runs, problems = run_plan(plan, engine)
        if problems:
            raise RuntimeError(problems[0])
        ended = sorted(
            ((run.folder / RECORD).stat().st_mtime, sum(timing.wall_s for timing in run.record.timing.values()))
            for run in runs
        )
    counted = ended[n_workers : n_runs - n_workers + 1]  # after the last of these, a worker is idle
    run_s = n_workers * (counted[-1][0] - ended[n_workers - 1][0]) / len(counted)
    return ended[0][0] - started, run_s, float(np.mean([inside_s for _, inside_s in counted]))


# ── in which order ──


def order() -> str:
    """Return when the last of 225 runs ends, if they start longest first or in the order of a shell loop."""
    trained_s, evaluated_s = _seconds_of_tokens()
    seconds = [
        _seconds_of_run(get_task(member.task), member.recipe, encoder, trained_s, evaluated_s)
        for encoder, member, _ in product(ENCODERS.values(), get_suite("xtreme").tasks, range(N_SEEDS))
    ]
    lines = []
    for n_devices in (8, 64):
        ideal = max(sum(seconds) / n_devices, max(seconds))
        ends = makespan(seconds, n_devices), makespan(sorted(seconds, reverse=True), n_devices)
        lines.append([n_devices, *(f"{end / 3600:,.1f}" for end in (*ends, ideal)), f"{1 - ends[1] / ends[0]:.0%}"])
    headers = ["devices", "as submitted, h", "longest first, h", "at least, h", "saved"]
    total = f"{len(seconds)} runs of {sum(seconds) / 3600:,.0f} hours on one device like this one"
    longest = f"the longest of {max(seconds) / 3600:,.1f}, the shortest of {min(seconds) / 60:,.1f} minutes"
    return f"{tabulate(lines, headers, 'pipe', disable_numparse=True)}\n\n{total}, {longest}"


def makespan(seconds: list[float], n_devices: int) -> float:
    """Return when the last of these runs ends if each goes to the device that is free first."""
    free_at = [0.0] * n_devices
    for each in seconds:
        heapq.heapreplace(free_at, free_at[0] + each)
    return max(free_at)


def _seconds_of_run(
    task: Task, recipe_name: str | None, encoder: tuple[int, int], trained_s: float, evaluated_s: float
) -> float:
    """Return seconds for this task and an `encoder` of (layers, hidden size), from DistilmBERT's seconds per token."""
    n_layers, hidden_size = encoder
    scale = n_layers * hidden_size**2 / (6 * 768**2)
    n_tokens = TOKENS.get(task.kind, TOKENS_OF_OTHERS)
    rows, how = task.expected_rows, get_recipe(recipe_name or task.default_recipe)
    n_evaluated = sum(rows.of("test", language) or 1_000 for language in task.languages)
    n_trained = 0
    if task.of_kind.trains:
        n_steps = count_steps(how, rows.train)
        n_trained = n_steps * how.batch_size
        if task.has_selection:
            n_selected = how.selection_rows or rows.of("selection", task.training_language) or 1_000
            n_evaluated += n_selected * (n_steps // (how.evaluate_every_steps or -(-rows.train // how.batch_size)))
    return scale * n_tokens * (n_trained * trained_s + n_evaluated * evaluated_s)


def _seconds_of_tokens() -> tuple[float, float]:
    """Return DistilmBERT's seconds on this device for each token in training and for each token in prediction."""
    compute = choose("auto", "auto")
    model, ended = inputs.classifier("DistilmBERT", compute.device), list[float]()
    rows = inputs.pairs_of(inputs.typical_lengths(inputs.TRAINING_LENGTHS, 3 * inputs.BATCH_SIZE))
    fine_tune(inputs.KIND, model, rows, recipe(3), 5e-5, 0, compute, None, noting(ended))
    trained_s = (ended[-1] - ended[0]) / 2 / (len(rows.input_ids) / 3)
    predict_logits(model, rows, compute)
    started = time.perf_counter()
    predict_logits(model, rows, compute)
    return trained_s, (time.perf_counter() - started) / len(rows.input_ids)
