"""Ending by SIGTERM, Ctrl-C or a closed terminal: immediately if nothing is lost, otherwise after saving.

Schedulers send SIGTERM before they take a machine away. A second Ctrl-C does not wait.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


class Terminated(BaseException):
    """The process was asked to end, and whatever would be lost has been saved.

    Like KeyboardInterrupt, this is not an Exception, so that no handler on the way takes it for a fault.
    """


class RankLost(BaseException):
    """One of the processes that compute together has ended. Like Terminated, this is not for handlers on the way."""


@dataclass
class _State:
    arrived: int | None = None  # the signal that asked for the end
    is_postponed: bool = False


_state = _State()
_HANGUP = getattr(signal, "SIGHUP", None)  # which Windows does not have
_HINT = b"\nending once the training is saved; press Ctrl-C again to stop at once\n"


def listen() -> None:
    """Make SIGTERM, and the closing of the terminal, raise Terminated in the main thread: now or, if postponed, later.

    The first Ctrl-C does the same if it is postponed; any other raises KeyboardInterrupt, as always. If the shell makes
    this process ignore Ctrl-C or the closing of the terminal, that stays ignored.
    """
    _state.arrived, _state.is_postponed = None, False
    signal.signal(signal.SIGTERM, _on_termination)
    if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:  # as it is under nohup
        signal.signal(_HANGUP, _on_termination)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)


def ended_by() -> tuple[str, int]:
    """Return what asked the process to end, in words, and the exit code that says so."""
    number = _state.arrived or signal.SIGTERM
    names = {signal.SIGINT: "interrupted", _HANGUP: "its terminal was closed"}
    return names.get(number, "terminated by SIGTERM"), 128 + number


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
    """Postpone the end of the process until the end of the block, which then raises Terminated.

    Yield a function that returns whether the process has been asked to end. A block inside another leaves raising to
    the outer one.
    """
    is_inner, _state.is_postponed = _state.is_postponed, True
    try:
        yield lambda: _state.arrived is not None
    finally:
        _state.is_postponed = is_inner
    if _state.arrived is not None and not is_inner:
        raise Terminated
