"""What the processes that are killed do. Each function runs in a process of its own."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from faults import arm, operations

from tests.helpers.predictions import save_predictions
from tests.helpers.sample_record import INVOCATION, environment, run_record, score
from xeval.results import store
from xeval.results.records import Invocation, RunRecord
from xeval.support.errors import XevalError
from xeval.support.locks import locked

LABELS = np.arange(300) % 3


def logits_of(seed: int, number: int) -> np.ndarray:
    """(300, 3) logits, of which it is known what they should be."""
    return np.random.default_rng((seed, number)).normal(size=(300, 3)).astype(np.float32)


def commit(folder: Path, record: RunRecord, language: str, logits: np.ndarray) -> RunRecord:
    """A finished language, as a run commits it."""
    sha256 = save_predictions(folder, language, logits, LABELS)
    cell = score(0.5).model_copy(update={"predictions_sha256": sha256})
    record = record.model_copy(update={"scores": record.scores | {language: cell}})
    store.save_record(folder, record)
    return record


def commit_until_killed(folder: Path, acknowledge: Connection, start: int) -> None:
    """One language after the other; each is acknowledged when it is on disk."""
    with locked(folder):
        record = store.load_record(folder) or run_record(scores={})
        for number in range(start, start + 10_000):
            record = commit(folder, record, f"l{number}", logits_of(0, number))
            acknowledge.send(number)


def commit_with_fault(folder: Path, answer: Connection, nth: int, error: int) -> None:
    """A second language beside a first one, on a disk that fails at its nth operation."""
    record = store.load_record(folder)
    arm(folder, nth, error)
    try:
        with locked(folder):
            commit(folder, record, "es", logits_of(0, 1))
        outcome = "done"
    except XevalError as complaint:
        outcome = str(complaint)
    seen = operations()
    arm(folder, 0, 0)
    answer.send((outcome, seen))


def cells(results: Path, order: list[int], computed: Path) -> None:
    """Every cell of a grid of one hundred, unless somebody has it already; a line in `computed` for each."""
    for number in order:
        model, seed, identity = f"model-{number // 10}", number % 10, f"{number:064x}"
        folder = store.run_folder(results, "cats", f"org/{model}", "r", seed, identity[::-1])
        with locked(folder):
            if store.load_record(folder) is not None:
                continue
            with computed.open("a") as file:
                file.write(f"{number} {os.getpid()}\n")
            record = run_record(
                identity=identity,
                scores={},
                seed=seed,
                model=run_record().model.model_copy(update={"id": f"org/{model}", "sha256": f"{number // 10:064x}"}),
                invocations={INVOCATION: Invocation(environment=environment(started_at="2026-01-01T00:00:00+00:00"))},
            )
            for language in ("de", "es", "zh"):
                record = commit(folder, record, language, logits_of(number, len(language)))
