"""Which bundle is in use: where its file lies and where it has been unpacked.

That stands in the environment, where every thread of this process sees it, and every process that this one starts.
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
    """While this lasts, `unpacked` gives `bundle`; then again what it gave before."""
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
