"""What a text says next about the same scene: one of its facts again, in words that say no more than before."""

import random
from dataclasses import replace
from typing import Any

from xeval.data.microcosm.corpus import held_out
from xeval.data.microcosm.world import KIND_OF, OPTIONAL, SYNONYM_OF, Fact, Statement

DETAIL_DROPPED, MORE_GENERAL, SYNONYM = 0.3, 0.5, 0.5  # probabilities, for each slot that allows it


def restatements(statements: list[Statement], seed: int) -> list[Statement]:
    """Return a restatement of each statement, or the statement itself if the restatement is in validation or test."""
    rng, forbidden = random.Random(f"{seed} restatements"), held_out()
    restated = (restate(statement, rng) for statement in statements)
    return [again if again not in forbidden else whole for whole, again in zip(statements, restated, strict=True)]


def restate(statement: Statement, rng: random.Random) -> Statement:
    """Return one fact of `statement`, with details left out and synonyms or more general words for the same things."""
    fact = rng.choice(statement)
    if fact.negated:
        return (fact,)  # what is not true of the dog may be true of another animal
    changes: dict[str, Any] = {
        slot: "" for slot in ("place", "time") if _may_be_empty(fact, slot) and rng.random() < DETAIL_DROPPED
    }
    for slot in ("subject", "object", "predicate"):
        word = getattr(fact, slot)
        if word in SYNONYM_OF and rng.random() < SYNONYM:
            changes[slot] = SYNONYM_OF[word]
        elif word in KIND_OF and rng.random() < MORE_GENERAL:
            changes[slot] = KIND_OF[word]
    return (replace(fact, **changes),)


def _may_be_empty(fact: Fact, slot: str) -> bool:
    return (fact.pattern, slot) in OPTIONAL
