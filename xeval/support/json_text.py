"""JSON in which each name stands once."""

import json
from collections import Counter
from typing import Any

from xeval.support.text import one_line


def parse_json(text: str | bytes) -> Any:
    """What `text` says.

    Raises ValueError for what is not JSON, and for a name that an object has twice, of which Python keeps the last in
    silence.
    """
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]
        raise ValueError(f"names that occur twice: {len(repeated):,}, first {one_line(repr(repeated[0]))[:80]}")
    return content
