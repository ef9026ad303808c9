"""When a model's first forward pass began, since what comes before it is set-up, and when each training step ended."""

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
    """What `fine_tune` is to call after each step, so that the second at which it ended is added to `ended`."""
    return lambda loss, learning_rate: ended.append(time.perf_counter())
