"""How xeval's cost grows with rows, languages and length, and what a run costs that continues from an earlier one."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import transformers
from tabulate import tabulate
from transformers import AutoModelForSequenceClassification

from benchmarks import inputs
from benchmarks.clock import noting
from benchmarks.ours import recipe
from xeval.engine.devices import choose
from xeval.engine.prediction import predict_logits
from xeval.engine.training import fine_tune

COMPUTE = choose("auto", "auto")
LONGEST_COMMAND_S = 120


def rows_and_languages() -> str:
    """Measure DistilmBERT, loaded from disk, on one language after the other."""
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        inputs.classifier("DistilmBERT").save_pretrained(folder)
        started = time.perf_counter()
        model = AutoModelForSequenceClassification.from_pretrained(folder).to(COMPUTE.device)
        load_s = time.perf_counter() - started
    lines = []
    for n_languages, n_rows in ((1, 50), (1, 100), (1, 200), (1, 400), (2, 100), (4, 100)):
        languages = [inputs.pairs_of(inputs.typical_lengths(inputs.TEST_LENGTHS, n_rows)) for _ in range(n_languages)]
        started = time.perf_counter()
        for pairs in languages:
            predict_logits(model, pairs, COMPUTE)
        seconds = time.perf_counter() - started
        lines.append([n_languages, n_rows, f"{load_s:.2f}", f"{seconds:.1f}", f"{n_languages * n_rows / seconds:.0f}"])
    return _table(lines, ["languages", "rows of each", "load, s", "evaluate, s", "pairs/s"])


def lengths() -> str:
    """Measure DistilmBERT on pairs that all have the same length."""
    model, lines = inputs.classifier("DistilmBERT", COMPUTE.device), []
    for length in (16, 32, 64, 128):
        pairs = inputs.pairs_of(np.full(3 * inputs.BATCH_SIZE, length))
        ended: list[float] = []
        fine_tune(inputs.KIND, model, pairs, recipe(3), 5e-5, 0, COMPUTE, lambda: 0.0, noting(ended))
        train_s = (ended[-1] - ended[0]) / 2  # without the first step, which sets up the optimizer's state
        started = time.perf_counter()
        predict_logits(model, pairs, COMPUTE)
        per_pair_s = (time.perf_counter() - started) / len(pairs)
        lines.append([length, f"{inputs.BATCH_SIZE * length / train_s:,.0f}", f"{length / per_pair_s:,.0f}"])
    return _table(lines, ["pieces per pair", "train, tokens/s", "evaluate, tokens/s"])


def going_on() -> str:
    """Measure whole commands on the corpus and the small encoder that come with xeval."""
    with tempfile.TemporaryDirectory() as folder:
        few = ["--max-train", "320", "--max-eval", "100"]
        run = ["run", "xnli-mini", "--model", "mini-mbert", *few, "--results", f"{folder}/results"]
        commands = {
            "train, and evaluate two languages": [*run, "-l", "en", "-l", "de"],
            "the same again: nothing to do": [*run, "-l", "en", "-l", "de"],
            "a third language": [*run, "-l", "en", "-l", "de", "-l", "fr"],
            "report": ["report", "--results", f"{folder}/results"],
        }
        lines = [[name, f"{_seconds(arguments, Path(folder)):.1f}"] for name, arguments in commands.items()]
    return _table(lines, ["command", "whole command, s"])


def _seconds(arguments: list[str], cache: Path) -> float:
    started = time.perf_counter()
    environment = os.environ | {"XEVAL_CACHE": str(cache / "cache")}
    command = [sys.executable, "-m", "xeval", *arguments]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=LONGEST_COMMAND_S)
    return time.perf_counter() - started


def _table(lines: Sequence[Sequence[object]], header: list[str]) -> str:
    return tabulate(lines, header, "pipe", disable_numparse=True, colalign=["right"] * len(header))
