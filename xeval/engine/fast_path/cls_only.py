"""Computes an encoder's last layer only for the token of each sequence that a head reads, mostly the first.

This is exact: in that layer, the other tokens serve only as keys and values.
"""

from typing import Any

import torch
from torch.utils.hooks import RemovableHandle


def compute_first_tokens_only(last_layer: torch.nn.Module) -> list[RemovableHandle]:
    """Make `last_layer` compute only first tokens of packed input; the handles undo it.

    If the sequences name other tokens in `looked_at`, compute those instead.
    """
    return [
        last_layer.register_forward_pre_hook(_take_first_tokens, with_kwargs=True),
        last_layer.register_forward_hook(_one_sequence_each),
    ]


def give_first_tokens_only(layers: torch.nn.Module) -> list[RemovableHandle]:
    """Make `layers`, all of an encoder in one module, return only first tokens; the handles undo it.

    They still compute all tokens. This is for ALBERT, which runs its one layer repeatedly and whose pooler is shown
    first tokens.
    """
    return [layers.register_forward_hook(_first_tokens_of_all, with_kwargs=True)]


def _first_tokens_of_all(layers: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
    """(1, total_tokens, hidden) → (B, 1, hidden)."""
    output.last_hidden_state = output.last_hidden_state.index_select(1, options["sequences"].starts).transpose(0, 1)
    return output


def _take_first_tokens(
    layer: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    whole = inputs[0]  # (1, total_tokens, hidden)
    sequences = options["sequences"]
    places = sequences.starts if sequences.looked_at is None else sequences.looked_at
    first = whole.index_select(1, places)  # (1, B, hidden)
    return (first, *inputs[1:]), options | {"whole": whole}


def _one_sequence_each(layer: torch.nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
    """(1, B, hidden) → (B, 1, hidden), of which the model's own pooler or head reads the only position."""
    return output.transpose(0, 1)
