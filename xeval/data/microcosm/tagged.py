"""Sentences of the microcosm with a tag for every word: who and where (tags-mini), or its sort of word (pos-mini).

The tag of a word follows from the slot of the pattern that the word is in, so no language needs a list of tags. Words
are separated by white space. In scripts without spaces, a word is a part of the pattern: a slot, or the text between
two.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from xeval.data.microcosm import world
from xeval.data.microcosm.lexicon import PLACEHOLDER, Form, Lexicon, load
from xeval.data.microcosm.realise import agree
from xeval.data.microcosm.world import Fact, Statement

SEED = 20201101
SPLITS = {"test": 400, "validation": 200, "train": 2000}
PUNCTUATION = frozenset(".,。，।۔،؛、")
SHARED_FROM = 2  # a word in the forms of this many concepts says nothing about any of them, such as "the"
_SORTS = {
    **dict.fromkeys(("person", "animal", "thing", "place", "time"), "NOUN"),
    **dict.fromkeys(("action", "use"), "VERB"),
    "property": "ADJ",
    "number": "NUM",
}
_SORT_OF = {concept: _SORTS[kind] for kind, concepts in world.CONCEPTS.items() for concept in concepts}


@dataclass(frozen=True)
class Part:
    """A part of a sentence according to its pattern: the text that fills a slot, or text between slots."""

    number: int
    slot: str = ""
    concept: str = ""


BETWEEN = Part(-1)
Marked = list[tuple[str, Part]]  # characters, and the parts that they belong to


# ── sentences ──


@cache
def statements(split: str) -> tuple[Statement, ...]:
    """Return the statements of a split, the same in every language. No statement is in two splits."""
    known: set[Statement] = set()
    for name, size in SPLITS.items():
        rng, drawn = random.Random(f"{SEED} {name}"), dict[Statement, None]()
        while len(drawn) < size:
            statement = world.random_statement(rng, negated=0.15, detail=0.7)
            if statement not in known:
                drawn[statement] = None
        known |= set(drawn)
        if name == split:
            return tuple(drawn)
    raise KeyError(split)


def words_of(statement: Statement, lexicon: Lexicon) -> list[tuple[str, Part]]:
    """Return the words of the sentence that `realise` makes, each with the part that it belongs to."""
    numbers = count()
    marked = _clause(statement[0], lexicon, numbers)
    for fact in statement[1:]:
        marked = _joined(marked, _clause(fact, lexicon, numbers), lexicon, numbers)
    for old, new in lexicon.fixes:
        marked = _replaced(marked, old, new)
    if lexicon.capitalise:
        first, part = marked[0]
        marked = [(letter, part) for letter in lexicon.capitals.get(first, first.upper())] + marked[1:]
    marked += [(letter, Part(next(numbers))) for letter in lexicon.end]
    return _words(marked, by_parts=not lexicon.joiner)


def _clause(fact: Fact, lexicon: Lexicon, numbers: Iterator[int]) -> Marked:
    marked: Marked = []
    for token in lexicon.template(fact).split():
        shown = _token(token, fact, lexicon, numbers)
        if shown:
            marked += [(letter, BETWEEN) for letter in lexicon.joiner if marked] + shown
    return marked


def _token(token: str, fact: Fact, lexicon: Lexicon, numbers: Iterator[int]) -> Marked:
    """Fill one blank-delimited part of a template; empty if the slot that it shows is empty."""
    marked: Marked = []
    at = 0
    for match in PLACEHOLDER.finditer(token):
        slot, form, controller = match["slot"], match["form"], match["controller"]
        concept = getattr(fact, slot) if slot else ""
        if slot and not concept:
            return []
        value: Form = lexicon.concepts[concept][form] if slot else lexicon.words[form]
        shown = agree(value, getattr(fact, controller) if controller else "", lexicon)
        marked += _marked(token[at : match.start()], Part(next(numbers)))
        marked += _marked(shown, Part(next(numbers), slot or "", concept))
        at = match.end()
    return marked + _marked(token[at:], Part(next(numbers)))


def _marked(text: str, part: Part) -> Marked:
    return [(letter, part) for letter in text]


def _joined(first: Marked, second: Marked, lexicon: Lexicon, numbers: Iterator[int]) -> Marked:
    before, _, rest = lexicon.conjunction.partition("{first}")
    between, _, after = rest.partition("{second}")
    outside = [_marked(text, Part(next(numbers))) for text in (before, between, after)]
    return outside[0] + first + outside[1] + second + outside[2]


def _replaced(marked: Marked, old: str, new: str) -> Marked:
    """Return `marked` with every `old` replaced by `new`, whose letters get the parts of those that they replace."""
    text = "".join(letter for letter, _ in marked)
    same = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    result: Marked = []
    start = 0
    while (at := text.find(old, start)) >= 0:
        parts = [part for _, part in marked[at : at + len(old)]]
        changed = [parts[min(place, len(parts) - 1)] for place in range(same)]
        behind = len(new) - same
        changed += parts[len(parts) - behind :] if 0 < behind <= len(parts) - same else [parts[-1]] * behind
        result += marked[start:at] + list(zip(new, changed, strict=True))
        start = at + len(old)
    return result + marked[start:]


def _words(marked: Marked, by_parts: bool) -> list[tuple[str, Part]]:
    """Return the words, each with the part of its last letter, since a word may begin with a clitic."""
    words: list[tuple[str, Part]] = []
    is_open = False
    for letter, part in marked:
        if letter.isspace():
            is_open = False
        elif letter in PUNCTUATION:
            words.append((letter, BETWEEN))
            is_open = False
        elif is_open and not (by_parts and words[-1][1] != part):
            words[-1] = (words[-1][0] + letter, part)
        else:
            words.append((letter, part))
            is_open = True
    return words


# ── tags ──


def names(words: Sequence[tuple[str, Part]], lexicon: Lexicon) -> list[str]:
    """Tag who and where: "B-PER" begins the words for a person, "B-LOC" those for a place."""
    tags, before = [], BETWEEN
    for _, part in words:
        kind = "LOC" if part.slot == "place" else "PER" if part.concept in world.PERSONS else ""
        tags.append(f"{'I' if part == before else 'B'}-{kind}" if kind else "O")
        before = part
    return tags


def sorts(words: Sequence[tuple[str, Part]], lexicon: Lexicon) -> list[str]:
    """Tag each word's sort; "OTHER" for words that say nothing about the concept whose slot they are in."""
    shared = _shared_words(lexicon.code)
    tags = []
    for word, part in words:
        if word in PUNCTUATION:
            tags.append("PUNCT")
        else:
            tags.append(_SORT_OF[part.concept] if part.concept and word.lower() not in shared else "OTHER")
    return tags


@cache
def _shared_words(language: str) -> frozenset[str]:
    """Return the words that occur in the forms of several concepts."""
    concepts_with: dict[str, set[str]] = defaultdict(set)
    for concept, forms in load(language).concepts.items():
        for name, form in forms.items():
            for text in () if name == "class" else [form] if isinstance(form, str) else form.values():
                for word in text.lower().split():
                    concepts_with[word].add(concept)
    return frozenset(word for word, concepts in concepts_with.items() if len(concepts) >= SHARED_FROM)


# ── files ──

TAGGERS: dict[str, Callable[[Sequence[tuple[str, Part]], Lexicon], list[str]]] = {"tags-mini": names, "pos-mini": sorts}


def rows(task: str, split: str, language: str) -> list[tuple[list[str], list[str]]]:
    """Return (words, tags) of one split in one language; row i says the same in every language."""
    lexicon, tag = load(language), TAGGERS[task]
    spoken = [words_of(statement, lexicon) for statement in statements(split)]
    return [([word for word, _ in words], tag(words, lexicon)) for words in spoken]


def write_corpus(task: str, folder: Path, languages: Sequence[str]) -> None:
    """Write the corpus of `task` in the hub's layout; train in English only."""
    for language in languages:
        for split in SPLITS if language == "en" else ("validation", "test"):
            tokens, tags = zip(*rows(task, split, language), strict=True)
            path = Path(folder) / language / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            lists = pa.list_(pa.string())
            pq.write_table(pa.table({"tokens": pa.array(tokens, lists), "tags": pa.array(tags, lists)}), path)
