"""One process at a time works in a folder, and who waits says so."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.helpers.waiting import start_waiting
from xeval.support import locks
from xeval.support.errors import StoreError

HOLD = """
import sys
from pathlib import Path
from xeval.support.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """Another process that works on the run in tmp_path/run until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_second_process_on_the_same_run_waits_for_the_first(tmp_path, other_process):
    thread, entered = start_waiting(tmp_path / "run")
    assert not entered.wait(0.3)
    other_process.stdin.close()
    assert entered.wait(20)
    thread.join(20)


def test_a_process_that_is_killed_frees_its_run(tmp_path, other_process):
    thread, entered = start_waiting(tmp_path / "run")
    assert not entered.wait(0.1)
    other_process.kill()
    assert entered.wait(20)
    thread.join(20)


def test_another_run_is_not_kept_waiting(tmp_path, other_process):
    with locks.locked(tmp_path / "another run"):
        pass


def test_a_lock_on_a_folder_that_was_removed_meanwhile_keeps_nobody_out_and_is_taken_anew(tmp_path, other_process):
    thread, entered = start_waiting(tmp_path / "run")
    assert not entered.wait(0.3)
    shutil.rmtree(tmp_path / "run")
    other_process.stdin.close()
    assert entered.wait(20)
    thread.join(20)
    assert (tmp_path / "run" / ".lock").is_file()


def test_what_a_killed_process_left_is_swept_by_the_next_one_in_the_folder_and_nothing_else_is(tmp_path):
    for name in (".record.json.abc.tmp", "predictions/.de.parquet.x_1.tmp", "record.json", "notes.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with locks.locked(tmp_path):
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".lock", "record.json", "notes.tmp"}


def test_the_lock_is_given_back_when_the_work_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), locks.locked(tmp_path):
        raise KeyboardInterrupt
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_error_of_the_work_itself_is_not_put_down_to_the_results_folder(tmp_path):
    with pytest.raises(ConnectionResetError), locks.locked(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "the hub went away")


# ── who waits says so ──


def said(lines: list[str], n: int) -> list[str]:
    """The first `n` lines, once they are there."""
    end_s = time.monotonic() + 20
    while len(lines) < n and time.monotonic() < end_s:
        time.sleep(0.01)
    return lines[:n]


def test_who_waits_says_for_whom_and_how_long_and_says_it_again(tmp_path, other_process, monkeypatch):
    monkeypatch.setattr(locks, "SAID_AFTER_S", 0.1)
    monkeypatch.setattr(locks, "SAID_AGAIN_AFTER_S", 1.0)
    lines: list[str] = []
    thread, entered = start_waiting(tmp_path / "run", lines.append)
    name = f"{tmp_path / 'run'}: in use by process {other_process.pid} on {os.uname().nodename}"
    assert said(lines, 2) == [f"{name}; waiting for it to end, {waited_s} s so far" for waited_s in (0, 1)]
    assert not entered.is_set()
    other_process.stdin.close()
    assert entered.wait(20)
    thread.join(20)


def test_without_anyone_to_tell_it_is_said_on_standard_error(tmp_path, other_process):
    waiting = "from xeval.support import locks; locks.SAID_AFTER_S = 0.1\n" + HOLD
    process = subprocess.Popen([sys.executable, "-c", waiting, tmp_path / "run"], stderr=subprocess.PIPE, text=True)
    try:
        assert f"run: in use by process {other_process.pid} on" in process.stderr.readline()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_nothing_is_said_where_nobody_is_in_the_way(tmp_path):
    with locks.locked(tmp_path, pytest.fail):
        pass


# ── folders that cannot be locked ──


def test_a_results_folder_that_cannot_be_used_is_reported_in_one_line(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StoreError) as refused, locks.locked(tmp_path / "results" / "run"):
        pass
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"{tmp_path / 'results' / 'run'}: cannot be used")
