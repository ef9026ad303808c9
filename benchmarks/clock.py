"""Times a model's first forward pass, since everything before it is set-up, and the end of each training step."""

import time
from collections.abc import Callable
from typing import Any

import torch


class FirstForward:
    def __init__(self, model: torch.nn.Module) -> None:
        self.started = 0.0
        model.register_forward_pre_hook(self._note)

    def reset(self) -> None:
        self.started = 0.0

    def _note(self, *_: Any) -> None:
        self.started = self.started or time.perf_counter()


def noting(ended: list[float]) -> Callable[[float, float], None]:
    """Return an `on_step` for `fine_tune` that appends the time, in seconds, at which each step ended to `ended`."""
    return lambda loss, learning_rate: ended.append(time.perf_counter())
