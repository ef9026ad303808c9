"""A limit to the memory that a library may take on behalf of a stranger's file."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# The limit is the process's: of two threads, the first to leave would lift the other's, which would then put it back.
_limited = threading.RLock()


def mapped_bytes() -> int:
    """How much of this process's memory RLIMIT_DATA counts. Raises OSError where nothing tells."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.findall(r"VmData:\s+(\d+)", status)[0])


@contextmanager
def at_most(n_bytes: int) -> Iterator[None]:
    """While this lasts, the kernel refuses this process more than `n_bytes` beyond what it has, where it can.

    A library that was refused says so by an error, of whatever kind. Other threads are refused too, and wait with a
    limit of their own.
    """
    with _limited:
        before = _lower(n_bytes)
        try:
            yield
        finally:
            if before is not None:
                resource.setrlimit(resource.RLIMIT_DATA, before)


def _lower(n_bytes: int) -> tuple[int, int] | None:
    """Set the limit, and return what it was before; None where it stays as it was."""
    with suppress(OSError, ValueError, AttributeError):  # no /proc, a stricter limit already, or no limits at all
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = mapped_bytes() + n_bytes
        if soft in (resource.RLIM_INFINITY, -1) or most < soft:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
            return soft, hard
    return None
