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
