"""Torch's modes as a new process has them, whatever the program that calls xeval has set."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from xeval.support.process_settings import ProcessSetting


def _set_float32() -> torch.dtype:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    return usual


_FLOAT32 = ProcessSetting(_set_float32, torch.set_default_dtype)  # of all threads, unlike the other two modes


@contextmanager
def usual_modes() -> Iterator[None]:
    """During the block, compute gradients, and make new tensors in float32 and on the processor.

    Without gradients, nothing can be trained; with another dtype or device, a seed gives another head.
    """
    is_on_processor = torch.get_default_device().type == "cpu"
    with (
        torch.inference_mode(False),  # which turns gradients on as well
        _FLOAT32.changed(),
        nullcontext() if is_on_processor else torch.device("cpu"),
    ):
        yield
