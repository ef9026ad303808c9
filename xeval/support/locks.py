"""Folders that one process at a time works in."""

import errno
import logging
import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from xeval.support.claims import Claim, place_of
from xeval.support.errors import StoreError
from xeval.support.files import guarded, is_there, retried, sweep_temporaries
from xeval.support.text import one_line

SAID_AFTER_S = 3.0  # seconds of waiting
SAID_AGAIN_AFTER_S = 600.0
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
_POLLED_EVERY_S = (0.1, 0.5)  # drawn between these, so that waiting processes do not all ask at the same time

Say = Callable[[str], None]
_to_log: Say = logging.getLogger("xeval").warning  # on standard error, unless logging has been set up


@contextmanager
def locked(folder: Path, say: Say = _to_log) -> Iterator[None]:
    """Lock `folder` against other processes that would work in it; the kernel unlocks it if this process dies.

    While another process holds it, this one waits and tells `say` which process that is, after some seconds and then
    now and again. If the file system has no locks, or a process found none before, the folder is claimed instead
    (`xeval.support.claims`). Temporary files left here by killed processes are removed, since nobody else is writing.
    Raises StoreError if the folder cannot be written. Writing in it raises ClaimError once another process has taken it
    over.
    """
    lock = _take(folder, say)
    try:
        if lock is None or is_there(place_of(folder)):
            with _claimed(folder, say):
                sweep_temporaries(folder)
                yield
        else:
            with suppress(OSError):  # it only tells waiting processes which process they wait for
                Path(lock.lock_file).write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
            sweep_temporaries(folder)
            yield
    finally:
        if lock is not None:
            with suppress(OSError):  # results are published with this file, which need not name the machine
                os.truncate(lock.lock_file, 0)
            lock.release()


@contextmanager
def held_in_cache(folder: Path, say: Say = _to_log) -> Iterator[None]:
    """Lock `folder`, which is in the cache, if possible. If the cache is full or closed, say so and go on without."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder, say))
        except StoreError as error:
            say(f"{error}; this run continues without the cache")
        yield


def _take(folder: Path, say: Say) -> FileLock | None:
    """Take the kernel's lock; return None if the file system has none."""
    # Without locks, filelock would fall back on a file that stays behind when its process is killed.
    lock = FileLock(folder / ".lock", fallback_to_soft=False)
    waiting = _Waiting(folder, say)
    while True:
        try:
            retried(lambda: folder.mkdir(parents=True, exist_ok=True))
            with suppress(FileNotFoundError):  # the folder was removed while this process waited
                retried(lambda: lock.acquire(timeout=waiting.patience_s))
                return lock
        except Timeout:
            waiting.say_for(_holder(folder / ".lock"))
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return None
            raise StoreError(_not_to_be_worked_in(folder, error)) from error


@contextmanager
def _claimed(folder: Path, say: Say) -> Iterator[None]:
    claim, waiting = Claim(folder), _Waiting(folder, say)
    try:
        try:
            while not claim.take():
                if waiting.is_long():
                    waiting.say_for(claim.holder())
                time.sleep(random.uniform(*_POLLED_EVERY_S))
                retried(lambda: folder.mkdir(parents=True, exist_ok=True))
        except OSError as error:
            raise StoreError(_not_to_be_worked_in(folder, error)) from error
        with guarded(folder, claim.check):
            yield
    finally:
        claim.release()


class _Waiting:
    """Tells, now and again, how long this process has waited for `folder`."""

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder, self._say = folder, say
        self._started_s = self._said_s = time.monotonic()
        self.patience_s = SAID_AFTER_S

    def is_long(self) -> bool:
        return time.monotonic() - self._said_s >= self.patience_s

    def say_for(self, holder: str) -> None:
        self._said_s, self.patience_s = time.monotonic(), SAID_AGAIN_AFTER_S
        waited_s = self._said_s - self._started_s
        self._say(f"{self._folder}: in use by {holder}; waiting for it to end, {waited_s:.0f} s so far")


def _not_to_be_worked_in(folder: Path, error: OSError) -> str:
    nowhere = next(filter(_leads_nowhere, (folder, *folder.parents)), None)
    if nowhere is not None:  # the system would say that the file exists
        end = one_line(os.path.realpath(nowhere))
        return f"{nowhere}: a link to {end}, which does not exist; make that folder, or mount its disk"
    return f"{folder}: cannot be used: {error.strerror}; fix that or choose another folder"


def _leads_nowhere(path: Path) -> bool:
    try:
        return path.is_symlink() and not is_there(path)
    except OSError:  # it is below a closed folder, as the system's own message says
        return False


def _holder(path: Path) -> str:
    try:
        return one_line(path.read_text(encoding="utf-8", errors="replace"))[:200] or "another process"
    except OSError:
        return "another process"
