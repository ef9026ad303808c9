"""Print sentences of every pattern next to their English, to proofread a language.

``python -m tools.microcosm.samples ru`` (add ``--count 40``, ``--pattern count``, ``--words``).
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator

from xeval.data.microcosm import world
from xeval.data.microcosm.lexicon import LexiconError, load
from xeval.data.microcosm.realise import realise


def main() -> int:
    """Check a language file and print sentences in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("language")
    parser.add_argument("--count", type=int, default=12, help="sentences per pattern and polarity")
    parser.add_argument("--pattern", choices=tuple(world.PATTERNS), help="this pattern only")
    parser.add_argument("--words", action="store_true", help="every concept once in each slot that takes it")
    options = parser.parse_args()
    try:
        lexicon, english = load(options.language), load("en")
    except LexiconError as fault:
        print(fault, file=sys.stderr)
        return 1
    for pattern in (options.pattern,) if options.pattern else world.PATTERNS:
        for negated in (False, True) if pattern in world.NEGATABLE else (False,):
            print(f"\n== {pattern}{'_not' if negated else ''}")
            facts = every_word(pattern, negated) if options.words else some(pattern, negated, options.count)
            for fact in facts:
                print(f"{realise((fact,), lexicon)}\t| {realise((fact,), english)}")
    if not options.pattern:
        print("\n== and")
        rng = random.Random(7)
        for _ in range(options.count):
            statement = world.random_statement(rng, double=1)
            print(f"{realise(statement, lexicon)}\t| {realise(statement, english)}")
    return 0


def some(pattern: str, negated: bool, count: int) -> Iterator[world.Fact]:
    """Yield ``count`` random facts of one pattern."""
    rng = random.Random(f"{pattern} {negated}")
    while count:
        fact = world.random_fact(rng)
        if (fact.pattern, fact.negated) == (pattern, negated):
            count -= 1
            yield fact


def every_word(pattern: str, negated: bool) -> Iterator[world.Fact]:
    """Yield facts that together show each concept in each slot of one pattern, and every number with every animal."""
    rng = random.Random(pattern)
    for slot in world.PATTERNS[pattern]:
        for concept in world.fillers(pattern, slot):
            fact = world.Fact("", "")
            while (fact.pattern, fact.negated) != (pattern, negated) or getattr(fact, slot) != concept:
                fact = world.random_fact(rng, detail=0.5, negated=0.5)
            yield fact
    if pattern == "count":
        for animal in world.ANIMALS:
            for number in world.NUMBERS:
                yield world.Fact("count", animal, number, place="park")


if __name__ == "__main__":
    sys.exit(main())
