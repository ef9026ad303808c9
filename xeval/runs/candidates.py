"""The evaluation of every checkpoint of one training, while it goes on.

Nothing of it reaches the training: predictions draw no random numbers and leave weights and dropout as they are.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from xeval.engine.snapshots import Checkpoints, Snapshot
from xeval.judging.score import predicted_labels
from xeval.kinds.pairs import EncodedPairs
from xeval.results.candidates import GatheredPredictions
from xeval.support.errors import PredictionError


@dataclass(frozen=True)
class LanguageRows:
    """Of one language, to be evaluated on."""

    pairs: EncodedPairs
    premise_groups: np.ndarray  # (N,) int
    sha256: str


class EveryCheckpoint:
    """Evaluates a training's checkpoints on `rows` by language, but not again what `gathered` has already."""

    def __init__(self, gathered: GatheredPredictions, rows: Mapping[str, LanguageRows]) -> None:
        self.gathered, self._rows = gathered, rows

    @property
    def languages(self) -> list[str]:
        return list(self._rows)

    def evaluate(
        self, step: int, model: PreTrainedModel, logits_of: Callable[[EncodedPairs], np.ndarray]
    ) -> Iterator[str]:
        """Keep what `model` predicts after `step` steps; yields each language when it is done.

        `logits_of` gives (N, C) logits in the order of the task's labels. Where they are no finite numbers that is kept
        in their place, and the training goes on.
        """
        self.gathered.start(step, weights_sha256(model))
        for language, rows in self._rows.items():
            if not self.gathered.has(step, language, rows.sha256):
                logits = logits_of(rows.pairs)
                try:
                    predicted_labels(logits)
                except PredictionError as error:
                    self.gathered.add_failure(step, language, str(error))
                else:
                    labels = rows.pairs.labels
                    self.gathered.add(step, language, logits, labels, rows.premise_groups, rows.sha256)
            yield language

    def knows(self, snapshot: Snapshot) -> bool:
        """Whether every checkpoint that lies behind `snapshot` has been evaluated in every language."""
        return all(
            self.gathered.has(step, language, rows.sha256)
            for step, _ in snapshot.values["outcome"]["selection_curve"]
            for language, rows in self._rows.items()
        )


class CheckpointsBehindEvaluated(Checkpoints):
    """Lets a training go on only from where everything that lies behind has been evaluated."""

    def __init__(self, folder: Path, say: Callable[[str], None], every: EveryCheckpoint) -> None:
        super().__init__(folder, say)
        self._every, self._tell = every, say

    def newest(self) -> Snapshot | None:
        snapshot = super().newest()
        if snapshot is None or self._every.knows(snapshot):
            return snapshot
        self._tell(
            f"training starts again, though it was at step {snapshot.step:,}: not every checkpoint before that was"
            " evaluated in every language"
        )
        for path in self._found():
            shutil.rmtree(path, ignore_errors=True)
        return None


def weights_sha256(model: PreTrainedModel) -> str:
    """A hash over every tensor of `model`: what tells whether a training that is repeated takes the same course."""
    hashed = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        hashed.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        hashed.update(np.from_dlpack(tensor.detach().cpu().contiguous()).data)
    return hashed.hexdigest()
