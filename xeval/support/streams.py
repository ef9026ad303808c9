"""Standard output and standard error that may fail without costing any work.

A terminal may be closed, a pipe's reader may end, the disk of a log may be full.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class _Lasting:
    """A stream that discards everything after one of `errors`."""

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
    """Make `stream` discard everything from now on, including what it still had to write."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def open_closed() -> None:
    """Open the standard streams that the shell has closed, leading nowhere.

    Otherwise the next file that is opened would take such a stream's number, and what libraries print would go into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  for as long as the process lasts
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  as above


@contextmanager
def lasting() -> Iterator[None]:
    """Ignore, during the block, that a reader has gone, and anything that goes wrong on standard error.

    A full disk under standard output is still an error, since the requested output is then missing.
    """
    own = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Lasting(own[0], BrokenPipeError), _Lasting(own[1], OSError, ValueError)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stdout, sys.stderr = own
