"""Folders that one process at a time works in, on file systems without locks."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.waiting import start_waiting
from xeval.support import claims, locks
from xeval.support.errors import ClaimError

# A process without flock. The code that uses the folder is appended.
BEGIN = """
import errno, fcntl, os, sys, time
from pathlib import Path
from xeval.support import claims, locks
from xeval.support.errors import XevalError
from xeval.support.files import write_atomically

def flock(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

fcntl.flock = flock
claims.RENEWED_EVERY_S, claims.STALE_AFTER_S = 0.1, 1.0
folder = Path(sys.argv[1])
"""
HOLD = """
with locks.locked(folder):
    print("held", flush=True)
    sys.stdin.readline()
    try:
        write_atomically(folder / "mine", b"mine")
        print("written", flush=True)
    except XevalError as error:
        print(type(error).__name__, error, flush=True)
"""
COUNT = """
path, rounds = folder / "count", 0
while rounds < 10:
    with locks.locked(folder):
        number = int(path.read_text() or 0) if path.exists() else 0
        time.sleep(0.002)
        path.write_text(str(number + 1))
        rounds += 1
"""
TAKE = """
with locks.locked(folder), (folder / "log").open("a") as log:
    log.write(f"in {os.getpid()}\\n"); log.flush()
    time.sleep(0.1)
    log.write(f"out {os.getpid()}\\n")
"""


@pytest.fixture
def start():
    """`start(code, folder)` starts a process without flock, which ends with the test."""
    processes = []

    def begin(code: str, folder: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", BEGIN + code, folder]
        processes.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def holder(start, tmp_path) -> subprocess.Popen:
    """A process that holds its claim of tmp_path/run until it reads a line."""
    process = start(HOLD, tmp_path / "run")
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def no_locks(monkeypatch):
    """This process has no locks either, and takes over claims at the same age as the others."""

    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(claims, "RENEWED_EVERY_S", 0.1)
    monkeypatch.setattr(claims, "STALE_AFTER_S", 1.0)


def let_go(process: subprocess.Popen) -> str:
    """Let the process go on, and return the line that it prints."""
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().rstrip("\n")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_folder_without_locks_is_claimed_and_released(tmp_path, monkeypatch, number):
    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in range(2):
        with locks.locked(tmp_path / "run", pytest.fail):
            assert len(list(claims.place_of(tmp_path / "run").iterdir())) == 1
        assert list(claims.place_of(tmp_path / "run").iterdir()) == []
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".claim", ".lock"}


def test_waiting_process_names_the_holder(tmp_path, holder, no_locks, monkeypatch):
    monkeypatch.setattr(locks, "SAID_AFTER_S", 0.1)
    lines: list[str] = []
    thread, entered = start_waiting(tmp_path / "run", lines.append)
    assert not entered.wait(2), "its heartbeat goes on, so it is not old after a second"
    assert lines[0].startswith(f"{tmp_path / 'run'}: in use by process {holder.pid} on {os.uname().nodename}; waiting")
    assert let_go(holder) == "written"
    assert entered.wait(20)
    thread.join(20)


def test_process_with_locks_waits_for_one_without(tmp_path, holder):
    thread, entered = start_waiting(tmp_path / "run")
    assert not entered.wait(1)
    let_go(holder)
    assert entered.wait(20)
    thread.join(20)


def test_old_claim_of_a_killed_process_is_taken_over(tmp_path, holder, no_locks):
    holder.kill()
    killed_s = time.monotonic()
    with locks.locked(tmp_path / "run"):
        assert time.monotonic() - killed_s > claims.STALE_AFTER_S / 2


def test_suspended_process_that_lost_its_claim_writes_nothing(tmp_path, holder, no_locks):
    holder.send_signal(signal.SIGSTOP)
    with locks.locked(tmp_path / "run"):
        holder.send_signal(signal.SIGCONT)
        said = let_go(holder)
        assert not (tmp_path / "run" / "mine").exists()
        assert len(list(claims.place_of(tmp_path / "run").iterdir())) == 1
    holder = f"process {os.getpid()} on {os.uname().nodename}"
    assert said.startswith(f"ClaimError {tmp_path / 'run'}: {holder} is working in it")


def test_suspended_process_that_kept_its_claim_goes_on(tmp_path, holder, no_locks):
    holder.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    holder.send_signal(signal.SIGCONT)
    assert let_go(holder) == "written"


def test_folder_is_not_sealed_if_the_claim_was_lost(tmp_path, no_locks):
    from xeval.support.sealed import sealing

    with locks.locked(tmp_path / "run"), pytest.raises(ClaimError), sealing(tmp_path / "run" / "part"):
        [heartbeat] = claims.place_of(tmp_path / "run").iterdir()
        heartbeat.rename(heartbeat.with_name("another's"))
    assert not (tmp_path / "run" / "part").exists()
    (claims.place_of(tmp_path / "run") / "another's").unlink()


def test_only_one_of_many_processes_is_in_a_folder(tmp_path, start):
    processes = [start(COUNT, tmp_path / "run") for _ in range(6)]
    for process in processes:
        assert (process.wait(), process.stderr.read()) == (0, "")
    assert (tmp_path / "run" / "count").read_text() == "60"


def test_waiting_processes_take_over_one_at_a_time(tmp_path, holder, start):
    waiting = [start(TAKE, tmp_path / "run") for _ in range(5)]
    holder.kill()
    for process in waiting:
        assert (process.wait(), process.stderr.read()) == (0, "")
    lines = (tmp_path / "run" / "log").read_text().splitlines()
    pids = [line.split()[1] for line in lines]
    assert [line.split()[0] for line in lines] == ["in", "out"] * 5
    assert pids[::2] == pids[1::2] and set(pids) == {str(process.pid) for process in waiting}


def test_old_leftovers_of_killed_waiters_are_swept(tmp_path, no_locks):
    old, young = tmp_path / ".claim-old", tmp_path / ".claim-young"
    for path in (old, young):
        path.mkdir()
    os.utime(old, (time.time() - 100,) * 2)
    with locks.locked(tmp_path):
        assert young.exists() and not old.exists()
