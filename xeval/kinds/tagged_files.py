"""Files of tagged words: one word per line and a blank line after each sentence, or CoNLL-U."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xeval.support.errors import DataError
from xeval.support.text import counted, is_whole_number

Sentences = list[list[str]]

_LANGUAGE_PREFIX = re.compile(r"[A-Za-z-]{2,12}:")  # in WikiANN's own files: "en:word"
_ZERO_WIDTH_NON_JOINER = "\u200c"
# If two words of a fused word are equally near to the root, it gets the tag that comes first here, as in XTREME's copy
# of https://github.com/coastalcph/ud-conversion-tools. Three languages have an order of their own.
_PRECEDENCE = (
    "VERB", "NOUN", "PROPN", "PRON", "ADJ", "NUM", "ADV", "INTJ",
    "AUX", "ADP", "DET", "PART", "CCONJ", "SCONJ", "X", "PUNCT",
)  # fmt: skip
_PRECEDENCE_IN = {
    "es": ("VERB", "AUX", "PRON", "ADP", "DET"),
    "fr": ("VERB", "AUX", "PRON", "NOUN", "ADJ", "ADV", "ADP", "DET", "PART", "SCONJ"),
    "it": ("VERB", "AUX", "ADV", "PRON", "ADP", "DET", "INTJ"),
}

_DEEPEST = 200  # words above a word in its sentence; in a false file they go round in a circle


@dataclass
class Tagged:
    """Sentences of words, and their tags; tags are None if the file has none."""

    words: Sentences = field(default_factory=list)
    tags: list[list[str] | None] = field(default_factory=list)

    def add(self, words: Sequence[str], tags: Sequence[str] | None) -> None:
        self.words.append(list(words))
        self.tags.append(list(tags) if tags is not None else None)


def read_tagged(files: Mapping[str, str]) -> Tagged:
    """Return the sentences in the texts of `files`, by path, in the order of the files' names."""
    tagged = Tagged()
    for path in sorted(files, key=lambda path: (Path(path).name, path)):
        (_read_conllu if path.endswith(".conllu") else _read_lines)(path, files[path], tagged)
    return tagged


# ── a word a line ──


def _read_lines(path: str, text: str, tagged: Tagged) -> None:
    """Read lines with a word first and its tag last, separated by tabs, or by spaces in lines without a tab."""
    sentences: list[list[list[str]]] = [[]]
    n_fields = 0
    for number, line in enumerate(text.split("\n"), start=1):
        # Other white space than tabs and spaces belongs to a word, such as a non-breaking space inside a number.
        if "\t" in line:
            fields = [part.strip(" ") for part in line.split("\t")]
        else:
            fields = [part for part in line.split(" ") if part]
        if not line.strip() or fields[0] == "-DOCSTART-":
            sentences.append([])
            continue
        n_fields = n_fields or len(fields)
        if len(fields) != n_fields or not fields[0]:
            expected = "a word" + " and its tag" * (n_fields > 1)
            raise DataError(
                f"{path}: line {number} has {counted(sum(map(bool, fields)), 'fields')} where others have {n_fields};"
                f" wanted {expected}, and a blank line after each sentence"
            )
        sentences[-1].append(fields)
    prefix = _prefix([fields[0] for sentence in sentences for fields in sentence])
    for sentence in filter(None, sentences):
        tags = [fields[-1] for fields in sentence] if n_fields > 1 else None
        tagged.add([fields[0][len(prefix) :].strip() for fields in sentence], tags)


def _prefix(words: Sequence[str]) -> str:
    """Return the language and colon that every word begins with, or ""."""
    match = _LANGUAGE_PREFIX.match(words[0]) if words else None
    return match[0] if match and all(word.startswith(match[0]) for word in words) else ""


# ── CoNLL-U ──


def _read_conllu(path: str, text: str, tagged: Tagged) -> None:
    """Read words as they are written: a fused word ("am" from "an dem") is one word, as in XTREME.

    Its tag is that of the fused word's part nearest to the root of the sentence; of equally near ones, the language
    decides, with whose code the file's name begins. Words are withheld ("_") in treebanks without their text; a
    sentence is left out if all its words are withheld, or all but one. Spaces and zero-width non-joiners inside words
    are removed.
    """
    own = _PRECEDENCE_IN.get(Path(path).name.split("_")[0], ())
    precedence = (*own, *(tag for tag in _PRECEDENCE if tag not in own))
    lines: list[tuple[int, list[str]]] = []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if line.startswith("#"):
            continue
        if line.strip():
            fields = line.split("\t")
            if len(fields) != 10 or not fields[1]:
                raise DataError(f"{path}: line {number} has {counted(len(fields), 'fields')}; wanted the 10 of CoNLL-U")
            lines.append((number, fields))
        elif lines:
            words, tags = _written(path, lines, precedence)
            n_withheld = words.count("_")
            if n_withheld == 0 or n_withheld < len(words) - 1:
                tagged.add([_without_spaces(word) for word in words], tags)
            lines = []


def _without_spaces(word: str) -> str:
    return word.replace(_ZERO_WIDTH_NON_JOINER, "").replace(" ", "")


def _written(
    path: str, lines: Sequence[tuple[int, list[str]]], precedence: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the words of a sentence as they are written, and their tags."""
    parts = {fields[0]: fields for _, fields in lines if is_whole_number(fields[0])}
    words, tags, fused_until = [], [], 0
    for number, (place, form, _, tag, *_) in lines:
        if re.fullmatch(r"\d{1,18}-\d{1,18}", place):
            start, end = map(int, place.split("-"))
            inside = [parts[str(each)] for each in range(start, min(end, start + 100) + 1) if str(each) in parts]
            if len(inside) != end - start + 1:
                raise DataError(f"{path}: line {number} fuses words {place}, not all of which follow it")
            words.append(form)
            tags.append(_tag_of_fused(inside, parts, precedence))
            fused_until = end
        elif is_whole_number(place):
            if int(place) > fused_until:
                words.append(form)
                tags.append(tag)
        elif not re.fullmatch(r"\d+\.\d+", place):  # a word that is not written
            raise DataError(f"{path}: line {number} begins with {place[:40]!r}; wanted the number of a word")
    return words, tags


def _tag_of_fused(inside: Sequence[list[str]], parts: Mapping[str, list[str]], precedence: Sequence[str]) -> str:
    def rank(fields: list[str]) -> tuple[int, int]:
        depth, above = 0, fields[6]
        while above in parts and depth <= _DEEPEST:
            depth, above = depth + 1, parts[above][6]
        return depth, precedence.index(fields[3]) if fields[3] in precedence else len(precedence)

    return min(inside, key=rank)[3]
