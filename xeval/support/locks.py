"""Folders that one process at a time works in."""

import errno
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from xeval.support.errors import StoreError
from xeval.support.files import sweep_temporaries
from xeval.support.text import one_line

SAID_AFTER_S = 3.0  # of waiting
SAID_AGAIN_AFTER_S = 600.0
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}

Say = Callable[[str], None]
_to_log: Say = logging.getLogger("xeval").warning  # on standard error, where nobody has set up logging


@contextmanager
def locked(folder: Path, say: Say = _to_log) -> Iterator[None]:
    """Hold `folder` against other processes that would work on the same things; the kernel frees it if this one dies.

    While another process holds it, this one waits, and tells `say` for whom, after seconds and then now and again.
    Temporary files that a process left here when it was killed are swept: nobody else is writing.
    Raises StoreError where the folder cannot be written, or its file system has no locks.
    """
    lock = _take(folder, say)
    try:
        with suppress(OSError):  # it only tells those who wait whom they wait for
            Path(lock.lock_file).write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        sweep_temporaries(folder)
        yield
    finally:
        lock.release()


def _take(folder: Path, say: Say) -> FileLock:
    # Without locks, filelock would fall back on a file that stays behind when its process is killed.
    lock = FileLock(folder / ".lock", fallback_to_soft=False)
    started_s, patience_s = time.monotonic(), SAID_AFTER_S
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # the folder was removed while this process waited
                lock.acquire(timeout=patience_s)
                return lock
        except Timeout:
            waited_s = time.monotonic() - started_s
            say(f"{folder}: in use by {_holder(folder / '.lock')}; waiting for it to end, {waited_s:.0f} s so far")
            patience_s = SAID_AGAIN_AFTER_S
        except OSError as error:
            raise StoreError(f"{folder}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if error.errno in _NO_LOCKS:
        return (
            f"its file system has no locks ({error.strerror}), which keep two processes from writing the same files;"
            " choose a folder on another one, by --results or XEVAL_CACHE"
        )
    return f"cannot be worked in: {error.strerror}; fix that or choose another folder"


def _holder(path: Path) -> str:
    try:
        return one_line(path.read_text(encoding="utf-8", errors="replace"))[:200] or "another process"
    except OSError:
        return "another process"
