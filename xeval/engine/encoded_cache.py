"""Encoded rows ↔ the cache, under a hash of everything that they depend on."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from xeval.kinds.encoded import Encoded
from xeval.kinds.tokenization import Tokenization
from xeval.support.kept_arrays import made_once

_NUMBERS = list(Tokenization.model_fields)


def encoded_once(key: str, encode: Callable[[], Encoded], say: Callable[[str], None]) -> Encoded:
    """Return the encoded rows of this key, from the cache or by calling `encode` and keeping its result.

    If the rows cannot be kept, `say` is told, and nothing else is lost.
    """
    encoded, problem = made_once("encoded", key, encode, _packed, _unpacked)
    if problem is not None:
        say(f"encoded rows could not be kept for the next run ({problem})")
    return encoded


def _packed(encoded: Encoded) -> dict[str, np.ndarray]:
    numbers = encoded.tokenization.model_dump()
    columns: dict[str, Any] = {field.name: getattr(encoded, field.name) for field in fields(Encoded)}
    columns = {name: column for name, column in columns.items() if column is not None}  # None makes an object array
    columns["tokenization"] = np.array([np.nan if numbers[name] is None else numbers[name] for name in _NUMBERS])
    return columns


def _unpacked(columns: dict[str, Any]) -> Encoded:
    numbers = [None if np.isnan(number) else float(number) for number in columns["tokenization"]]
    columns["tokenization"] = Tokenization.model_validate(dict(zip(_NUMBERS, numbers, strict=True)))
    return Encoded(**columns)
