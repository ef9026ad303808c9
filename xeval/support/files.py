"""Files that appear complete or not at all, and names that cannot lead out of a folder."""

import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from xeval.support.errors import StoreError

MAX_BYTES = 1_000_000_000_000  # of any file

_TEMPORARY = ".tmp"
_PAUSES_S = (0.02, 0.1, 0.5)  # before further attempts
_T = TypeVar("_T")
_guards: dict[object, tuple[Path, Callable[[], None]]] = {}


def safe_name(name: str) -> str:
    """Return `organisation/name` as a single folder name that cannot lead out of the results folder."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name.replace("/", "--")).lstrip(".") or "_"


def in_home(path: str | os.PathLike[str]) -> Path:
    """Return `path` with a leading ~ replaced. Raises StoreError if there is no such home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # pathlib's
        raise StoreError(f"{path}: there is no such home folder; write the path in full") from error


def end_of_links(path: Path) -> Path:
    """Return the absolute path that `path` leads to, which need not exist. Raises StoreError for circular links."""
    end = Path(os.path.realpath(path))  # unlike Path.resolve, the same in all versions of Python
    with suppress(OSError):
        end.stat()
        return end
    if any(map(os.path.islink, (end, *end.parents))):
        raise StoreError(f"{path}: a link that leads to itself; name another")
    return end


def retried(act: Callable[[], _T]) -> _T:
    """Call `act`, which must be safe to repeat, and return its result.

    It is called again, a few times, if a network file system has meanwhile forgotten the file (ESTALE): the next time,
    the file system asks the server. Raises OSError as `act` does.
    """
    for pause_s in _PAUSES_S:
        try:
            return act()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        time.sleep(pause_s)
    return act()


def found_in(folder: Path, pattern: str) -> list[Path]:
    """Return the paths below `folder` that match `pattern`, in order."""
    return retried(lambda: sorted(folder.glob(pattern)))


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the same without hidden ones, which nobody put there on purpose.

    macOS leaves `.DS_Store` and `._name`, Jupyter `.ipynb_checkpoints`, editors `.#name`, NFS `.nfs…`.
    """
    paths = found_in(folder, pattern)
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def is_there(path: Path) -> bool:
    return retried(path.exists)


@contextmanager
def guarded(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Call `check`, during the block, before this process puts any file in place below `folder`.

    `check` raises XevalError if this process may no longer write there.
    """
    key = object()
    _guards[key] = (folder.absolute(), check)
    try:
        yield
    finally:
        del _guards[key]


def check_guards(path: Path) -> None:
    """Call the checks of all guarded folders that contain `path`."""
    for folder, check in list(_guards.values()):
        if path.absolute().is_relative_to(folder):
            check()


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that readers, also after a crash, find the old file or the new one, nothing between.

    A link there is replaced, and its target stays. `write_output` is for paths that people name.
    """
    try:
        retried(lambda: _write(path, content))
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; fix that and run the command again") from error


def write_output(path: Path, content: bytes) -> None:
    """Write `content` to a path that the user named: into a pipe or a device, or else as `write_atomically` does.

    A link stays, and the file that it leads to is written.
    """
    try:
        status = path.stat()
    except OSError:
        status = None  # there is no file yet; any other reason shows when the file is written
    if status is None or (stat.S_ISREG(status.st_mode) and _standard_stream(status) is None):
        return write_atomically(end_of_links(path), content)
    try:
        stream = _standard_stream(status)
        with os.fdopen(os.dup(stream), "wb") if stream is not None else path.open("wb") as file:
            file.write(content)
    except BrokenPipeError:
        raise  # the reader has gone
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; name another") from error


def _standard_stream(status: os.stat_result) -> int | None:
    """Return the descriptor of the standard stream that this is, as /dev/stdout is one; None for anything else."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or not a file
            stream.flush()
            if os.path.samestat(status, os.fstat(stream.fileno())):
                return stream.fileno()
    return None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}{_TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # less what the umask takes away
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        check_guards(path)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def _without(*numbers: int) -> Iterator[None]:
    """Ignore that a file system lacks a feature: it answers with one of these numbers, or that it is not supported."""
    try:
        yield
    except OSError as error:
        if error.errno not in {*numbers, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk, if the file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with _without(errno.EINVAL):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def opened(path: Path, max_bytes: int = MAX_BYTES) -> io.BufferedReader:
    """Open `path` for reading.

    Raises OSError for a pipe or a device, which could block a reader for ever, and for a file of more than `max_bytes`.
    """
    waits_not = getattr(os, "O_NONBLOCK", 0)  # for a process to write into a pipe
    file = os.fdopen(os.open(path, os.O_RDONLY | waits_not), "rb")
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not an ordinary file")
        if status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")
    except OSError:
        file.close()
        raise
    return file


def check_ordinary(path: Path, max_bytes: int) -> None:
    """Raise OSError as `opened` does, for a file that a library opens itself."""
    if not path.is_dir():
        with opened(path, max_bytes):
            pass


def read_ordinary(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of `path`. Raises OSError as `opened` does."""
    return retried(lambda: _read(path, max_bytes))


def _read(path: Path, max_bytes: int) -> bytes:
    with opened(path, max_bytes) as file:
        return file.read()


def file_sha256(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Return the SHA-256 of the file at `path`. Raises OSError as `opened` does."""
    return retried(lambda: _sha256(path, max_bytes))


def _sha256(path: Path, max_bytes: int) -> str:
    with opened(path, max_bytes) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(source: Path, target: Path) -> None:
    """Copy the content of `source` into `target`, which nobody reads yet."""
    retried(lambda: shutil.copyfile(source, target))


def sweep_temporaries(folder: Path, older_than_s: float = 0.0) -> None:
    """Remove the temporary files that `write_atomically` leaves in and below `folder` when its process is killed."""
    now, paths = time.time(), list[Path]()
    with suppress(OSError):  # another process may be sweeping too
        paths = found_in(folder, f"**/.*{_TEMPORARY}")
    for path in paths:
        with suppress(OSError):
            if now - path.stat().st_mtime >= older_than_s:
                path.unlink()
