"""Linear layers that read one input and are computed as one product, though a model calls them one after the other."""

import threading
import weakref
from collections.abc import Callable, Sequence

import torch


def groups_of(
    model: torch.nn.Module,
    of_one_input: Sequence[tuple[torch.nn.Linear, ...]],
    types: Sequence[type[torch.nn.Linear]] = (torch.nn.Linear,),
) -> list[tuple[torch.nn.Linear, ...]]:
    """Return the groups `of_one_input`, and each other linear layer of `model` of one of `types` as its own group."""
    grouped = {layer for group in of_one_input for layer in group}
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear) and type(layer) in types]
    return [*of_one_input, *((layer,) for layer in layers if layer not in grouped)]


class OneInput(threading.local):
    """`layers` that are always called with the same input: the first call computes the outputs of all.

    Each thread has an input of its own.
    """

    def __init__(self, layers: Sequence[torch.nn.Linear]) -> None:
        self.layers, self.sizes = tuple(layers), [layer.out_features for layer in layers]
        self._input: weakref.ref[torch.Tensor] | None = None  # the input that the waiting outputs were computed from
        self._waiting: dict[torch.nn.Linear, torch.Tensor] = {}

    def output(
        self,
        layer: torch.nn.Linear,
        input: torch.Tensor,
        outputs_of: Callable[[torch.Tensor], Sequence[torch.Tensor]],
    ) -> torch.Tensor:
        """Return the output of `layer`, one of the layers, whose outputs `outputs_of` returns in their order."""
        if layer not in self._waiting or self._input is None or self._input() is not input:
            outputs = outputs_of(input)
            self._input, self._waiting = weakref.ref(input), dict(zip(self.layers, outputs, strict=True))
        return self._waiting.pop(layer)
