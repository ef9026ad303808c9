"""Files are written whole or not at all."""

import errno
import os
import stat
import time
from pathlib import Path

import pytest

from xeval.support import files
from xeval.support.cache import can_be_written
from xeval.support.errors import StoreError
from xeval.support.sealed import checksums, copy_sealed, finish_sealing, partial_of, sealing

# ── atomic writes ──


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("breaks", ["os.fsync", "pathlib.Path.replace", "os.open"])
@pytest.mark.parametrize("before", [b"the old content", None])
def test_failed_write_keeps_the_old_content(tmp_path, monkeypatch, breaks, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(breaks, no_space)
    with pytest.raises(StoreError, match="No space left on device") as refused:
        files.write_atomically(path, b"the new content")
    assert str(refused.value).startswith(f"{path}: cannot be written") and "\n" not in str(refused.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({} if before is None else {"file": before})


def test_interrupted_write_keeps_the_old_content(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"the old content")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(tmp_path / "file", b"the new content")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"file": b"the old content"}


def test_content_is_flushed_before_the_rename(tmp_path, monkeypatch):
    happened, fsync, replace = [], os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (happened.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (happened.append("replace"), replace(self, to))[1])
    files.write_atomically(tmp_path / "file", b"new")
    assert happened == ["fsync", "replace", "fsync"]  # the last one is the folder's
    assert (tmp_path / "file").read_bytes() == b"new"


# ── what file systems lack, and what network file systems forget ──


def failing(call, number: int, times: int = 10**9):
    """`call`, which fails with this error the first `times` times."""
    left = [times]

    def fails(*arguments, **options):
        if left[0] > 0:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return call(*arguments, **options)

    return fails


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_files_are_written_if_folders_cannot_be_flushed(tmp_path, monkeypatch, number):
    fsync = os.fsync

    def flush(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    files.write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_file_that_cannot_be_flushed_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(os.fsync, errno.EINVAL))
    with pytest.raises(StoreError, match="cannot be written: Invalid argument"):
        files.write_atomically(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("times", [1, 3])
def test_stale_file_handles_are_retried(tmp_path, monkeypatch, times):
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fdopen", failing(os.fdopen, errno.ESTALE, times))
    assert files.read_ordinary(tmp_path / "file", 100) == b"old"
    monkeypatch.setattr(Path, "replace", failing(Path.replace, errno.ESTALE, times))
    files.write_atomically(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"new"}


def test_stale_cache_folder_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_dir", failing(Path.is_dir, errno.ESTALE, times=1))
    assert can_be_written(tmp_path)


def test_lasting_stale_handle_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", failing(Path.replace, errno.ESTALE))
    with pytest.raises(StoreError) as refused:
        files.write_atomically(tmp_path / "file", b"new")
    assert str(refused.value).startswith(f"{tmp_path / 'file'}: cannot be written: Stale file handle; ")
    assert "\n" not in str(refused.value)


def test_other_errors_are_not_tried_again(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fdopen", failing(os.fdopen, errno.EIO, 1))
    with pytest.raises(OSError, match="Input/output error"):
        files.read_ordinary(tmp_path / "file", 10**9)


def test_output_to_a_redirected_stream_joins_what_it_has(tmp_path, monkeypatch):
    """As in `xeval report --output /dev/stdout >> log`, where the stream is an ordinary file."""
    with (tmp_path / "log").open("w") as log:
        log.write("before\n")
        monkeypatch.setattr("sys.stdout", log)
        files.write_output(Path(f"/dev/fd/{log.fileno()}"), b"report\n")
        log.write("after\n")
    assert (tmp_path / "log").read_text() == "before\nreport\nafter\n"


def test_damaged_sealed_folder_is_not_copied(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        with sealing(folder) as partial:
            (partial / "file").write_text(folder.name)
    (source / "file").write_text("changed")
    with pytest.raises(OSError, match="source is damaged"):
        copy_sealed(source, target)
    assert checksums(target) and (target / "file").read_text() == "target"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_half_written_folder_does_not_replace_a_damaged_one(tmp_path):
    """Neither is whole; people may still need what is left of the old one."""
    with sealing(tmp_path / "folder") as partial:
        (partial / "file").write_text("old")
    (tmp_path / "folder" / "file").write_text("damaged")
    partial_of(tmp_path / "folder").mkdir()
    (partial_of(tmp_path / "folder") / "file").write_text("ha")
    finish_sealing(tmp_path / "folder")
    assert (tmp_path / "folder" / "file").read_text() == "damaged"


def test_young_temporaries_of_others_stay_in_a_shared_folder(tmp_path):
    for name in (".old.tmp", ".young.tmp"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".old.tmp", (time.time() - 100,) * 2)
    files.sweep_temporaries(tmp_path, older_than_s=50)
    assert [path.name for path in tmp_path.iterdir()] == [".young.tmp"]
