"""Encoded rows ↔ the cache, by a hash of everything that they depend on."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from xeval.cache import cache_home
from xeval.files import write_atomically
from xeval.pair_classification import EncodedPairs

_DIGEST_BYTES = hashlib.sha256().digest_size


def encoded_once(key: str, encode: Callable[[], EncodedPairs]) -> EncodedPairs:
    """The encoded rows of this key, from the cache or by calling `encode` and keeping what it gives."""
    path = cache_home() / "encoded" / f"{key}.npz"
    try:
        content = path.read_bytes()
        arrays, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if hashlib.sha256(arrays).digest() == digest:  # a zip's own checksums do not cover all of it
            with np.load(io.BytesIO(arrays), allow_pickle=False) as loaded:
                return EncodedPairs(**{name: _plain(loaded[name]) for name in loaded.files})
    except (OSError, TypeError):
        pass  # absent, or of another version of xeval
    pairs = encode()
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.nan if value is None else value for name, value in asdict(pairs).items()})
    content = buffer.getvalue()
    write_atomically(path, content + hashlib.sha256(content).digest())
    return pairs


def _plain(array: np.ndarray) -> np.ndarray | float | None:
    if array.ndim:
        return array
    return None if np.isnan(array) else float(array)
