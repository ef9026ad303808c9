"""Access to torch's random numbers, which all threads of a process draw from."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# If one thread set the seed while another trains, the other would no longer draw the numbers of its own seed.
_drawing = threading.RLock()


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """While this lasts, draw random numbers from `seed`; other threads wait to draw theirs.

    Afterwards, the program that calls xeval draws what it would have drawn without it.
    """
    with _drawing:
        uses_gpus = torch.cuda.is_initialized()
        try:
            with torch.random.fork_rng(range(torch.cuda.device_count()) if uses_gpus else ()):
                torch.manual_seed(seed)
                yield
        finally:
            if not uses_gpus:  # the seed is still to come into effect there
                torch.cuda.manual_seed_all(torch.initial_seed())
