"""Snapshots of a training run on disk, so that it resumes after its process is killed.

A snapshot is a sealed folder `step-<number>` with tensors in safetensors and everything else in JSON, so reading one
runs no code. The newest whole one counts; damaged or half-written ones are passed over.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from xeval.engine.environment import computation
from xeval.support.errors import ClaimError, StoreError
from xeval.support.files import found_in, read_ordinary
from xeval.support.sealed import checksums, sealing
from xeval.support.text import one_line

FORMAT = 2  # version of what `xeval.engine.training` keeps in a snapshot
KEPT = 2
LEAST_INTERVAL_S = 120.0
SHARE_OF_TIME = 0.02  # maximum for saving


@dataclass
class Snapshot:
    """Everything that the rest of a training run depends on, after `step` optimizer steps."""

    step: int
    tensors: dict[str, torch.Tensor]
    values: dict[str, Any]  # JSON values


class Snapshots:
    """The snapshots of one training run in `folder`. Only one process at a time works there."""

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self.folder, self._say = folder, say
        self._next_at_s = time.monotonic() + LEAST_INTERVAL_S

    def is_due(self) -> bool:
        return time.monotonic() >= self._next_at_s

    def save(self, snapshot: Snapshot) -> bool:
        """Save `snapshot` and remove all but the KEPT newest. If saving fails, say so and let training continue.

        Snapshots of later steps are removed as well: this training run has not resumed from them, and cannot.
        """
        started_s = time.monotonic()
        path = self.folder / f"step-{snapshot.step:09}"
        try:
            with sealing(path) as partial:
                values = {"format": FORMAT, "computed_by": computation(), "step": snapshot.step, **snapshot.values}
                (partial / "values.json").write_text(json.dumps(values), encoding="utf-8")
                save_file(snapshot.tensors, partial / "tensors.safetensors")
            found = self._found()
            kept = [own for own in found if own.name <= path.name][:KEPT]
            for other in [*(set(found) - set(kept)), *found_in(self.folder, "*.partial")]:
                shutil.rmtree(other, ignore_errors=True)
            saved = True
        except ClaimError:
            raise  # another process is running this training
        except (OSError, SafetensorError, StoreError) as error:
            self._say(f"{path}: no snapshot could be saved: {one_line(error)}; training continues")
            saved = False
        now_s = time.monotonic()
        self._next_at_s = now_s + max(LEAST_INTERVAL_S, (now_s - started_s) / SHARE_OF_TIME)
        return saved

    def newest(self) -> Snapshot | None:
        """Return the newest whole snapshot, and say which newer ones are passed over."""
        for path in self._found():
            snapshot = _load(path)
            if snapshot is not None:
                return snapshot
            other = "from another version of xeval, torch or transformers"
            self._say(f"{path}: this snapshot is damaged or {other}, so it is ignored")
        return None

    def clear(self) -> None:
        """Remove all snapshots and their folder, once the training has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        """Return the snapshots' folders, newest first; none if the folder cannot be read."""
        try:
            paths = found_in(self.folder, "step-*")
        except OSError:
            return []
        return [path for path in reversed(paths) if path.suffix != ".partial"]


def _load(path: Path) -> Snapshot | None:
    if checksums(path) is None:
        return None
    try:
        values = json.loads(read_ordinary(path / "values.json"))
        if (values.pop("format"), values.pop("computed_by")) != (FORMAT, computation()):
            return None  # resuming with other code would give weights that neither version produces
        return Snapshot(values.pop("step"), load_file(path / "tensors.safetensors"), values)
    except (OSError, ValueError, KeyError, AttributeError, RecursionError, SafetensorError):
        return None
