"""SIGTERM, which schedulers send before they take a machine away: at once where nothing is lost, else after saving.

And what it is to a process that another one has gone that it shares a training with.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Terminated(BaseException):
    """SIGTERM has arrived. Like KeyboardInterrupt, not an Exception: nobody on the way should take it for a mistake."""


class RankLost(BaseException):
    """Another process has ended, of those that compute together: as Terminated is, not for anybody on the way."""


_state = {"arrived": False, "postponed": False}


def listen() -> None:
    """From now on SIGTERM raises Terminated in the main thread, or later, where it is postponed."""
    _state.update(arrived=False, postponed=False)
    signal.signal(signal.SIGTERM, _on_signal)


def _on_signal(number: int, frame: object) -> None:
    _state["arrived"] = True
    if not _state["postponed"]:
        raise Terminated


@contextmanager
def postponed() -> Iterator[Callable[[], bool]]:
    """While this lasts, SIGTERM does nothing but make what this gives answer True; at its end it raises Terminated."""
    _state["postponed"] = True
    try:
        yield lambda: _state["arrived"]
    finally:
        _state["postponed"] = False
    if _state["arrived"]:
        raise Terminated
