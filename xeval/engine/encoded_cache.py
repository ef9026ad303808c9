"""Encoded rows ↔ the cache, by a hash of everything that they depend on."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from xeval.kinds.encoded import Encoded
from xeval.kinds.tokenization import Tokenization
from xeval.support.cache import cache_home
from xeval.support.errors import StoreError
from xeval.support.files import read_ordinary, sweep_temporaries, write_atomically

_DIGEST_BYTES = hashlib.sha256().digest_size
_A_DAY = 24 * 3600.0  # no write takes as long, so older temporary files are of processes that died
_NUMBERS = list(Tokenization.model_fields)


def encoded_once(key: str, encode: Callable[[], Encoded], say: Callable[[str], None]) -> Encoded:
    """The encoded rows of this key, from the cache or by calling `encode` and keeping what it gives.

    Where they cannot be kept, `say` is told and nothing else is lost.
    """
    path = cache_home() / "encoded" / f"{key}.npz"
    try:
        content = read_ordinary(path)
        arrays, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if _digest(key, arrays) == digest:  # a zip's own checksums do not cover all of it
            return _unpacked(arrays)
    except (OSError, TypeError, ValueError, KeyError):
        pass  # absent, of another version of xeval, or with objects in it, which could run code when they are loaded
    encoded = encode()
    arrays = _packed(encoded)
    try:
        write_atomically(path, arrays + _digest(key, arrays))
        sweep_temporaries(path.parent, older_than_s=_A_DAY)
    except StoreError as error:
        say(f"encoded rows are not kept for the next run ({error})")
    return encoded


def _packed(encoded: Encoded) -> bytes:
    numbers = encoded.tokenization.model_dump()
    columns: dict[str, Any] = {field.name: getattr(encoded, field.name) for field in fields(Encoded)}
    columns = {name: column for name, column in columns.items() if column is not None}  # it would be an object
    columns["tokenization"] = np.array([np.nan if numbers[name] is None else numbers[name] for name in _NUMBERS])
    buffer = io.BytesIO()
    np.savez(buffer, **columns)
    return buffer.getvalue()


def _unpacked(arrays: bytes) -> Encoded:
    with np.load(io.BytesIO(arrays), allow_pickle=False) as loaded:
        columns: dict[str, Any] = {name: loaded[name] for name in loaded.files}
    numbers = [None if np.isnan(number) else float(number) for number in columns["tokenization"]]
    columns["tokenization"] = Tokenization.model_validate(dict(zip(_NUMBERS, numbers, strict=True)))
    return Encoded(**columns)


def _digest(key: str, arrays: bytes) -> bytes:
    """Of the content and of what it is of, so that a file under another one's name is no match."""
    return hashlib.sha256(key.encode() + arrays).digest()
