"""Kills a process of a grid once a file exists: its name says at which moment, and the killed process renames it.

Ray calls `watch` in each of its workers, since the test puts the function's name where Ray looks for it.
"""

import os
import signal
import time
from pathlib import Path

STEP_S = 0.1  # so that others are still training when one is killed
MOST_TRAINED = 5  # of six, until the driver is killed: a fast machine would train all of them first


def watch() -> None:
    """From now on, SIGKILL ends this process and its Ray node at the moment whose file exists."""
    from xeval.engine.snapshots import Snapshot, Snapshots
    from xeval.engine.training_progress import Outcome
    from xeval.runs import execute

    folder = Path(os.environ["VICTIMS_FOLDER"])
    save, count, save_fine_tuned = Snapshots.save, Outcome.count_step, execute.save_fine_tuned

    def slow_count(self, n_pairs):
        time.sleep(STEP_S)
        count(self, n_pairs)
        if self.step == 3:
            _die_if(folder / "in training")

    def deadly_save(self, snapshot: Snapshot):
        partial = self.folder / f"step-{snapshot.step:09}.partial"
        if snapshot.step == 4 and (folder / "while saving").exists():
            partial.mkdir(parents=True)
            (partial / "tensors.safetensors").write_bytes(b"half of it")
            _die_if(folder / "while saving")
        return save(self, snapshot)

    def noted_save(model, where, *more):
        while (folder / "driver lives").exists() and n_lines(folder / "trained") >= MOST_TRAINED:
            time.sleep(STEP_S)
        sha256 = save_fine_tuned(model, where, *more)
        with (folder / "trained").open("a") as file:
            file.write(f"{where.name}\n")
        return sha256

    Snapshots.is_due = lambda self: True
    Snapshots.save = deadly_save
    Outcome.count_step = slow_count
    execute.save_fine_tuned = noted_save


def n_lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def _die_if(path: Path) -> None:
    try:
        path.rename(path.with_suffix(f".{os.getpid()}"))  # only one process succeeds
    except FileNotFoundError:
        return
    os.kill(os.getppid(), signal.SIGKILL)  # the raylet, which is the node
    os.kill(os.getpid(), signal.SIGKILL)
