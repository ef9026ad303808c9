"""Freed memory that stays with the process, instead of going back to the system and coming again as zeroed pages.

A training step frees and allocates hundreds of megabytes; fresh pages for them took 7 to 10 % of its time in bfloat16
(docs/explanation/where-time-goes.md). The setting changes the whole process, so it is for the command line, whose
process is xeval's own, and not for the library.
"""

import ctypes
import sys
from collections.abc import Callable

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # https://man7.org/linux/man-pages/man3/mallopt.3.html
_KEPT_BYTES, _LARGEST_KEPT_BYTES = 2**31 - 1, 2**30


def keep_freed_memory() -> None:
    """Keep up to 2 GiB of freed memory, in blocks of up to 1 GiB, if the C library has such a setting."""
    if mallopt := _in_c_library("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_freed_memory() -> None:
    """Return all freed memory to the system, if the C library can.

    https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    if malloc_trim := _in_c_library("malloc_trim"):
        malloc_trim(0)


def _in_c_library(name: str) -> Callable[..., int] | None:
    """Return this function of the C library, if it has one; musl's has neither of these."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
