"""The bundle in use: where its file is and where it has been unpacked.

Both are in environment variables, so that every thread of this process and every process that it starts sees them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_FILE, _FOLDER = "_XEVAL_BUNDLE_FILE", "_XEVAL_BUNDLE_FOLDER"


@dataclass(frozen=True)
class Unpacked:
    """A bundle whose checksums have been verified."""

    path: Path  # of the file
    folder: Path


def unpacked() -> Unpacked | None:
    path, folder = os.environ.get(_FILE), os.environ.get(_FOLDER)
    return Unpacked(Path(path), Path(folder)) if path and folder else None


@contextmanager
def using(bundle: Unpacked) -> Iterator[None]:
    """Make `unpacked` return `bundle` during the block, and afterwards what it returned before."""
    before = {name: os.environ.get(name) for name in (_FILE, _FOLDER)}
    os.environ.update({_FILE: str(bundle.path.absolute()), _FOLDER: str(bundle.folder.absolute())})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
