"""faults.c, as a process that has it before its other libraries commands it."""

import ctypes
from pathlib import Path


def arm(folder: Path, nth: int, error: int) -> None:
    """Let the `nth` file operation below `folder`, and all after it, fail with `error`; 0 kills."""
    ctypes.CDLL(None).faults_arm(str(folder).encode(), ctypes.c_long(nth), error)


def operations() -> int:
    """How many file operations there have been since `arm`."""
    seen = ctypes.CDLL(None).faults_seen
    seen.restype = ctypes.c_long
    return seen()


def tear(folder: Path, one_stale_in: int) -> None:
    """From now on `folder` lies on a torn network file system, for this process: no locks, no flushing of folders, no
    changing of modes, and one in so many times a file that is asked for is stale."""
    ctypes.CDLL(None).faults_tear(str(folder).encode(), ctypes.c_uint(one_stale_in))


def stale_answers() -> int:
    """How many there have been since `tear`."""
    seen = ctypes.CDLL(None).faults_stale_seen
    seen.restype = ctypes.c_long
    return seen()
