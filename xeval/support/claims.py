"""Folders that one process at a time works in, on file systems that have no locks.

Whoever works in a folder has a file in its `.claim`, called by a random token, which a thread writes again every few
seconds: its heartbeat. `.claim` appears with that file in it, by the renaming of a folder, which cannot take the place
of one that holds something. A heartbeat that is old is of a process that was killed: it is taken over by renaming the
file from the old token to one's own, which only one of several can do. How old it is is read off the file system's own
clock, since those of two machines differ. A process that stood still for so long finds that its file is gone, and does
not write any more.
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
    """Where the claim of `folder` lies. It stays there, empty, when the work has ended: claims are what counts here."""
    return folder / ".claim"


class Claim:
    """This process's claim of `folder`, from `take` to `release`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._place, self._token = folder, place_of(folder), secrets.token_hex(16)
        self._waiting = folder / f".claim-{self._token}"  # becomes the place, if that is free
        self._heartbeat = self._place / self._token
        self._ended = threading.Event()

    def take(self) -> bool:
        """Whether the folder is this process's now. Raises OSError where nothing can be written."""
        retried(self._offer)
        with suppress(OSError):  # most often since somebody has it; what counts is whether it is there now
            self._waiting.rename(self._place)
        if not retried(self._heartbeat.exists):
            self._take_over()
            if not retried(self._heartbeat.exists):
                return False
        self._sweep()
        threading.Thread(target=self._go_on, name="heartbeat", daemon=True).start()
        return True

    def holder(self) -> str:
        """For whom one waits."""
        for path in self._heartbeats():
            with suppress(OSError, ValueError, KeyError, TypeError):
                content = json.loads(path.read_text(encoding="utf-8"))
                return f"process {content['pid']} on {content['host']}"
        return "another process"

    def check(self) -> None:
        """Raise ClaimError if the folder has been taken over meanwhile, StoreError if that cannot be found out."""
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
        """Let the next one in; also what is left of a claim that was not taken is removed."""
        self._ended.set()
        with suppress(OSError):  # gone with the folder, or taken over
            retried(self._heartbeat.unlink)
        shutil.rmtree(self._waiting, ignore_errors=True)

    def _offer(self) -> None:
        self._waiting.mkdir(exist_ok=True)
        self._write(self._waiting / self._token, os.O_CREAT)

    def _take_over(self) -> None:
        """Take over a heartbeat that is old: made young first, so that nobody takes it from here, then renamed."""
        for path in self._heartbeats():
            with suppress(OSError):  # it has ended, or somebody else was faster
                if self._age_s(path) > STALE_AFTER_S:
                    self._write(path)
                    path.rename(self._heartbeat)
                    self._write(self._heartbeat)

    def _heartbeats(self) -> list[Path]:
        try:
            paths = retried(lambda: list(self._place.iterdir()))
        except OSError:
            return []
        return [path for path in paths if not path.name.startswith(".")]  # as NFS calls what somebody still reads

    def _age_s(self, path: Path) -> float:
        """By the clock that has just dated what this process offers."""
        return retried(lambda: _modified_s(self._waiting / self._token) - _modified_s(path))

    def _go_on(self) -> None:
        while not self._ended.wait(RENEWED_EVERY_S):
            with suppress(OSError):  # `check` says so when it matters
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
        # What was there is written over, never emptied first: whoever waits may read it at any moment.
        descriptor = os.open(path, os.O_WRONLY | or_create, 0o644)
        try:
            os.ftruncate(descriptor, os.write(descriptor, json.dumps(content).encode()))
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what processes offered that were killed while they waited."""
        shutil.rmtree(self._waiting, ignore_errors=True)
        for path in found_in(self._folder, ".claim-*"):
            with suppress(OSError):
                if _modified_s(self._heartbeat) - _modified_s(path) > STALE_AFTER_S:
                    shutil.rmtree(path, ignore_errors=True)


def _modified_s(path: Path) -> float:
    """As the server has it now: NFS remembers what `stat` said, but asks again when a file is opened."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
