"""JSON in which no object has the same name twice."""

import json
from collections import Counter
from typing import Any

from xeval.support.text import one_line


def parse_json(text: str | bytes) -> Any:
    """Parse `text`.

    Raises ValueError if it is not JSON, or if an object has a name twice, of which Python would silently keep the last.
    """
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]
        raise ValueError(f"names that occur twice: {len(repeated):,}, first {one_line(repr(repeated[0]))[:80]}")
    return content
