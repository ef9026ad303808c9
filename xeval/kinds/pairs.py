"""What is particular to tasks whose rows are a premise, a hypothesis and a label.

This is the seam at which another kind of task (tagging, question answering, retrieval) would come in: the stages pass
these two nouns on and leave everything that depends on their content to the functions here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ENCODING = "pairs-1"  # premise and hypothesis as one sequence; another number where ids become others


@dataclass(frozen=True)
class LabelledPairs:
    """The rows of one split in one language, in file order."""

    language: str
    split: str
    premises: Sequence[str]
    hypotheses: Sequence[str]
    labels: np.ndarray  # (N,) int64, indices into the task's labels

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, n: int | None) -> "LabelledPairs":
        """The first `n` rows, or all of them for None."""
        if n is None or n >= len(self):
            return self
        return LabelledPairs(self.language, self.split, self.premises[:n], self.hypotheses[:n], self.labels[:n])

    def sha256(self) -> str:
        """A hash of the content: the same rows give the same hash from whichever layout they were read."""
        digest = hashlib.sha256()
        for premise, hypothesis, label in zip(self.premises, self.hypotheses, self.labels.tolist(), strict=True):
            digest.update(f"{len(premise)}:{premise}{len(hypothesis)}:{hypothesis}{label};".encode())
        return digest.hexdigest()

    def premise_groups(self) -> np.ndarray:
        """(N,) int64: rows with the same premise text share a number. Intervals resample these, not rows."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(premise, len(numbers)) for premise in self.premises], dtype=np.int64)


@dataclass(frozen=True)
class EncodedPairs:
    """Token ids of N pairs laid end to end, without padding."""

    input_ids: np.ndarray  # (total_tokens,) int32
    token_type_ids: np.ndarray  # (total_tokens,) uint8, 0 for the premise and 1 for the hypothesis
    offsets: np.ndarray  # (N + 1,) int64: pair i is input_ids[offsets[i]:offsets[i + 1]]
    labels: np.ndarray  # (N,) int64
    truncated_share: float
    unknown_piece_share: float
    pieces_per_word: float | None
    pieces_per_pair: float

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64: pieces per pair, special ones included."""
        return np.diff(self.offsets)
