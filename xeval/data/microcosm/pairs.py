"""Premise, hypothesis, label: the inference relation of xnli-mini and the drawing of triples from it.

Labels follow the reading that XNLI asked its annotators for: premise and hypothesis speak of the same
event and the same individuals ("the animal" of the hypothesis is "the dog" of the premise).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from xeval.data.microcosm import world
from xeval.data.microcosm.world import Fact, Statement

ENTAILMENT, NEUTRAL, CONTRADICTION = LABELS = (0, 1, 2)
SAME, GENERAL, SPECIFIC, OPPOSITE, OTHER = "same", "general", "specific", "opposite", "other"


def compare(premise: str, hypothesis: str, slot: str) -> str:
    """Return how the hypothesis's filler of a slot relates to the premise's; an empty slot is the most general."""
    if hypothesis == premise or world.SYNONYM_OF.get(hypothesis) == premise:
        return SAME
    if not hypothesis or world.KIND_OF.get(premise) == hypothesis:
        return GENERAL
    if not premise or world.KIND_OF.get(hypothesis) == premise:
        return SPECIFIC
    if slot == "place" or hypothesis in world.OPPOSITES.get(premise, ()):
        return OPPOSITE
    return OTHER


def relate(premise: Fact, hypothesis: Fact) -> int | None:
    """Return the label of one fact given another; None if speakers could disagree (such pairs are not used)."""
    if premise.pattern != hypothesis.pattern:
        return _relate_across(premise, hypothesis)
    if premise.negated:
        return _relate_to_negation(premise.positive(), hypothesis)
    label = _relate_positive(premise, hypothesis)
    if hypothesis.negated and label is not None:
        return {ENTAILMENT: CONTRADICTION, CONTRADICTION: ENTAILMENT}.get(label, label)
    return label


def _relations(premise: Fact, hypothesis: Fact) -> dict[str, str]:
    return {s: compare(getattr(premise, s), getattr(hypothesis, s), s) for s in world.PATTERNS[premise.pattern]}


def _relate_positive(premise: Fact, hypothesis: Fact) -> int | None:
    relation = _relations(premise, hypothesis)
    if relation["subject"] == OTHER:
        return NEUTRAL
    if premise.pattern == "count":
        return _relate_counts(relation)
    values = tuple(relation.values())
    if OTHER in (relation.get("time"), relation.get("object")):
        return None  # buys a pear, too? is there in the evening, too?
    if OTHER in values:  # another action or property of the same subject
        return None if OPPOSITE in values else NEUTRAL
    if OPPOSITE in values:
        return None if SPECIFIC in values or values.count(OPPOSITE) > 1 else CONTRADICTION
    return NEUTRAL if SPECIFIC in values else ENTAILMENT


def _relate_counts(relation: dict[str, str]) -> int | None:
    """Three dogs exclude five dogs at the same place, but neither five animals nor dogs elsewhere."""
    if relation["place"] != SAME:
        return NEUTRAL
    if relation["predicate"] != SAME:
        return CONTRADICTION if relation["subject"] == SAME else None
    return NEUTRAL if relation["subject"] == SPECIFIC else ENTAILMENT


def _relate_to_negation(denied: Fact, hypothesis: Fact) -> int | None:
    """Return the label if the premise denies a fact, which denies anything more specific and leaves all else open."""
    relation = _relations(denied, hypothesis)
    if relation["subject"] == OTHER:
        return NEUTRAL
    if relation["subject"] != SAME or relation.get("predicate") == OPPOSITE:
        return None  # "not happy" tempts speakers to "sad"
    if OTHER in (relation.get("time"), relation.get("object")):
        return None
    if set(relation.values()) <= {SAME, SPECIFIC}:
        return ENTAILMENT if hypothesis.negated else CONTRADICTION
    return NEUTRAL


def _relate_across(premise: Fact, hypothesis: Fact) -> int | None:
    """Return the label for facts of different patterns: who acts at a place is at that place; all else is unrelated."""
    if compare(premise.subject, hypothesis.subject, "subject") == OTHER:
        return NEUTRAL
    if "count" in (premise.pattern, hypothesis.pattern):
        return None
    if premise.place and hypothesis.place:
        if hypothesis.pattern == "at" and not premise.negated:
            return relate(Fact("at", premise.subject, place=premise.place, time=premise.time), hypothesis)
        if premise.negated or compare(premise.place, hypothesis.place, "place") != SAME:
            return None
    return NEUTRAL


def label_of(premise: Statement, hypothesis: Fact) -> int | None:
    """Return the label of a hypothesis given a whole premise; None if speakers could disagree."""
    labels = {relate(fact, hypothesis) for fact in premise}
    if None in labels or labels >= {ENTAILMENT, CONTRADICTION}:
        return None
    return next(iter(labels - {NEUTRAL}), NEUTRAL)


@dataclass(frozen=True)
class Triple:
    """A premise with three hypotheses, one of each label, in the order in which they are written."""

    premise: Statement
    hypotheses: tuple[tuple[Fact, int], ...]


# The share of the premises drawn; it is larger among those kept, since two facts offer more hypotheses.
TWO_FACTS = 0.1
DROPPED, CHANGED, FLIPPED = 0.3, (0.2, 0.65, 0.15), 0.04
# How far one label may get ahead of another on a feature: a few, or this share of the count.
_SHAPE, _WORD = (2, 0.03), (3, 0.2)


class Balance:
    """Keeps whatever shows on the surface of a pair equally frequent under the three labels."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], list[int]] = {}

    def lead(self, hypothesis: Fact, label: int) -> float | None:
        """Return how far this label is ahead on the hypothesis's features (the less the better); None if too far."""
        lead = 0.0
        for feature, (few, share) in _features(hypothesis):
            counts = self._seen.get(feature, (0, 0, 0))
            if counts[label] >= min(counts) + few + int(share * min(counts)):
                return None
            lead += counts[label] - sum(counts) / len(LABELS)
        return lead

    def add(self, hypothesis: Fact, label: int) -> None:
        """Count an accepted pair."""
        for feature, _ in _features(hypothesis):
            self._seen.setdefault(feature, [0, 0, 0])[label] += 1


def _words(fact: Fact) -> tuple[str, ...]:
    return tuple(c for c in (fact.subject, fact.predicate, fact.object, fact.place, fact.time) if c)


def _features(h: Fact) -> Iterator[tuple[tuple[object, ...], tuple[int, float]]]:
    """Yield the shape of the hypothesis, and each word in its pattern and polarity."""
    shape = (h.pattern, h.negated, bool(h.place), bool(h.time), h.subject in world.KINDS, h.object in world.KINDS)
    yield shape, _SHAPE
    for word in _words(h):
        yield (h.pattern, h.negated, word), _WORD


def draw_triple(
    rng: random.Random, balance: Balance, taken: Collection[Statement] = (), proposals: int = 40
) -> Triple | None:
    """Draw one triple that keeps the balance; None if the premise drawn is taken or offers none."""
    premise = world.random_statement(rng, TWO_FACTS)
    if premise in taken:
        return None
    offers: dict[int, dict[Fact, None]] = {label: {} for label in LABELS}
    for _ in range(proposals):
        hypothesis = _propose(rng, premise)
        if hypothesis is not None and (hypothesis,) != premise:
            label = label_of(premise, hypothesis)
            if label is not None:
                offers[label][hypothesis] = None
    chosen = []
    for label, hypotheses in offers.items():
        leads = [(balance.lead(h, label), h) for h in hypotheses]
        welcome = [(lead, h) for lead, h in leads if lead is not None]
        if not welcome:
            return None
        # The one that most evens out the labels; otherwise ever fewer premises would have all three.
        chosen.append((min(welcome, key=lambda offer: offer[0])[1], label))
    for hypothesis, label in chosen:
        balance.add(hypothesis, label)
    rng.shuffle(chosen)
    return Triple(premise, tuple(chosen))


def _propose(rng: random.Random, premise: Statement) -> Fact | None:
    """Draw a hypothesis near the premise: one of its facts, with details dropped and up to two slots changed.

    None if the result is not sensible.
    """
    base = rng.choice(premise)
    if base.pattern in ("act", "use") and base.place and rng.random() < 0.15:
        base = Fact("at", base.subject, place=base.place, time=base.time, negated=base.negated)
    if rng.random() < 0.05:  # something else about the same subject
        fresh = world.random_fact(rng, general=0)
        if world.PATTERNS[fresh.pattern]["subject"] == world.PATTERNS[base.pattern]["subject"]:
            base = replace(fresh, subject=base.subject)
    changes: dict[str, Any] = {}
    for slot in ("place", "time"):
        if (base.pattern, slot) in world.OPTIONAL and getattr(base, slot) and rng.random() < DROPPED:
            changes[slot] = ""
    slots = [slot for slot in world.PATTERNS[base.pattern] if slot not in changes]
    for slot in rng.sample(slots, k=min(len(slots), rng.choices((0, 1, 2), CHANGED)[0])):
        changes[slot] = _change(rng, base, slot, premise)
    if base.pattern in world.NEGATABLE and rng.random() < FLIPPED:
        changes["negated"] = not base.negated
    hypothesis = replace(base, **changes)
    return hypothesis if world.is_sensible(hypothesis) else None


def _change(rng: random.Random, fact: Fact, slot: str, premise: Statement) -> str:
    """Draw a filler for a slot: a hypernym, hyponym, synonym or opposite, one of the premise's, or any."""
    now: str = getattr(fact, slot)
    all_fillers = world.fillers(fact.pattern, slot)
    if slot in ("subject", "object"):
        near = [*world.KINDS.get(now, ()), world.KIND_OF.get(now, ""), world.SYNONYM_OF.get(now, "")]
    else:
        near = [*world.OPPOSITES.get(now, ()), world.SYNONYM_OF.get(now, "")]
    # What the premise's other fact has in this slot: right words in the wrong place.
    borrowed: list[str] = [getattr(other, slot) for other in premise]
    near = [c for c in near if c]
    borrowed = [c for c in borrowed if c in all_fillers and c != now]
    chance = rng.random()
    if near and chance < 0.6:
        return rng.choice(near)
    if borrowed and chance < 0.85:
        return rng.choice(borrowed)
    return rng.choice(all_fillers)
