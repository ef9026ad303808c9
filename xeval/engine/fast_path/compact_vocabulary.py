"""Training only those rows of the input embedding that the training pairs use. The same computation, less of it.

A row that no pair uses has a zero gradient throughout: it adds nothing to the norm that clipping looks at, and AdamW
(Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101) moves it by its decay alone, a factor of
1 − rate × weight_decay per step, which can as well be applied to it all at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.kinds.encoded import Encoded


class CompactVocabulary:
    """While this lasts, a model's input embedding has one row for each distinct id in `pairs`.

    `self.pairs` are the same pairs with their ids renumbered. An optimizer has to be made inside. While `expanded`, and
    at the end, the model is the ordinary one with its whole vocabulary, as trained so far: to be evaluated or saved.
    With `keep_all` nothing is cut.
    """

    def __init__(self, model: PreTrainedModel, pairs: Encoded, keep_all: bool = False) -> None:
        self.pairs = pairs
        whole = model.get_input_embeddings()
        assert isinstance(whole, torch.nn.Embedding)  # as in every model that transformers calls an encoder
        self._model, self._whole, self._compact = model, whole, whole
        self._unused_factor = 1.0  # the decay that has still to be applied to unused rows
        self._applied: list[float] = []  # what has been applied
        if not keep_all:
            padding = self._whole.padding_idx or 0
            # Ids up to padding's keep their numbers, since XLM-R numbers positions by what is padding.
            used = np.union1d(pairs.input_ids, np.arange(padding + 1))
            self.pairs = replace(pairs, input_ids=np.searchsorted(used, pairs.input_ids).astype(np.int32))
            self._used = torch.from_numpy(used.astype(np.int64)).to(self._whole.weight.device)  # (U,)
            rows = self._whole.weight.detach()[self._used]  # (U, hidden)
            self._compact = torch.nn.Embedding.from_pretrained(rows, False, padding_idx=self._whole.padding_idx)

    def __enter__(self) -> Self:
        self._model.set_input_embeddings(self._compact)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def decay_unused(self, rate: float, weight_decay: float) -> None:
        """Take note of one optimizer step, which did not see the unused rows."""
        self._unused_factor *= 1.0 - rate * weight_decay

    def decay_so_far(self) -> list[float]:
        """Of the unused rows: each factor that has been applied to them, in order, and the one that has not yet."""
        return [*self._applied, self._unused_factor]

    @torch.no_grad()
    def resume_decay(self, factors: list[float]) -> None:
        """Bring unused rows that are as they were at first to where `decay_so_far` said that they were."""
        *self._applied, self._unused_factor = factors
        if self._compact is not self._whole:
            for factor in self._applied:
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
