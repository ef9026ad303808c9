"""Values that consist of NumPy arrays and take time to make ↔ the cache, by a hash of all that they depend on."""

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from xeval.support.cache import Part, cache_home
from xeval.support.errors import StoreError
from xeval.support.files import read_ordinary, sweep_temporaries, write_atomically

_DIGEST_BYTES = hashlib.sha256().digest_size
_A_DAY = 24 * 3600.0  # no write takes as long, so older temporary files are of processes that died
_T = TypeVar("_T")


def made_once(
    part: Part,
    key: str,
    make: Callable[[], _T],
    as_arrays: Callable[[_T], Mapping[str, np.ndarray]],
    of_arrays: Callable[[dict[str, np.ndarray]], _T],
) -> tuple[_T, StoreError | None]:
    """Return the value for this key, from a part of the cache or else by calling `make` and keeping the result.

    Also return the error if the result cannot be kept, or None.
    """
    path = cache_home() / part / f"{key}.npz"
    try:
        content = read_ordinary(path)
        packed, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if digest_of(key, packed) == digest:  # a zip's own checksums do not cover all of it
            with np.load(io.BytesIO(packed), allow_pickle=False) as loaded:
                return of_arrays({name: loaded[name] for name in loaded.files}), None
    except (OSError, TypeError, ValueError, KeyError):
        pass  # absent, of another version of xeval, or with objects in it, which could run code when they are loaded
    made = make()
    buffer = io.BytesIO()
    arrays: dict[str, Any] = dict(as_arrays(made))
    np.savez(buffer, **arrays)
    packed = buffer.getvalue()
    try:
        write_atomically(path, packed + digest_of(key, packed))
        sweep_temporaries(path.parent, older_than_s=_A_DAY)
    except StoreError as error:
        return made, error
    return made, None


def digest_of(key: str, packed: bytes) -> bytes:
    """Return the hash of the content and its key, so that a file under another key's name does not match."""
    return hashlib.sha256(key.encode() + packed).digest()
