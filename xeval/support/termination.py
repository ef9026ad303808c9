"""SIGTERM and Ctrl-C: at once where nothing is lost, else after saving.

Schedulers send SIGTERM before they take a machine away. A second Ctrl-C does not wait.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


class Terminated(BaseException):
    """The process was asked to end, and what would be lost is saved.

    Like KeyboardInterrupt, not an Exception: nobody on the way should take it for a mistake.
    """


class RankLost(BaseException):
    """Another process has ended, of those that compute together: as Terminated is, not for anybody on the way."""


@dataclass
class _State:
    arrived: int | None = None  # the signal that asked for the end
    is_postponed: bool = False


_state = _State()
_HINT = b"\nending after this step, which is saved; press Ctrl-C again to stop at once\n"


def listen() -> None:
    """From now on SIGTERM raises Terminated in the main thread, or later, where it is postponed.

    So does the first Ctrl-C where it is postponed; any other raises KeyboardInterrupt, as always. Where the shell has
    this process ignore Ctrl-C, it stays ignored.
    """
    _state.arrived, _state.is_postponed = None, False
    signal.signal(signal.SIGTERM, _on_termination)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)


def came_from_keyboard() -> bool:
    """Whether it was Ctrl-C that asked the process to end."""
    return _state.arrived == signal.SIGINT


def _on_termination(number: int, frame: object) -> None:
    _state.arrived = number
    if not _state.is_postponed:
        raise Terminated


def _on_interrupt(number: int, frame: object) -> None:
    if not _state.is_postponed or _state.arrived is not None:
        raise KeyboardInterrupt
    _state.arrived = number
    with suppress(OSError):  # print might be what was interrupted
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _HINT)


@contextmanager
def postponed() -> Iterator[Callable[[], bool]]:
    """While this lasts, both do nothing but make what this gives answer True; at its end it raises Terminated."""
    _state.is_postponed = True
    try:
        yield lambda: _state.arrived is not None
    finally:
        _state.is_postponed = False
    if _state.arrived is not None:
        raise Terminated
