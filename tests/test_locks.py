"""Only one process at a time works in a folder, and a process that waits reports it."""

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
    """Another process that holds the run in tmp_path/run until its standard input is closed."""
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


def test_second_process_waits_for_the_first(tmp_path, other_process):
    thread, entered = start_waiting(tmp_path / "run")
    assert not entered.wait(0.3)
    other_process.stdin.close()
    assert entered.wait(20)
    thread.join(20)


def test_killed_process_frees_its_run(tmp_path, other_process):
    thread, entered = start_waiting(tmp_path / "run")
    assert not entered.wait(0.1)
    other_process.kill()
    assert entered.wait(20)
    thread.join(20)


def test_another_run_is_not_kept_waiting(tmp_path, other_process):
    with locks.locked(tmp_path / "another run"):
        pass


def test_lock_is_retaken_if_its_folder_was_removed(tmp_path, other_process):
    thread, entered = start_waiting(tmp_path / "run")
    assert not entered.wait(0.3)
    shutil.rmtree(tmp_path / "run")
    other_process.stdin.close()
    assert entered.wait(20)
    thread.join(20)
    assert (tmp_path / "run" / ".lock").is_file()


def test_only_leftover_temporary_files_are_removed(tmp_path):
    """The next process in the folder sweeps up what a killed one left."""
    for name in (".record.json.abc.tmp", "predictions/.de.parquet.x_1.tmp", "record.json", "notes.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with locks.locked(tmp_path):
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".lock", "record.json", "notes.tmp"}


def test_lock_is_released_when_the_work_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), locks.locked(tmp_path):
        raise KeyboardInterrupt
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_errors_of_the_work_are_passed_on_unchanged(tmp_path):
    """They are not blamed on the results folder."""
    with pytest.raises(ConnectionResetError), locks.locked(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "the hub went away")


# ── what a waiting process reports ──


def said(lines: list[str], n: int) -> list[str]:
    """The first `n` lines, once they have arrived."""
    end_s = time.monotonic() + 20
    while len(lines) < n and time.monotonic() < end_s:
        time.sleep(0.01)
    return lines[:n]


def test_waiting_process_repeatedly_names_the_holder(tmp_path, other_process, monkeypatch):
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


def test_waiting_is_reported_on_stderr_by_default(tmp_path, other_process):
    waiting = "from xeval.support import locks; locks.SAID_AFTER_S = 0.1\n" + HOLD
    process = subprocess.Popen([sys.executable, "-c", waiting, tmp_path / "run"], stderr=subprocess.PIPE, text=True)
    try:
        assert f"run: in use by process {other_process.pid} on" in process.stderr.readline()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_free_lock_prints_nothing(tmp_path):
    with locks.locked(tmp_path, pytest.fail):
        pass


# ── folders that cannot be locked ──


def test_unusable_results_folder_is_reported_in_one_line(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StoreError) as refused, locks.locked(tmp_path / "results" / "run"):
        pass
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"{tmp_path / 'results' / 'run'}: cannot be used")


def test_broken_link_as_results_folder_is_reported(tmp_path):
    (tmp_path / "results").symlink_to(tmp_path / "not" / "mounted")
    with pytest.raises(StoreError, match=r"results: a link to .*/not/mounted, which does not exist"):
        locks.locked(tmp_path / "results" / "task" / "run").__enter__()


def test_left_lock_file_does_not_name_the_machine(tmp_path):
    with locks.locked(tmp_path):
        assert (tmp_path / ".lock").read_text(encoding="utf-8").startswith(f"process {os.getpid()} on ")
    assert (tmp_path / ".lock").read_bytes() == b""


def test_intact_link_above_the_folder_is_not_blamed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "run").write_text("a file")
    with pytest.raises(StoreError, match=r"results/run: cannot be used: File exists; fix that"):
        locks.locked(tmp_path / "results" / "run").__enter__()
