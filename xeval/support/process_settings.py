"""Settings of the whole process, such as a library's verbosity, that some work needs changed while it lasts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class ProcessSetting(Generic[T]):
    """A setting that is changed while anybody holds it.

    Several threads may hold it at the same time. If each restored what it had found, the last one would restore
    another's change.
    """

    def __init__(self, change: Callable[[], T], put_back: Callable[[T], object]) -> None:
        """`change` returns what `put_back` takes."""
        self._change, self._put_back = change, put_back
        self._lock, self._n_holders = threading.Lock(), 0
        self._usual: T

    @contextmanager
    def changed(self) -> Iterator[None]:
        """Keep the setting changed during the block."""
        with self._lock:
            if self._n_holders == 0:
                self._usual = self._change()
            self._n_holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_holders -= 1
                if self._n_holders == 0:
                    self._put_back(self._usual)
