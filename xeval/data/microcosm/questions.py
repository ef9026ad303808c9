"""Questions with answers about the microcosm (answers-mini): who is where, and when.

A context says where each of two beings or things is, and when. It has three questions, and each answer is the
text that fills one slot of a sentence in that language.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xeval.data.microcosm import world
from xeval.data.microcosm.lexicon import ALL, PLACEHOLDER, Lexicon, load
from xeval.data.microcosm.realise import realise
from xeval.data.microcosm.world import Fact

SEED = 20200510
SPLITS = {"test": 100, "validation": 50, "train": 1200}  # contexts, each with three questions
N_FACTS = 2
SLOT_OF = {"where": "place", "who": "subject", "when": "time"}  # the slot that a question asks for
FILE = Path(__file__).parent / "questions.toml"


@dataclass(frozen=True)
class Context:
    """The facts stated, and the questions about them, each as (sort of question, number of the fact)."""

    facts: tuple[Fact, ...]
    asked: tuple[tuple[str, int], ...]


@cache
def contexts(split: str) -> tuple[Context, ...]:
    """Return the contexts of a split, the same in every language; none has the facts of another."""
    known: set[frozenset[Fact]] = set()
    for name, size in SPLITS.items():
        rng, drawn = random.Random(f"{SEED} {name}"), list[Context]()
        while len(drawn) < size:
            context = _draw(rng)
            if frozenset(context.facts) not in known:
                known.add(frozenset(context.facts))
                drawn.append(context)
        if name == split:
            return tuple(drawn)
    raise KeyError(split)


def _draw(rng: random.Random) -> Context:
    """Draw different subjects in different places, at least one a person, so that every question has one answer."""
    persons = [concept for concept in world.PERSONS if concept not in world.KINDS]
    others = [concept for concept in (*world.ANIMALS, *world.THINGS) if concept not in world.KINDS]
    subjects = [rng.choice(persons)]
    while len(subjects) < N_FACTS:
        subject = rng.choice(rng.choice((persons, others)))
        if subject not in subjects and world.SYNONYM_OF.get(subject) not in subjects:
            subjects.append(subject)
    rng.shuffle(subjects)
    places, times = rng.sample(world.PLACES, N_FACTS), rng.choices(world.TIMES, k=N_FACTS)
    facts = tuple(Fact("at", subjects[i], place=places[i], time=times[i]) for i in range(N_FACTS))
    who = rng.choice([number for number, subject in enumerate(subjects) if subject in persons])
    return Context(facts, (("where", rng.randrange(N_FACTS)), ("who", who), ("when", rng.randrange(N_FACTS))))


# ── in a language ──


@cache
def forms() -> dict[str, dict[str, Any]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def question(sort: str, fact: Fact, lexicon: Lexicon) -> str:
    """Return the question of this sort about `fact`."""
    of_language = forms()[lexicon.code]
    asking = replace(
        lexicon,
        patterns={"at": of_language[sort]},
        words=lexicon.words | of_language.get("words", {}),
        end=of_language["mark"],
    )
    return realise((fact,), asking)


def rows(split: str, language: str) -> list[dict[str, Any]]:
    """Return the questions of a split in a language; row i is the same question in every language."""
    lexicon, table = load(language), []
    space = " " if lexicon.joiner or not lexicon.end else ""
    for context in contexts(split):
        sentences = [realise((fact,), lexicon) for fact in context.facts]
        for sort, number in context.asked:
            answer, start = _part(sentences[number], context.facts[number], SLOT_OF[sort], lexicon)
            start += sum(len(sentence) + len(space) for sentence in sentences[:number])
            asked = question(sort, context.facts[number], lexicon)
            answers = {"text": [answer], "answer_start": [start]}
            table.append({"question": asked, "context": space.join(sentences), "answers": answers})
    return table


def _part(sentence: str, fact: Fact, slot: str, lexicon: Lexicon) -> tuple[str, int]:
    """Return the text that fills `slot` in the sentence that states `fact`, and where it begins there."""
    form = next(match["form"] for match in PLACEHOLDER.finditer(lexicon.template(fact)) if match["slot"] == slot)
    shown = lexicon.concepts[getattr(fact, slot)][form]
    assert isinstance(shown, str)  # nothing agrees with anything in these slots
    start = sentence.find(shown)
    if start < 0:  # it begins the sentence
        shown = lexicon.capitals.get(shown[0], shown[0].upper()) + shown[1:]
        start = sentence.index(shown)
    return shown, start


def write_corpus(folder: Path, languages: Sequence[str] = ALL) -> None:
    """Write the corpus in the hub's layout; train in English only."""
    texts = pa.list_(pa.string())
    schema = pa.schema(
        {
            "question": pa.string(),
            "context": pa.string(),
            "answers": pa.struct({"text": texts, "answer_start": pa.list_(pa.int32())}),
        }
    )
    for language in languages:
        for split in SPLITS if language == "en" else ("test", "validation"):
            path = Path(folder) / language / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows(split, language), schema=schema), path)
