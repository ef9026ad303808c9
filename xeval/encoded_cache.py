"""Encoded rows ↔ the cache, by a hash of everything that they depend on."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from xeval.cache import cache_home
from xeval.pair_classification import EncodedPairs
from xeval.store import write_atomically


def encoded_once(key: str, encode: Callable[[], EncodedPairs]) -> EncodedPairs:
    """The encoded rows of this key, from the cache or by calling `encode` and keeping what it gives."""
    path = cache_home() / "encoded" / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return EncodedPairs(**{name: _plain(arrays[name]) for name in arrays.files})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        pass  # absent, or damaged (a zip carries checksums): encoded again
    pairs = encode()
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.nan if value is None else value for name, value in asdict(pairs).items()})
    write_atomically(path, buffer.getvalue())
    return pairs


def _plain(array: np.ndarray) -> np.ndarray | float | None:
    if array.ndim:
        return array
    return None if np.isnan(array) else float(array)
