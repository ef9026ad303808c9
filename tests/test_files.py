"""Files appear whole or not at all, and one process at a time works in a folder."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from xeval.support import files
from xeval.support.errors import StoreError

# ── writing whole or not at all ──


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("breaks", ["os.fsync", "pathlib.Path.replace", "tempfile.mkstemp"])
@pytest.mark.parametrize("before", [b"the old content", None])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, breaks, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(breaks, no_space)
    with pytest.raises(StoreError, match="No space left on device") as refused:
        files.write_atomically(path, b"the new content")
    assert str(refused.value).startswith(f"{path}: cannot be written") and "\n" not in str(refused.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({} if before is None else {"file": before})


def test_a_write_that_is_interrupted_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"the old content")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(tmp_path / "file", b"the new content")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"file": b"the old content"}


def test_content_is_on_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    happened, fsync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (happened.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (happened.append("replace"), replace(self, to))[1])
    files.write_atomically(tmp_path / "file", b"new")
    assert happened == ["fsync", "replace", "fsync"]  # the last one is the folder's
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_results_folder_that_cannot_be_used_is_reported_in_one_line(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StoreError) as refused, files.locked(tmp_path / "results" / "run"):
        pass
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"{tmp_path / 'results' / 'run'}: cannot be worked in")


# ── two processes ──

HOLD = """
import sys
from pathlib import Path
from xeval.support.files import locked
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


def start_waiting(folder: Path) -> tuple[threading.Thread, threading.Event]:
    entered = threading.Event()

    def work() -> None:
        with files.locked(folder):
            entered.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, entered


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
    with files.locked(tmp_path / "another run"):
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
    with files.locked(tmp_path):
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".lock", "record.json", "notes.tmp"}


def test_the_lock_is_given_back_when_the_work_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.locked(tmp_path):
        raise KeyboardInterrupt
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_error_of_the_work_itself_is_not_put_down_to_the_results_folder(tmp_path):
    with pytest.raises(ConnectionResetError), files.locked(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "the hub went away")
