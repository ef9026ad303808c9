"""Several batches computed at the same time on a processor, each with its own share of the threads.

Threads that divide every operation of one batch pass its states to each other all the time, and wait for each other
(docs/explanation/where-time-goes.md).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from xeval.support.freed_memory import give_back_freed_memory

_MOST = 4  # batches, since each takes memory

T = TypeVar("T")
R = TypeVar("R")


def n_at_once(n_batches: int) -> int:
    """Return how many of these batches to compute at the same time; at least twice as many are needed."""
    n_threads = torch.get_num_threads()
    most = min(n_threads, _MOST, n_batches // 2)
    return max(range(1, most + 1), key=lambda n: (n_threads // n * n, n), default=1)


def results_at_once(compute: Callable[[T], R], batches: Sequence[T], n: int) -> Iterator[R]:
    """Yield what `compute` returns for each of `batches`, in their order; `n` are computed at the same time.

    Gradients and autocast are on or off as they are for the caller. After an error, no other batch is begun.
    """
    n_threads = torch.get_num_threads()
    modes = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    pool = ThreadPoolExecutor(n, initializer=_begin, initargs=(n_threads // n, *modes))
    waiting: deque[Future[R]] = deque()
    give_back_freed_memory()  # each thread has its own, which no other can use
    try:
        for batch in batches:
            waiting.append(pool.submit(compute, batch))
            if len(waiting) == 2 * n:  # not all of them, since a program that is interrupted waits for those that run
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        give_back_freed_memory()
        torch.set_num_threads(n_threads)


def _begin(n_threads: int, is_grad_enabled: bool, is_autocast_enabled: bool, autocast_dtype: torch.dtype) -> None:
    """Prepare a new thread, since each has its own number of threads to divide work among, and its own modes."""
    torch.get_num_threads()  # a new thread forgets the number that is set before it is first read
    torch.set_num_threads(n_threads)
    torch.set_grad_enabled(is_grad_enabled)
    torch.set_autocast_enabled("cpu", is_autocast_enabled)
    torch.set_autocast_dtype("cpu", autocast_dtype)
