"""The world of xnli-mini: its concepts, how they relate, and the facts that can be stated about them.

Nothing here knows a language. A concept is an identifier ("apple"); its name in a language, and how that word
inflects, is in ``languages/<code>.toml``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache

# Kind (hypernym) -> its members. A kind is a concept too: "a fruit" can be bought like "an apple".
PERSON_KINDS: dict[str, tuple[str, ...]] = {
    "adult": ("teacher", "instructor", "doctor", "physician", "farmer", "cook", "driver", "soldier", "singer", "judge"),
    "relative": ("father", "mother", "uncle", "aunt", "brother", "sister", "grandfather", "grandmother"),
    "child": ("boy", "girl", "pupil"),
}  # fmt: skip
ANIMAL_KINDS: dict[str, tuple[str, ...]] = {
    "animal": ("dog", "cat", "horse", "cow", "goat", "lion", "elephant"),
    "bird": ("duck", "eagle", "owl", "parrot", "pigeon"),
    "insect": ("bee", "ant", "butterfly", "fly"),
}
THING_KINDS: dict[str, tuple[str, ...]] = {
    "fruit": ("apple", "banana", "lemon", "pear"),
    "vegetable": ("tomato", "onion", "carrot", "potato"),
    "tool": ("hammer", "saw", "axe", "shovel"),
    "furniture": ("table", "chair", "bed", "wardrobe"),
    "vehicle": ("car", "bus", "bicycle", "truck"),
    "instrument": ("guitar", "drum", "violin", "flute"),
}
SYNONYMS = (
    ("teacher", "instructor"),
    ("doctor", "physician"),
    ("happy", "glad"),
    ("rich", "wealthy"),
    ("beautiful", "pretty"),
)
# Pairs that exclude each other: nobody does both at the same moment.
ACTION_OPPOSITES = (
    ("work", "rest"),
    ("laugh", "cry"),
    ("sit", "stand"),
    ("speak", "be_silent"),
    ("walk", "run"),
)
_ARTEFACTS = ("tool", "furniture", "vehicle", "instrument")
# Transitive actions: the pair, and the kinds of object that it makes sense with.
USE_OPPOSITES = {
    ("buy", "sell"): (*THING_KINDS, *ANIMAL_KINDS),
    ("find", "lose"): ("fruit", "vegetable", "tool", "instrument", "vehicle", *ANIMAL_KINDS),
    ("hide", "show"): (*THING_KINDS, *ANIMAL_KINDS),
    ("repair", "break"): _ARTEFACTS,
    ("send", "receive"): tuple(THING_KINDS),
}
# Properties: two sides of an axis (synonyms on one side) and the kinds that can have them.
PROPERTY_AXES = {
    (("happy", "glad"), ("sad",)): tuple(PERSON_KINDS),
    (("rich", "wealthy"), ("poor",)): tuple(PERSON_KINDS),
    (("healthy",), ("sick",)): tuple(PERSON_KINDS),
    (("hard_working",), ("lazy",)): tuple(PERSON_KINDS),
    (("strong",), ("weak",)): tuple(PERSON_KINDS),
    (("big",), ("small",)): (*THING_KINDS, *ANIMAL_KINDS),
    (("clean",), ("dirty",)): (*THING_KINDS, *ANIMAL_KINDS),
    (("beautiful", "pretty"), ("ugly",)): (*THING_KINDS, *ANIMAL_KINDS),
    (("heavy",), ("light",)): (*THING_KINDS, *ANIMAL_KINDS),
    (("cheap",), ("expensive",)): tuple(THING_KINDS),
    (("new",), ("worn",)): _ARTEFACTS,
}
PLACES = (
    "kitchen", "garden", "school", "market", "hospital", "park",
    "library", "station", "hotel", "forest", "village", "museum",
)  # fmt: skip
TIMES = ("morning", "noon", "evening", "night", "monday", "friday", "summer", "winter")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight")


def _with_members(kinds: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return (*(m for members in kinds.values() for m in members), *kinds)


PERSONS, ANIMALS, THINGS = (_with_members(k) for k in (PERSON_KINDS, ANIMAL_KINDS, THING_KINDS))
ACTIONS = tuple(a for pair in ACTION_OPPOSITES for a in pair)
USES = tuple(a for pair in USE_OPPOSITES for a in pair)
PROPERTIES = tuple(p for axis in PROPERTY_AXES for side in axis for p in side)

# Word class -> its concepts; a language file has one table for each.
CONCEPTS: dict[str, tuple[str, ...]] = {
    "person": PERSONS, "animal": ANIMALS, "thing": THINGS, "place": PLACES, "time": TIMES,
    "action": ACTIONS, "use": USES, "property": PROPERTIES, "number": NUMBERS,
}  # fmt: skip

KINDS = {**PERSON_KINDS, **ANIMAL_KINDS, **THING_KINDS}
KIND_OF = {m: kind for kind, members in KINDS.items() for m in members}
SYNONYM_OF = {a: b for pair in SYNONYMS for a, b in (pair, pair[::-1])}

# Action or property -> everything that excludes it.
OPPOSITES: dict[str, tuple[str, ...]] = {
    **{a: (b,) for pair in (*ACTION_OPPOSITES, *USE_OPPOSITES) for a, b in (pair, pair[::-1])},
    **{p: other for axis in PROPERTY_AXES for side, other in (axis, axis[::-1]) for p in side},
}
_SUITS = {
    **{verb: kinds for pair, kinds in USE_OPPOSITES.items() for verb in pair},
    **{p: kinds for axis, kinds in PROPERTY_AXES.items() for side in axis for p in side},
}

# Pattern -> the word classes that may fill each of its slots.
_ENTITY = ("person", "animal", "thing")
PATTERNS: dict[str, dict[str, tuple[str, ...]]] = {
    "at": {"subject": _ENTITY, "place": ("place",), "time": ("time",)},
    "act": {"subject": ("person",), "predicate": ("action",), "place": ("place",), "time": ("time",)},
    "use": {"subject": ("person",), "predicate": ("use",), "object": ("animal", "thing"),
            "place": ("place",), "time": ("time",)},
    "is": {"subject": _ENTITY, "predicate": ("property",)},
    "count": {"subject": ("animal",), "predicate": ("number",), "place": ("place",)},
}  # fmt: skip
# How often each pattern is drawn: the sentences of "is" are shared among the most words.
_PATTERN_WEIGHTS = {"at": 3, "act": 3, "use": 3, "is": 5, "count": 2}
NEGATABLE = ("at", "act", "is")
# (pattern, slot) that may stay empty.
OPTIONAL = {("at", "time"), ("act", "place"), ("act", "time"), ("use", "place"), ("use", "time")}
SLOTS = ("subject", "predicate", "object", "place", "time")


@dataclass(frozen=True, order=True)
class Fact:
    """One statement about the world: a pattern with its slots filled by concepts."""

    pattern: str
    subject: str
    predicate: str = ""
    object: str = ""
    place: str = ""
    time: str = ""
    negated: bool = False

    def positive(self) -> Fact:
        """Return the same statement without its negation."""
        return replace(self, negated=False)


Statement = tuple[Fact, ...]  # one sentence: a single fact, or two joined by "and"


def kind_of(concept: str) -> str:
    """Return the hypernym of an entity; a kind is its own."""
    return KIND_OF.get(concept, concept)


def is_sensible(fact: Fact) -> bool:
    """Return whether the predicate suits its object (nobody repairs an onion) or its subject (no happy table)."""
    if fact.pattern == "use":
        return kind_of(fact.object) in _SUITS[fact.predicate]
    return fact.pattern != "is" or kind_of(fact.subject) in _SUITS[fact.predicate]


@cache
def fillers(pattern: str, slot: str) -> tuple[str, ...]:
    """Return every concept that may fill this slot of this pattern."""
    return tuple(c for word_class in PATTERNS[pattern][slot] for c in CONCEPTS[word_class])


def pick_entity(rng: random.Random, word_class: str, general: float) -> str:
    """Draw a person, animal or thing; with probability ``general``, a kind instead of a member of one."""
    kinds, members = _kinds_and_members(word_class)
    return rng.choice(kinds if rng.random() < general else members)


@cache
def _kinds_and_members(word_class: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    concepts = CONCEPTS[word_class]
    return tuple(c for c in concepts if c in KINDS), tuple(c for c in concepts if c not in KINDS)


def random_fact(rng: random.Random, general: float = 0.35, negated: float = 0.05, detail: float = 0.5) -> Fact:
    """Draw a sensible fact; the arguments are the chances of a kind, of a negation, and of each optional slot."""
    pattern = rng.choices(tuple(_PATTERN_WEIGHTS), tuple(_PATTERN_WEIGHTS.values()))[0]
    while True:
        slots = {}
        for slot, classes in PATTERNS[pattern].items():
            if (pattern, slot) in OPTIONAL and rng.random() >= detail:
                continue
            word_class = rng.choice(classes)
            entity = word_class in ("person", "animal", "thing")
            slots[slot] = pick_entity(rng, word_class, general) if entity else rng.choice(CONCEPTS[word_class])
        fact = Fact(pattern, **slots, negated=pattern in NEGATABLE and rng.random() < negated)
        if is_sensible(fact):
            return fact


def random_statement(rng: random.Random, double: float = 0.25, **chances: float) -> Statement:
    """Draw one fact, or (with probability ``double``) two facts about entities of different kinds.

    The kinds differ so that a hypernym picks out one of the two: "the adult" is never both of them.
    """
    first = random_fact(rng, **chances)
    if rng.random() >= double:
        return (first,)
    while True:
        second = random_fact(rng, **chances)
        if not _entity_kinds(first) & _entity_kinds(second):
            # Two long facts make too long a sentence; the second keeps one detail only.
            if first.place and first.time and second.time and second.pattern != "count":
                second = replace(second, time="")
            return (first, second)


def _entity_kinds(fact: Fact) -> set[str]:
    return {kind_of(c) for c in (fact.subject, fact.object) if c}
