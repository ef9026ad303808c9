"""Access to torch's random numbers, which all threads of a process draw from."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# If one thread set the seed while another trains, the other would no longer draw the numbers of its own seed.
_drawing = threading.RLock()


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """While this lasts, draw random numbers from `seed`; other threads wait to draw theirs."""
    with _drawing:
        torch.manual_seed(seed)
        yield
