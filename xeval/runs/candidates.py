"""Evaluation of every checkpoint of a training run, while the training goes on.

It does not affect the training: predictions draw no random numbers and leave weights and dropout as they are.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from xeval.engine.snapshots import Snapshot, Snapshots
from xeval.judging.score import judge
from xeval.kinds.encoded import Encoded
from xeval.kinds.kind import Kind
from xeval.kinds.rows import Rows
from xeval.results.candidates import GatheredPredictions
from xeval.support.errors import PredictionError


@dataclass(frozen=True)
class LanguageRows:
    """The rows of one language to evaluate on."""

    rows: Rows
    encoded: Encoded
    sha256: str


class EveryCheckpoint:
    """Evaluates a training run's checkpoints on `rows` by language, except for what `gathered` already has."""

    def __init__(
        self, kind: Kind, metric: str, gathered: GatheredPredictions, rows: Mapping[str, LanguageRows]
    ) -> None:
        self.gathered, self._kind, self._metric, self._rows = gathered, kind, metric, rows

    @property
    def languages(self) -> list[str]:
        return list(self._rows)

    def evaluate(self, step: int, model: PreTrainedModel, outputs_of: Callable[[Encoded], np.ndarray]) -> Iterator[str]:
        """Keep what `model` predicts after `step` steps, and yield each language when it is done.

        `outputs_of` returns the outputs of `model`. If it raises PredictionError, the failure is kept and the training
        goes on.
        """
        self.gathered.start(step, weights_sha256(model))
        for language, rows in self._rows.items():
            if not self.gathered.has(step, language, rows.sha256):
                try:
                    judged = judge(self._kind, outputs_of(rows.encoded), rows.encoded, rows.rows)
                except PredictionError as error:
                    self.gathered.add_failure(step, language, str(error))
                else:
                    value = self._kind.measure(self._metric).over(judged.tally)
                    parts = judged.answers, judged.tally, judged.groups
                    self.gathered.add(step, language, *parts, value, rows.sha256, judged.places)
            yield language

    def knows(self, snapshot: Snapshot) -> bool:
        """Return whether every checkpoint up to `snapshot` has been evaluated in every language."""
        return all(
            self.gathered.has(step, language, rows.sha256)
            for step, _ in snapshot.values["outcome"]["selection_curve"]
            for language, rows in self._rows.items()
        )


class SnapshotsBehindEvaluated(Snapshots):
    """Lets a training run resume only from a snapshot up to which every checkpoint has been evaluated."""

    def __init__(self, folder: Path, say: Callable[[str], None], every: EveryCheckpoint) -> None:
        super().__init__(folder, say)
        self._every, self._tell = every, say

    def newest(self) -> Snapshot | None:
        snapshot = super().newest()
        if snapshot is None or self._every.knows(snapshot):
            return snapshot
        self._tell(
            f"training restarts, although it had reached step {snapshot.step:,}: not every checkpoint before that was"
            " evaluated in every language"
        )
        for path in self._found():
            shutil.rmtree(path, ignore_errors=True)
        return None


def weights_sha256(model: PreTrainedModel) -> str:
    """Return a hash of every tensor of `model`, which tells whether a repeated training takes the same course."""
    hashed = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        hashed.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        hashed.update(np.from_dlpack(tensor.detach().cpu().contiguous()).data)
    return hashed.hexdigest()
