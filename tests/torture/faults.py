"""Controls faults.c from a process that has loaded it before its other libraries."""

import ctypes
from pathlib import Path


def arm(folder: Path, nth: int, error: int) -> None:
    """Make the `nth` file operation below `folder`, and all after it, fail with `error`; 0 kills."""
    ctypes.CDLL(None).faults_arm(str(folder).encode(), ctypes.c_long(nth), error)


def operations() -> int:
    """How many file operations there have been since `arm`."""
    seen = ctypes.CDLL(None).faults_seen
    seen.restype = ctypes.c_long
    return seen()


def tear(folder: Path, one_stale_in: int) -> None:
    """From now on, for this process, `folder` is on a torn network file system: no locks, no flushing of folders, no
    changes of mode, and one file in `one_stale_in` that is asked for is stale."""
    ctypes.CDLL(None).faults_tear(str(folder).encode(), ctypes.c_uint(one_stale_in))


def stale_answers() -> int:
    """How many stale answers there have been since `tear`."""
    seen = ctypes.CDLL(None).faults_stale_seen
    seen.restype = ctypes.c_long
    return seen()
