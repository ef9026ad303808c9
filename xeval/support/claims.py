"""Folders that one process at a time works in, on file systems that have no locks.

The process that works in a folder has a file in its `.claim`, named by a random token. This file is its heartbeat: a
thread rewrites it every few seconds. `.claim` appears with that file in it, by renaming a folder, which cannot replace
one that is not empty. An old heartbeat belongs to a process that was killed. Another process takes it over by renaming
the file from the old token to its own, which only one of several can do. The age is measured by the file system's own
clock, since the clocks of two machines differ. A process that was suspended for that long finds its file gone, and
stops writing.
"""

import json
import os
import platform
import secrets
import shutil
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from xeval.support.errors import ClaimError, StoreError
from xeval.support.files import found_in, retried

RENEWED_EVERY_S = 10.0
STALE_AFTER_S = 60.0  # without a heartbeat


def place_of(folder: Path) -> Path:
    """Return where the claim of `folder` is. It stays there, empty, after the work, to show that claims count here."""
    return folder / ".claim"


class Claim:
    """This process's claim of `folder`, from `take` to `release`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._place, self._token = folder, place_of(folder), secrets.token_hex(16)
        self._waiting = folder / f".claim-{self._token}"  # renamed to the place, if that is free
        self._heartbeat = self._place / self._token
        self._ended = threading.Event()

    def take(self) -> bool:
        """Try to claim the folder; return whether it is now this process's. Raises OSError if it cannot be written."""
        retried(self._offer)
        with suppress(OSError):  # most often since another process has it; what counts is whose heartbeat is there now
            self._waiting.rename(self._place)
        if not retried(self._heartbeat.exists):
            self._take_over()
            if not retried(self._heartbeat.exists):
                return False
        self._sweep()
        threading.Thread(target=self._go_on, name="heartbeat", daemon=True).start()
        return True

    def holder(self) -> str:
        """Return, in words, the process that has the folder."""
        for path in self._heartbeats():
            with suppress(OSError, ValueError, KeyError, TypeError):
                content = json.loads(path.read_text(encoding="utf-8"))
                return f"process {content['pid']} on {content['host']}"
        return "another process"

    def check(self) -> None:
        """Raise ClaimError if the folder has been taken over meanwhile, StoreError if that cannot be determined."""
        try:
            retried(self._renew)
        except FileNotFoundError as error:
            raise ClaimError(
                f"{self._folder}: {self.holder()} is working in it now, since this process was inactive for more than"
                f" {STALE_AFTER_S:.0f} s; finished work is kept, and the same command resumes from there"
            ) from error
        except OSError as error:
            raise StoreError(f"{self._folder}: cannot be used: {error.strerror}; run the command again") from error

    def release(self) -> None:
        """Let the next process in, and remove the rest of a claim that was not obtained."""
        self._ended.set()
        with suppress(OSError):  # gone with the folder, or taken over
            retried(self._heartbeat.unlink)
        shutil.rmtree(self._waiting, ignore_errors=True)

    def _offer(self) -> None:
        self._waiting.mkdir(exist_ok=True)
        self._write(self._waiting / self._token, os.O_CREAT)

    def _take_over(self) -> None:
        """Take over an old heartbeat: rewrite it first, so that no other process takes it over, then rename it."""
        for path in self._heartbeats():
            with suppress(OSError):  # its process has ended, or another process was faster
                if self._age_s(path) > STALE_AFTER_S:
                    self._write(path)
                    path.rename(self._heartbeat)
                    self._write(self._heartbeat)

    def _heartbeats(self) -> list[Path]:
        try:
            paths = retried(lambda: list(self._place.iterdir()))
        except OSError:
            return []
        return [path for path in paths if not path.name.startswith(".")]  # NFS's names for removed files still open

    def _age_s(self, path: Path) -> float:
        """Return the age of `path` by the file system's clock, which has just dated this process's own offer."""
        return retried(lambda: _modified_s(self._waiting / self._token) - _modified_s(path))

    def _go_on(self) -> None:
        while not self._ended.wait(RENEWED_EVERY_S):
            with suppress(OSError):  # `check` reports it when it matters
                self._renew()

    def _renew(self) -> None:
        self._write(self._heartbeat)

    def _write(self, path: Path, or_create: int = 0) -> None:
        content = {
            "pid": os.getpid(),
            "host": platform.node(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "token": self._token,
        }
        # Overwrite the content without emptying the file first: a waiting process may read it at any moment.
        descriptor = os.open(path, os.O_WRONLY | or_create, 0o644)
        try:
            os.ftruncate(descriptor, os.write(descriptor, json.dumps(content).encode()))
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove the offers of processes that were killed while they waited."""
        shutil.rmtree(self._waiting, ignore_errors=True)
        for path in found_in(self._folder, ".claim-*"):
            with suppress(OSError):
                if _modified_s(self._heartbeat) - _modified_s(path) > STALE_AFTER_S:
                    shutil.rmtree(path, ignore_errors=True)


def _modified_s(path: Path) -> float:
    """Return the server's current time of change: NFS caches what `stat` says, but asks again when a file is opened."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
