"""Files appear whole or not at all."""

import errno
import os
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
