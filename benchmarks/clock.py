"""When a model's first forward pass began: what comes before it is set-up, which long runs do not feel."""

import time
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
