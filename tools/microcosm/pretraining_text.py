"""Text to pretrain on: statements that are in neither the validation nor the test split, said in any language."""

from __future__ import annotations

import random

from xeval.data.microcosm.corpus import SEED, held_out
from xeval.data.microcosm.lexicon import load
from xeval.data.microcosm.realise import realise
from xeval.data.microcosm.world import Statement, random_statement


def pretraining_statements(count: int, seed: int = SEED, double: float = 0.5) -> list[Statement]:
    """Draw ``count`` different statements, single facts and pairs of facts, none of them held out.

    Statements are language-independent: realise the same one in two languages for a translation pair.
    A longer list begins with the shorter one of the same seed.
    """
    rng = random.Random(f"{seed} pretraining")
    forbidden = held_out(seed)
    drawn: dict[Statement, None] = {}
    while len(drawn) < count:
        statement = random_statement(rng, double=double)
        if statement not in forbidden:
            drawn[statement] = None
    return list(drawn)


def sentences(statements: list[Statement], language: str) -> list[str]:
    """Return the statements in one language, in the same order."""
    lexicon = load(language)
    return [realise(statement, lexicon) for statement in statements]
