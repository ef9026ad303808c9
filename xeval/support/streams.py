"""Standard output and standard error, whatever becomes of them: words that nobody reads any more cost no work.

A terminal is closed, a pipe's reader ends, the disk that a log is on is full.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class _Lasting:
    """A stream that leads nowhere after one of `errors`."""

    def __init__(self, stream: TextIO, *errors: type[Exception]) -> None:
        self._stream, self._errors = stream, errors

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except self._errors:
            lead_nowhere(self._stream)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except self._errors:
            lead_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lead_nowhere(stream: TextIO) -> None:
    """From now on `stream` takes everything and keeps nothing, also what it still had to write."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def open_closed() -> None:
    """Where the shell has closed a standard stream, the next file that is opened would take its number, and what
    libraries print would go into that file."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  for as long as the process lasts
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  as above


@contextmanager
def lasting() -> Iterator[None]:
    """While this lasts, a reader who has gone is not an error, and nothing that goes wrong on standard error is one.

    A full disk under standard output is: what was asked for is not there then.
    """
    own = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Lasting(own[0], BrokenPipeError), _Lasting(own[1], OSError, ValueError)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stdout, sys.stderr = own
