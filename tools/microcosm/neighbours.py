"""Statements that differ from a given one in a single place, so that a reader has to look twice."""

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import astuple, replace
from typing import Any

import numpy as np

from xeval.data.microcosm.world import SLOTS, SYNONYM_OF, Fact, Statement


class Neighbours:
    """Finds, for a row of a list of statements, another row that says almost but not quite the same."""

    def __init__(self, statements: list[Statement]) -> None:
        self._meanings = [tuple(_meaning(fact) for fact in statement) for statement in statements]
        self._rows: dict[Hashable, list[int]] = defaultdict(list)
        for row, statement in enumerate(self._meanings):
            for key in _keys(statement):
                self._rows[key].append(row)

    def of(self, row: int, limit: int, rng: np.random.Generator) -> int:
        """Return a row below `limit` with another meaning: one that differs in a single place if there is any."""
        meaning = self._meanings[row]
        keys = list(_keys(meaning))
        for index in rng.permutation(len(keys)):
            rows = self._rows[keys[index]]
            candidates = rows[: int(np.searchsorted(rows, limit))]
            others = [other for other in candidates if self._meanings[other] != meaning]
            if others:
                return others[rng.integers(len(others))]
        while self._meanings[neighbour := int(rng.integers(limit))] == meaning:
            pass
        return neighbour


def _meaning(fact: Fact) -> Fact:
    """Return the fact with one word for each group of synonyms, so that synonyms make no difference."""
    words: dict[str, Any] = {
        slot: min(word, SYNONYM_OF.get(word, word)) for slot in SLOTS if (word := getattr(fact, slot))
    }
    return replace(fact, **words)


def _keys(statement: Statement) -> Iterator[Hashable]:
    """Yield the statement with each place left open in turn; if it has two facts, also with either fact left open."""
    for index, fact in enumerate(statement):
        rest = (statement[:index], statement[index + 1 :])
        if len(statement) > 1:
            yield index, "fact", rest
        yield index, "negated", rest, astuple(replace(fact, negated=False))
        for slot in SLOTS:
            opened: dict[str, Any] = {slot: ""}
            yield index, slot, rest, astuple(replace(fact, **opened))
