"""RunRecord ↔ disk.

`results/<task>/<model>/<recipe>-seed<N>-<hash8>/` holds `record.json` and `predictions/<language>.parquet`. A file
appears whole or not at all, and a prediction file is in its place before the record speaks of it.
"""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from xeval.errors import StoreError
from xeval.records import RunRecord
from xeval.schema import first_complaint


def run_folder(results: Path, task: str, model_id: str, recipe: str, seed: int, identity: str) -> Path:
    """Where the run of this identity lies."""
    return results / safe_name(task) / safe_name(model_id) / f"{safe_name(recipe)}-seed{seed}-{identity[:8]}"


def safe_name(name: str) -> str:
    """`organisation/name` as one folder's name; nothing in it can lead out of the results folder."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name.replace("/", "--")).lstrip(".") or "_"


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader, or a crash, sees the old file or the new one and nothing between."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; mend that and run the command again") from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` against other processes that would work on the same run; the kernel frees it if this one dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StoreError(f"{folder}: cannot be used for results: {error.strerror}; choose another --results") from error


def save_record(folder: Path, record: RunRecord) -> None:
    write_atomically(folder / "record.json", (record.model_dump_json(indent=1) + "\n").encode())


def load_record(folder: Path) -> RunRecord | None:
    """The record in `folder`; None where there is none yet. Raises StoreError for a damaged one."""
    path = folder / "record.json"
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise StoreError(f"{path}: {first_complaint(error)}; remove the folder to compute this run again") from error


def load_records(results: Path) -> list[tuple[Path, RunRecord]]:
    """Every run under `results` with its folder, in the order of the folders' names."""
    folders = sorted(path.parent for path in results.glob("*/*/*/record.json"))
    return [(folder, record) for folder in folders if (record := load_record(folder)) is not None]
