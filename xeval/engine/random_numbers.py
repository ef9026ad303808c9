"""torch's random numbers, which all threads of a process draw from."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# A thread that seeds them while another one trains would give that one other numbers than its seed does.
_drawing = threading.RLock()


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """While this lasts, random numbers are those of `seed`; other threads wait with theirs."""
    with _drawing:
        torch.manual_seed(seed)
        yield
