"""Dropout on a processor with faster random numbers than torch's, whose drawing takes most of dropout's time there."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from xeval.engine.fast_path.acting_as import acting_as

_STEPS = 2**16  # rates are exact to within 1 / 2**17, and at least 1 / 2**16


def scaled_mask(shape: torch.Size, rate: float, dtype: torch.dtype) -> torch.Tensor:
    """Return 1 / (1 − rate) where a number stays and 0 where it is dropped, seeded from torch's generator."""
    seed = int(torch.randint(2**62, ()))
    n_words = -(-shape.numel() // 4)  # of 64 bits, enough to decide on four numbers each
    drawn = torch.from_numpy(np.random.SFC64(seed).random_raw(n_words).view(np.int16))[: shape.numel()]
    least = max(1, round(rate * _STEPS)) - _STEPS // 2  # that stays
    stays = drawn.ge_(least).view(shape)  # 1 or 0, in place: booleans take several times as long to make and to cast
    if dtype == torch.bfloat16:
        scale = torch.tensor(1 / (1 - rate), dtype=dtype)
        return stays.mul_(int(scale.view(torch.int16))).view(dtype)  # the scale's bits or none, without a cast
    return stays.to(dtype).mul_(1 / (1 - rate))


class _Dropout(torch.nn.Dropout):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0.0 or input.device.type != "cpu":
            return super().forward(input)
        return input * scaled_mask(input.shape, self.p, input.dtype)


@contextmanager
def faster_dropout(model: torch.nn.Module) -> Iterator[None]:
    """While this lasts, the dropout modules of `model` draw their masks with `scaled_mask` on a processor."""
    with acting_as(_Dropout, {module: {} for module in model.modules() if type(module) is torch.nn.Dropout}):
        yield
