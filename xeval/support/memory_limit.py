"""A limit on the memory that a library may take to read an untrusted file."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# The limit is the whole process's. Without this lock, the first of two threads to leave would lift the limit of the
# other, which would then restore the first one's limit for good.
_limited = threading.RLock()


def mapped_bytes() -> int:
    """Return how much of this process's memory RLIMIT_DATA counts. Raises OSError if that cannot be found out."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.findall(r"VmData:\s+(\d+)", status)[0])


@contextmanager
def at_most(n_bytes: int) -> Iterator[None]:
    """Have the kernel refuse this process, during the block, more than `n_bytes` beyond what it has, where it can.

    A library that is refused memory raises an error of some kind. Other threads are refused memory too, and have to
    wait to set a limit of their own.
    """
    with _limited:
        before = _lower(n_bytes)
        try:
            yield
        finally:
            if before is not None:
                resource.setrlimit(resource.RLIMIT_DATA, before)


def _lower(n_bytes: int) -> tuple[int, int] | None:
    """Set the limit and return what it was before; None if it stays as it was."""
    with suppress(OSError, ValueError, AttributeError):  # no /proc, a stricter limit already, or no limits at all
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = mapped_bytes() + n_bytes
        if soft in (resource.RLIM_INFINITY, -1) or most < soft:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
            return soft, hard
    return None
