"""Loading of a language file, with a check that it can say everything that the world can state.

The file's format is described in ``languages/README.md``. Which forms a word needs follows from the
language's own patterns: a pattern that asks for ``{place.in}`` makes ``in`` required of every place.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from xeval.data.microcosm import world

ALL = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
FOLDER = Path(__file__).parent / "languages"

# {slot.form} or {slot.form:controller}, {=word} or {=word:controller}
PLACEHOLDER = re.compile(r"\{(?:(?P<slot>[a-z]+)\.|=)(?P<form>\w+)(?::(?P<controller>[a-z]+))?\}")
Form = str | dict[str, str]


class LexiconError(ValueError):
    """A language file that cannot be used, with every fault found in it."""


@dataclass(frozen=True)
class Lexicon:
    """One language: its words with their forms, and how each pattern is said."""

    code: str
    name: str
    joiner: str
    end: str
    conjunction: str
    capitalise: bool
    capitals: dict[str, str]
    fixes: tuple[tuple[str, str], ...]
    patterns: dict[str, str]
    words: dict[str, Form]
    concepts: dict[str, dict[str, Form]] = field(repr=False)

    def template(self, fact: world.Fact) -> str:
        """Return the template for this fact: the ``_no_place`` variant if there is one and the fact has no place."""
        name = fact.pattern + ("_not" if fact.negated else "")
        if not fact.place and f"{name}_no_place" in self.patterns:
            name += "_no_place"
        return self.patterns[name]


@cache
def load(code: str) -> Lexicon:
    """Load and check the lexicon of one language."""
    path = FOLDER / f"{code}.toml"
    if not path.exists():
        raise LexiconError(f"xnli-mini has no language {code!r}: {path} does not exist")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as fault:
        raise LexiconError(f"{path}: {fault}") from fault
    return parse(code, data)


def parse(code: str, data: dict[str, Any]) -> Lexicon:
    """Make a lexicon from the parsed file. Raises LexiconError with all faults."""
    faults = [f"[{part}] is missing" for part in ("language", "patterns", *world.CONCEPTS) if part not in data]
    if not faults:
        faults = list(_unexpected(data))
    if faults:
        raise LexiconError(_report(code, faults))
    head = data["language"]
    concepts = {c: forms for word_class in world.CONCEPTS for c, forms in data[word_class].items()}
    try:
        lexicon = Lexicon(
            code=code,
            name=head["name"],
            joiner=head["joiner"],
            end=head["end"],
            conjunction=head["and"],
            capitalise=head["capitalise"],
            capitals=head.get("capitals", {}),
            fixes=tuple((old, new) for old, new in head.get("fixes", ())),
            patterns=data["patterns"],
            words=data.get("words", {}),
            concepts=concepts,
        )
    except KeyError as missing:
        raise LexiconError(_report(code, [f"[language] has no {missing}"])) from missing
    faults = sorted({f for name in lexicon.patterns for f in _pattern_faults(lexicon, name)})
    faults += _doubles(lexicon)
    if faults:
        raise LexiconError(_report(code, faults))
    return lexicon


def _report(code: str, faults: list[str]) -> str:
    return f"languages/{code}.toml:\n  " + "\n  ".join(faults)


def _unexpected(data: dict[str, Any]) -> Iterator[str]:
    """Yield the concepts and patterns that are missing, or that the world does not know."""
    for word_class, concepts in world.CONCEPTS.items():
        for concept in set(concepts) - set(data[word_class]):
            yield f"[{word_class}] has no {concept!r}"
        for concept in set(data[word_class]) - set(concepts):
            yield f"[{word_class}] {concept!r} is not a concept of the world"
    required = {*world.PATTERNS, *(f"{p}_not" for p in world.NEGATABLE)}
    for name in required - set(data["patterns"]):
        yield f"[patterns] has no {name!r}"
    for name in set(data["patterns"]) - required:
        if name.removesuffix("_no_place") not in required:
            yield f"[patterns] {name!r} is not a pattern"


def _pattern_faults(lexicon: Lexicon, name: str) -> Iterator[str]:  # noqa: C901  one branch for each rule
    """Yield what this pattern asks for that some word does not have."""
    pattern = name.removesuffix("_no_place").removesuffix("_not")
    template = lexicon.patterns[name]
    if "{" in PLACEHOLDER.sub("", template):
        yield f"[patterns] {name}: cannot read {PLACEHOLDER.sub('', template)!r}"
    for slot, form, controller in PLACEHOLDER.findall(template):
        for part in (slot, controller):
            if part and part not in world.PATTERNS[pattern]:
                yield f"[patterns] {name}: there is no slot {part!r}"
                return
        classes: set[str] = set()
        for concept in world.fillers(pattern, controller) if controller else ():
            concept_class = lexicon.concepts[concept].get("class")
            if isinstance(concept_class, str):
                classes.add(concept_class)
            else:
                yield f"{concept}: no class, which [patterns] {name} agrees with"
        if slot:
            values = {c: lexicon.concepts[c].get(form) for c in world.fillers(pattern, slot)}
        else:
            values = {f"[words] {form}": lexicon.words.get(form)}
        for word, value in values.items():
            if value is None:
                yield f"{word}: no form {form!r}, which [patterns] {name} asks for"
            elif isinstance(value, dict) and not controller:
                yield f"{word}: {form!r} depends on a class, but [patterns] {name} names no controller"
            elif isinstance(value, dict) and "other" not in value:
                for agreement in sorted(classes - set(value)):
                    yield f"{word}: {form!r} has no form for class {agreement!r}"


def _doubles(lexicon: Lexicon) -> list[str]:
    """Return the concepts of one word class that no form tells apart, so that their sentences would be the same."""
    faults = []
    for word_class, concepts in world.CONCEPTS.items():
        seen: dict[str, str] = {}
        for concept in concepts:
            forms = lexicon.concepts[concept]
            key = repr(sorted((k, v) for k, v in forms.items() if k != "class"))
            if key in seen:
                faults.append(f"[{word_class}] {seen[key]!r} and {concept!r} have the same forms")
            seen[key] = concept
    return faults
