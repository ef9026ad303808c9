"""Trains only those rows of the input embedding that the training pairs use: the same result with less computation.

A row that no pair uses always has a zero gradient. It adds nothing to the norm that clipping looks at, and AdamW
(Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101) changes it only by decay, by 1 − rate × weight_decay per
step. These factors can be applied together later.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.engine.fast_path.kept_gradient import KeptGradient
from xeval.kinds.encoded import Encoded


class CompactVocabulary:
    """While this lasts, a model's input embedding has one row for each distinct id in `pairs`.

    `self.pairs` are the same pairs with renumbered ids. Make the optimizer inside this block. While `expanded`, and at
    the end, the model has its whole vocabulary, as trained so far, to be evaluated or saved. With `keep_all`, nothing
    is cut.
    """

    def __init__(self, model: PreTrainedModel, pairs: Encoded, keep_all: bool = False) -> None:
        self.pairs = pairs
        whole = model.get_input_embeddings()
        assert isinstance(whole, torch.nn.Embedding)  # true of every encoder in transformers
        self._model, self._whole, self._compact = model, whole, whole
        self._unused_factor = 1.0  # decay not yet applied to unused rows
        self._applied: list[float] = []  # factors already applied
        if not keep_all:
            padding = self._whole.padding_idx or 0
            # Ids up to padding's stay as they are, since XLM-R derives positions from the padding id.
            used = np.union1d(pairs.input_ids, np.arange(padding + 1))
            self.pairs = replace(pairs, input_ids=np.searchsorted(used, pairs.input_ids).astype(np.int32))
            self._used = torch.from_numpy(used.astype(np.int64)).to(self._whole.weight.device)  # (U,)
            rows = self._whole.weight.detach()[self._used]  # (U, hidden)
            embedding = KeptGradient if rows.device.type == "cpu" else torch.nn.Embedding
            self._compact = embedding.from_pretrained(rows, False, padding_idx=self._whole.padding_idx)

    def __enter__(self) -> Self:
        self._model.set_input_embeddings(self._compact)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def decay_unused(self, rate: float, weight_decay: float) -> None:
        """Record one optimizer step, which did not see the unused rows."""
        self._unused_factor *= 1.0 - rate * weight_decay

    def decay_so_far(self) -> list[float]:
        """Return the decay factors already applied to unused rows, in order, and last the one still to be applied."""
        return [*self._applied, self._unused_factor]

    @torch.no_grad()
    def resume_decay(self, factors: list[float]) -> None:
        """Bring unused rows from their initial values to the state that `decay_so_far` described."""
        *self._applied, self._unused_factor = factors
        for factor in self._applied:  # none if nothing is cut
            self._whole.weight.mul_(factor)

    @contextmanager
    def expanded(self) -> Iterator[None]:
        self._restore()
        try:
            yield
        finally:
            self._model.set_input_embeddings(self._compact)

    @torch.no_grad()
    def _restore(self) -> None:
        self._model.set_input_embeddings(self._whole)
        if self._compact is self._whole:
            return
        if self._unused_factor != 1.0:
            self._whole.weight.mul_(self._unused_factor)
            self._applied.append(self._unused_factor)
            self._unused_factor = 1.0
        self._whole.weight[self._used] = self._compact.weight
