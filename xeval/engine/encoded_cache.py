"""Encoded rows ↔ the cache, by a hash of everything that they depend on."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from xeval.kinds.pairs import EncodedPairs
from xeval.support.cache import cache_home
from xeval.support.errors import StoreError
from xeval.support.files import sweep_temporaries, write_atomically

_DIGEST_BYTES = hashlib.sha256().digest_size
_A_DAY = 24 * 3600.0  # no write takes as long, so older temporary files are of processes that died


def encoded_once(key: str, encode: Callable[[], EncodedPairs], say: Callable[[str], None]) -> EncodedPairs:
    """The encoded rows of this key, from the cache or by calling `encode` and keeping what it gives.

    Where they cannot be kept, `say` is told and nothing else is lost.
    """
    path = cache_home() / "encoded" / f"{key}.npz"
    try:
        content = path.read_bytes()
        arrays, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if _digest(key, arrays) == digest:  # a zip's own checksums do not cover all of it
            with np.load(io.BytesIO(arrays), allow_pickle=False) as loaded:
                fields: dict[str, Any] = {name: _plain(loaded[name]) for name in loaded.files}
                return EncodedPairs(**fields)
    except (OSError, TypeError, ValueError):
        pass  # absent, of another version of xeval, or with objects in it, which could run code when they are loaded
    pairs = encode()
    buffer = io.BytesIO()
    plain: dict[str, Any] = {name: np.nan if value is None else value for name, value in asdict(pairs).items()}
    np.savez(buffer, **plain)
    content = buffer.getvalue()
    try:
        write_atomically(path, content + _digest(key, content))
        sweep_temporaries(path.parent, older_than_s=_A_DAY)
    except StoreError as error:
        say(f"encoded rows are not kept for the next run ({error})")
    return pairs


def _digest(key: str, arrays: bytes) -> bytes:
    """Of the content and of what it is of, so that a file under another one's name is no match."""
    return hashlib.sha256(key.encode() + arrays).digest()


def _plain(array: np.ndarray) -> np.ndarray | float | None:
    if array.ndim:
        return array
    return None if np.isnan(array) else float(array)
