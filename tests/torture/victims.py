"""What the killed processes do. Each function runs in its own process."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

from faults import arm, operations, stale_answers, tear

from tests.helpers.results import add_language, logits_of
from tests.helpers.sample_record import INVOCATION, environment, run_record
from xeval.results import store
from xeval.results.merge import merge
from xeval.results.records import Invocation
from xeval.support.errors import XevalError
from xeval.support.locks import locked


def commit_until_killed(folder: Path, acknowledge: Connection, start: int) -> None:
    """Commit one language after another; each is acknowledged once it is on disk."""
    with locked(folder):
        record = store.load_record(folder) or run_record(scores={})
        for number in range(start, start + 10_000):
            record = add_language(folder, record, f"l{number}", logits_of(0, number))
            acknowledge.send(number)


def commit_with_fault(folder: Path, answer: Connection, nth: int, error: int) -> None:
    """Commit a second language after a first one, on a disk that fails at its nth operation."""
    record = store.load_record(folder)
    arm(folder, nth, error)
    try:
        with locked(folder):
            add_language(folder, record, "es", logits_of(0, 1))
        outcome = "done"
    except XevalError as complaint:
        outcome = str(complaint)
    seen = operations()
    arm(folder, 0, 0)
    answer.send((outcome, seen))


def merge_with_fault(sources: list[Path], destination: Path, answer: Connection, nth: int, error: int) -> None:
    """Merge on a disk that fails at its nth operation."""
    arm(destination, nth, error)
    try:
        outcome = [(run.outcome, run.damage) for run in merge(sources, destination)]
    except XevalError as complaint:
        outcome = str(complaint)
    seen = operations()
    arm(destination, 0, 0)
    answer.send((outcome, seen))


def cells(results: Path, order: list[int], computed: Path) -> None:
    """Compute every cell of a grid of one hundred that nobody has computed; each adds a line to `computed`."""
    for number in order:
        model, seed, identity = f"model-{number // 10}", number % 10, f"{number:064x}"[::-1]
        folder = store.run_folder(results, "cats", f"org/{model}", "r", seed, identity)
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
                record = add_language(folder, record, language, logits_of(number, len(language)))


def cells_on_a_torn_disk(results: Path, order: list[int], computed: Path, answer: Connection) -> None:
    """`cells` on a network file system without locks where files are stale now and then; `answer` is sent how often."""
    tear(results, one_stale_in=200)
    cells(results, order, computed)
    answer.send(stale_answers())
