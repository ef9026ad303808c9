"""Sentences of the microcosm and the same ones in English, for retrieval-mini."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xeval.data.microcosm import world
from xeval.data.microcosm.lexicon import ALL, load
from xeval.data.microcosm.realise import realise
from xeval.data.microcosm.world import Statement

SEED = 20191226
SIZE = 400


@cache
def statements() -> tuple[Statement, ...]:
    """Return the statements, the same in every language. No two have the same words in any, so none is ambiguous."""
    rng, lexicons = random.Random(SEED), [load(language) for language in ALL]
    drawn: list[Statement] = []
    known: set[tuple[str, str]] = set()
    while len(drawn) < SIZE:
        statement = world.random_statement(rng, negated=0.15, detail=0.7)
        words = {(lexicon.code, realise(statement, lexicon)) for lexicon in lexicons}
        if not words & known:
            drawn.append(statement)
            known |= words
    return tuple(drawn)


def rows(language: str) -> list[tuple[str, str]]:
    """Return (English, the same in `language`); row i says the same in every language."""
    lexicon, english = load(language), load("en")
    return [(realise(statement, english), realise(statement, lexicon)) for statement in statements()]


def write_corpus(folder: Path, languages: Sequence[str]) -> None:
    """Write the rows of each language in the hub's layout."""
    for language in languages:
        english, texts = zip(*rows(language), strict=True)
        path = Path(folder) / language / "test-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.table({"english": pa.array(english, pa.string()), "text": pa.array(texts, pa.string())}), path
        )
