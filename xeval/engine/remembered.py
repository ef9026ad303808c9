"""Remembered states of rows, for training a head on a frozen encoder: the encoder runs only once for each row.

What is remembered is the part of the last layer's output that the head reads: the first token's, the mean over the
tokens, or every token's. Which of the first two depends on the architecture and is found by trying the first rows.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from xeval.engine.batches import collate, even_batches, within_memory
from xeval.engine.devices import Compute, is_out_of_memory
from xeval.engine.fast_path.blocked_weights import blocked_weights
from xeval.kinds.encoded import Encoded
from xeval.kinds.kind import Reads
from xeval.support.errors import ModelError, PredictionError, TrainingError

_TRIED_ROWS = 8
_CLOSE = 1e-3  # relative to the largest logit
_MOST_OF_MEMORY = 0.5

Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (B, L, hidden), (B, L) mask → (B, hidden) or (tokens, …)


@dataclass(frozen=True)
class Remembered(Encoded):
    """Encoded rows with the states that a head reads."""

    states: torch.Tensor = field(default_factory=lambda: torch.empty(0))  # (S, hidden), or (total_tokens, hidden)
    of_tokens: bool = False  # whether `states` has a line for every token

    def take(self, sequences: np.ndarray) -> "Remembered":
        return _with_states(super().take(sequences), self.states[self._places(sequences)], self.of_tokens)

    def states_of(self, sequences: np.ndarray) -> torch.Tensor:
        """Return (B, 1, hidden) for (B,) sequences, or (1, tokens, hidden) for their tokens, sequence by sequence."""
        states = self.states[self._places(sequences)]
        return states[None] if self.of_tokens else states[:, None]

    def _places(self, sequences: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.tokens_of(sequences) if self.of_tokens else sequences)


def remember(
    model: PreTrainedModel,
    encoded: Encoded,
    reads: Reads,
    compute: Compute,
    on_batch: Callable[[int], None] = lambda n: None,
    at_once: bool = False,
) -> Remembered:
    """Return `encoded` with the states that the encoder of `model` gives for its rows, without dropout.

    If `at_once`, several threads may call the encoder at the same time (see `xeval.engine.batches.within_memory`).
    Raise ModelError if the head reads something else, and TrainingError if the states do not fit into memory.
    """
    of_tokens = reads == "every token"
    _refuse_too_many(len(encoded.input_ids) if of_tokens else len(encoded), model.config.hidden_size)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), blocked_weights(model, compute), compute.matmuls():
            pool = _take_tokens if of_tokens else _pool_of(model, encoded, compute)
            states = _states(model, encoded, pool, of_tokens, compute, on_batch, at_once)
    except (PredictionError, torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError("out of memory with the encoder's states; use a smaller model, or --device cpu") from error
    finally:
        model.train(was_training)
    return _with_states(encoded, states, of_tokens)


def head_outputs(model: PreTrainedModel, states: torch.Tensor) -> Any:
    """Return what `model` would return if its encoder returned `states`, (B, L, hidden)."""
    inputs = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
    with _in_place_of_encoder(model, _Given(states, getattr(model.base_model, "pooler", None))):
        return model(input_ids=inputs, attention_mask=torch.ones_like(inputs))


class _Given(torch.nn.Module):
    """Takes the place of an encoder and returns given states."""

    def __init__(self, states: torch.Tensor, pooler: torch.nn.Module | None) -> None:
        super().__init__()
        self.states, self.pooler = states, pooler

    def forward(self, *_: Any, **__: Any) -> BaseModelOutputWithPooling:
        pooled = self.pooler(self.states) if self.pooler is not None else None
        return BaseModelOutputWithPooling(last_hidden_state=self.states, pooler_output=pooled)


@contextmanager
def _in_place_of_encoder(model: PreTrainedModel, stand_in: _Given) -> Iterator[None]:
    encoder = model.base_model
    setattr(model, model.base_model_prefix, stand_in)
    try:
        yield
    finally:
        setattr(model, model.base_model_prefix, encoder)


def _states(
    model: PreTrainedModel,
    encoded: Encoded,
    pool: Pool,
    of_tokens: bool,
    compute: Compute,
    on_batch: Callable[[int], None],
    at_once: bool,
) -> torch.Tensor:
    """Return the states, (S, hidden) or (total_tokens, hidden), float32 on a processor."""
    n = len(encoded.input_ids) if of_tokens else len(encoded)
    states = torch.empty(n, model.config.hidden_size)
    batches = even_batches(encoded.lengths, compute.token_budget())

    def states_of(batch: np.ndarray) -> torch.Tensor:  # (b, hidden) or (tokens, hidden)
        return pool(*_last_layer(model, encoded, batch, compute)).cpu()

    for batch, of_batch in within_memory(states_of, batches, encoded.lengths, compute, at_once):
        places = encoded.tokens_of(batch) if of_tokens else batch
        states[torch.from_numpy(places)] = of_batch
        on_batch(len(batch))
    return states


def _last_layer(
    model: PreTrainedModel, encoded: Encoded, rows: np.ndarray, compute: Compute
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the last layer's output, (B, L, hidden) float32, and the mask of tokens, (B, L) bool."""
    inputs = collate(encoded, rows, model.config, compute.device)
    with compute.autocast():
        hidden = model.base_model(**inputs).last_hidden_state
    return hidden.float(), inputs["attention_mask"].bool()


def _pool_of(model: PreTrainedModel, encoded: Encoded, compute: Compute) -> Pool:
    """Return the pooling that the head of `model` reads, found by comparing the head alone with the whole model."""
    rows = np.arange(min(_TRIED_ROWS, len(encoded)))
    if not model.config.is_encoder_decoder:
        whole = model(**collate(encoded, rows, model.config, compute.device)).logits
        hidden, mask = _last_layer(model, encoded, rows, compute.in_float32())
        for pool in (_take_first, take_mean):
            alone = head_outputs(model, pool(hidden, mask)[:, None]).logits
            if alone.shape == whole.shape and (alone - whole).abs().max() <= _CLOSE * whole.abs().max():
                return pool
    raise ModelError(
        f"adaptation frozen needs a head that reads the first token or the mean of all tokens, and that of"
        f" {type(model).__name__} reads something else; use lora or full"
    )


def _take_first(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return hidden[:, 0]


def take_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over the tokens in `mask`, (B, L), of `hidden`, (B, L, hidden): (B, hidden)."""
    counted = mask.unsqueeze(-1)  # (B, L, 1)
    return (hidden * counted).sum(dim=1) / counted.sum(dim=1)


def _take_tokens(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return hidden[mask]


def _with_states(encoded: Encoded, states: torch.Tensor, of_tokens: bool) -> Remembered:
    columns = {column.name: getattr(encoded, column.name) for column in fields(Encoded)}
    return Remembered(**columns, states=states, of_tokens=of_tokens)


def _refuse_too_many(n: int, hidden_size: int) -> None:
    n_bytes = n * hidden_size * torch.float32.itemsize
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_bytes > _MOST_OF_MEMORY * memory:
        raise TrainingError(
            f"the encoder's states of all rows take {n_bytes / 1e9:,.0f} GB, more than half of this machine's memory;"
            " use --max-train, or adaptation lora"
        )
