"""The common base of kinds of task that look for translations by the vectors of a pretrained encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from xeval.kinds.kind import AssumedSpread, Kind, Reads
from xeval.kinds.rows import Faults, Table

if TYPE_CHECKING:
    import torch

BLOCK = 1024  # sentences to compare with all others at a time

NOTHING_DRAWN = AssumedSpread(
    training_sd=0.1,
    other_sd=0.1,
    correlation=0.5,
    n_rows=1000,
    disagreement=0.0,
    df=4.0,
    source="Nothing is trained and nothing drawn at random, so two evaluations of one encoder differ only by"
    " arithmetic and the versions of libraries: by about one row in a thousand.",
)


class OfVectors(Kind):
    """The pretrained encoder as it is, with a vector for each sequence."""

    unit: ClassVar[str] = "sentences"
    pipeline: ClassVar[str] = "sentence-similarity"
    head: ClassVar[str] = "AutoModel"
    trains: ClassVar[bool] = False
    reads: ClassVar[Reads] = "sequence"
    assumed_spread: ClassVar[AssumedSpread] = NOTHING_DRAWN

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, int]:
        raise TypeError(f"{self.name} trains nothing, so it has no loss")


def lines_of(text: str) -> list[str]:
    """Return the lines of a file, split at line feeds only and not at Unicode's other line separators."""
    return text.removesuffix("\n").split("\n")


def not_empty(table: Table, texts: list[str]) -> list[str]:
    """Return `texts`. Raise CopyError if any is empty."""
    faults = Faults(table.where, len(table))
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            faults.note(number, "an empty sentence")
    faults.refuse()
    return texts


def first_of_each(texts: Sequence[str], numbers: np.ndarray) -> np.ndarray:
    """Return, for each text, the smallest of the (N,) `numbers` of equal texts, (N,) int64."""
    least: dict[str, int] = {}
    for text, number in zip(texts, numbers.tolist(), strict=True):
        least[text] = min(number, least.get(text, number))
    return np.array([least[text] for text in texts], dtype=np.int64)


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Return the (N, H) vectors scaled to length 1, float32."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


def similarities(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield, block by block, the block's first place in `x`, and its (B, Y) cosines with all of `y`.

    `x` and `y` are (X, H) and (Y, H) unit vectors.
    """
    for start in range(0, len(x), BLOCK):
        yield start, x[start : start + BLOCK] @ y.T
