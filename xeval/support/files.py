"""Files that appear whole or not at all, and names that stay inside."""

import errno
import hashlib
import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from xeval.support.errors import StoreError

_TEMPORARY = ".tmp"


def safe_name(name: str) -> str:
    """`organisation/name` as one folder's name; nothing in it can lead out of the results folder."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name.replace("/", "--")).lstrip(".") or "_"


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader, or a crash, sees the old file or the new one and nothing between."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_TEMPORARY)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # mkstemp's own mode shuts others out of shared results
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; fix that and run the command again") from error


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_ordinary(path: Path, max_bytes: int) -> None:
    """Raise OSError for a pipe or a device, which could keep a reader for ever, and for a file of more than
    `max_bytes`."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")
    if status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")


def read_ordinary(path: Path, max_bytes: int) -> bytes:
    """The content of `path`. Raises OSError as `check_ordinary` does."""
    check_ordinary(path, max_bytes)
    return path.read_bytes()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep_temporaries(folder: Path, older_than_s: float = 0.0) -> None:
    """Remove what `write_atomically` leaves in `folder` and below it when its process is killed."""
    now = time.time()
    for path in folder.rglob(f".*{_TEMPORARY}"):
        with suppress(OSError):  # another process may be sweeping too
            if now - path.stat().st_mtime >= older_than_s:
                path.unlink()
