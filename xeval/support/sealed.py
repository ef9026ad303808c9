"""Folders that are whole or not used: the checksums of their files stand in a manifest that is written last.

The manifest is what `sha256sum` writes, so `sha256sum --check SHA256SUMS` in the folder says what is damaged.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xeval.support.files import (
    check_guards,
    copy_file,
    file_sha256,
    found_in,
    is_there,
    read_ordinary,
    retried,
    sync_folder,
    write_atomically,
)

MANIFEST = "SHA256SUMS"
MAX_MANIFEST_BYTES = 50_000_000  # of some 400,000 files
_PARTIAL = ".partial"


@contextmanager
def sealing(folder: Path) -> Iterator[Path]:
    """Give a new folder to write into; when the block ends it is sealed and takes the place of `folder`.

    Whoever calls this holds a lock that keeps others from writing the same folder. Raises OSError, and leaves `folder`
    as it was, when something cannot be written.
    """
    finish_sealing(folder)
    partial = partial_of(folder)
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        retried(lambda: partial.mkdir(parents=True, exist_ok=True))
        yield partial
        _seal(partial)
        check_guards(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    retried(lambda: partial.replace(folder))  # if that fails, the sealed one is all there is, for `finish_sealing`
    retried(lambda: sync_folder(folder.parent))


def finish_sealing(folder: Path) -> None:
    """Put what was sealed for `folder` in its place, where a process was killed just before it had done that.

    Without this, what of the old content stands in the new one would be lost with it.
    """
    partial = partial_of(folder)
    if is_there(partial) and checksums(folder) is None and checksums(partial) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        retried(lambda: partial.replace(folder))


def copy_sealed(source: Path, target: Path) -> None:
    """Put a copy of the sealed folder `source` in the place of `target`. Raises OSError, also if it is not whole."""
    with sealing(target) as partial:
        for path in _files(source):
            copy = partial / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy_file(path, copy)
        if manifest_of(partial) != read_ordinary(source / MANIFEST, MAX_MANIFEST_BYTES):
            raise OSError(errno.EIO, f"{source} is damaged")


def partial_of(folder: Path) -> Path:
    """Where what is to become `folder` is written."""
    return folder.with_name(folder.name + _PARTIAL)


def _seal(folder: Path) -> None:
    for path in _files(folder):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    manifest = manifest_of(folder)
    if len(manifest) > MAX_MANIFEST_BYTES:
        raise OSError(errno.EFBIG, f"checksums of its files would take more than {MAX_MANIFEST_BYTES:,} bytes")
    write_atomically(folder / MANIFEST, manifest)


def checksums(folder: Path) -> dict[str, str] | None:
    """The SHA-256 of every file of a sealed folder by its name; None unless all are there, as written, and no more."""
    try:
        checksum_of = _checksums(folder)
        manifest = read_ordinary(folder / MANIFEST, MAX_MANIFEST_BYTES)
    except OSError:
        return None
    return checksum_of if checksum_of and manifest == _manifest(checksum_of) else None


def manifest_of(folder: Path) -> bytes:
    """What the manifest of `folder` would be, were it sealed as it is."""
    return _manifest(_checksums(folder))


def _manifest(checksum_of: dict[str, str]) -> bytes:
    return "".join(f"{checksum}  {name}\n" for name, checksum in checksum_of.items()).encode()


def _checksums(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return [path for path in found_in(folder, "**/*") if retried(path.is_file) and path.name != MANIFEST]
