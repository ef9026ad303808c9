"""Packed layers under a head that is shown padded output, so that it works unchanged however it pools."""

import threading
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from xeval.engine.fast_path.packing import Sequences


def show_padded(model: PreTrainedModel) -> list[RemovableHandle]:
    """Make the encoder of `model` give its head padded output when it runs on packed input; the handles undo it.

    The head is also given the attention mask of that padding, which the packed layers do not need.
    """
    hooks = _Hooks()
    handles = [
        model.register_forward_pre_hook(hooks.give_mask, with_kwargs=True),
        model.base_model.register_forward_pre_hook(hooks.take_mask, with_kwargs=True),
        model.base_model.register_forward_hook(hooks.unpack),
    ]
    pooler = getattr(model.base_model, "pooler", None)
    if isinstance(pooler, torch.nn.Module):
        handles.append(pooler.register_forward_pre_hook(hooks.first_tokens))
    return handles


class _Hooks(threading.local):
    """What the hooks know about a thread's current batch."""

    sequences: Sequences
    mask: torch.Tensor  # (B, L) bool: where there are tokens

    def give_mask(
        self, model: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self.sequences = options["sequences"]
        columns = torch.arange(self.sequences.max_length, device=self.sequences.offsets.device)
        self.mask = columns[None, :] < self.sequences.offsets.diff()[:, None]
        return inputs, options | {"attention_mask": self.mask.long()}

    def take_mask(
        self, encoder: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return inputs, options | {"attention_mask": None}

    def first_tokens(self, pooler: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """(1, total_tokens, hidden) → (B, 1, hidden)."""
        hidden, *others = inputs
        return hidden.index_select(1, self.sequences.starts).transpose(0, 1), *others

    def unpack(self, encoder: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """(1, total_tokens, hidden) → (B, L, hidden), zeros at padding."""
        hidden = output.last_hidden_state
        padded = hidden.new_zeros(*self.mask.shape, hidden.shape[-1])
        padded[self.sequences.places_in_rows(hidden.shape[1])] = hidden[0]
        output.last_hidden_state = padded
        return output
