"""Folders that are complete or not used: a manifest with the checksums of their files is written last.

The manifest is in the format of `sha256sum`, so `sha256sum --check SHA256SUMS` in the folder shows what is damaged.
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
    is_there,
    read_ordinary,
    retried,
    sync_folder,
    visible,
    write_atomically,
)

MANIFEST = "SHA256SUMS"
MAX_MANIFEST_BYTES = 50_000_000  # enough for some 400,000 files
_PARTIAL = ".partial"


@contextmanager
def sealing(folder: Path) -> Iterator[Path]:
    """Yield a new folder to write into; when the block ends, seal it and put it in the place of `folder`.

    The caller holds a lock that keeps others from writing the same folder. Raises OSError, and leaves `folder` as it
    was, if something cannot be written.
    """
    finish_sealing(folder)
    partial = partial_of(folder)
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    try:
        retried(lambda: partial.mkdir(parents=True, exist_ok=True))
        yield partial
        _seal(partial)
        check_guards(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    retried(lambda: partial.replace(folder))  # if this fails, only the sealed folder is left, for `finish_sealing`
    retried(lambda: sync_folder(folder.parent))


def finish_sealing(folder: Path) -> None:
    """Put the folder that was sealed for `folder` in its place, if a process was killed just before doing that.

    Otherwise the new content would be lost, and with it any old content that was taken over into it.
    """
    partial = partial_of(folder)
    if is_there(partial) and checksums(folder) is None and checksums(partial) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        retried(lambda: partial.replace(folder))


def copy_sealed(source: Path, target: Path) -> None:
    """Replace `target` by a copy of the sealed folder `source`. Raises OSError, also if `source` is damaged."""
    with sealing(target) as partial:
        for path in _files(source):
            copy = partial / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy_file(path, copy)
        if manifest_of(partial) != read_ordinary(source / MANIFEST, MAX_MANIFEST_BYTES):
            raise OSError(errno.EIO, f"{source} is damaged")


def partial_of(folder: Path) -> Path:
    """Return where the new content of `folder` is written before it is sealed."""
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
    """Return name → SHA-256 of every file of a sealed folder; None unless exactly those files are there, unchanged."""
    try:
        checksum_of = _checksums(folder)
        manifest = read_ordinary(folder / MANIFEST, MAX_MANIFEST_BYTES)
    except OSError:
        return None
    return checksum_of if checksum_of and manifest == _manifest(checksum_of) else None


def manifest_of(folder: Path) -> bytes:
    """Return the manifest that `folder` would get if it were sealed as it is."""
    return _manifest(_checksums(folder))


def _manifest(checksum_of: dict[str, str]) -> bytes:
    return "".join(f"{checksum}  {name}\n" for name, checksum in checksum_of.items()).encode()


def _checksums(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return [path for path in visible(folder, "**/*") if retried(path.is_file) and path.name != MANIFEST]
