"""Spans in tag sequences, as seqeval's default ("lenient", conlleval's) mode finds them, without a loop over words.

A tag is a first letter (B, I, E, S, O) and a type: "B-PER". Which two neighbours begin or end a span is a table over
pairs of tags, so it holds for any tags; a span that begins with "I-" counts as one. Two readings of a tag are in use:

- today's, of seqeval 0.0.16 and later: the type is what follows the first letter, so that of "NOUN" is "OUN", and
  CCONJ and SCONJ have one type;
- the old one, of seqeval 0.0.15 and earlier: the type is what follows the last hyphen, all of "NOUN". XTREME's
  published scores of UDPOS are this one's.

They agree on tags of the form "B-PER". https://github.com/chakki-works/seqeval, seqeval/metrics/sequence_labeling.py
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# First letters of two neighbours of one type: between "B" and "O" a span ends, and between "O" and "I" one begins.
_BEGIN = {"EE", "EI", "SE", "SI", "OE", "OI"}
_END = {"BB", "BS", "BO", "IB", "IS", "IO"}
_OUTSIDE = "O"


def type_of(tag: str) -> str:
    """As seqeval reads it today."""
    return tag[1:].split("-", maxsplit=1)[-1] or "_"


def old_type_of(tag: str) -> str:
    """As seqeval read it up to 0.0.15."""
    return tag.rsplit("-", maxsplit=1)[-1]


@dataclass(frozen=True)
class Spans:
    """The spans of R rows of W tags in all, told by where they end."""

    ends: np.ndarray  # (W + R,) bool: does a span end before this place? After each row stands an "O"
    begins: np.ndarray  # (W + R,) int64: where the span that ends here begins
    types: np.ndarray  # (W + R,) int64: and its type

    def shared_with(self, other: "Spans") -> np.ndarray:
        """(W + R,) bool: the spans of both."""
        both: np.ndarray = self.ends & other.ends & (self.begins == other.begins) & (self.types == other.types)
        return both

    def overlap(self, other: "Spans") -> np.ndarray:
        """(W + R,) bool: of the spans that end here, those that share a word with a span of `other`."""
        steps = np.bincount(other.begins[other.ends], minlength=len(self.ends))
        steps = steps - np.bincount(np.flatnonzero(other.ends), minlength=len(self.ends))
        n_covered = np.concatenate([[0], np.cumsum(np.cumsum(steps) > 0)])  # before each place
        shared: np.ndarray = self.ends & (n_covered[:-1] > n_covered[self.begins])
        return shared


class SpanFinder:
    """Finds spans in sequences of `tags`, given as their numbers."""

    def __init__(self, tags: Sequence[str], type_of: Callable[[str], str]) -> None:
        known = [*tags, _OUTSIDE]
        types = [type_of(tag) for tag in known]
        self._outside = self.n_tags = len(tags)
        self._type = np.array([types.index(own) for own in types])  # (C + 1,)
        self._begins = np.array([[_begins(*pair) for pair in _pairs(known, types, tag)] for tag in range(len(known))])
        self._ends = np.array([[_ends(*pair) for pair in _pairs(known, types, tag)] for tag in range(len(known))])

    def find(self, tags: np.ndarray, lengths: np.ndarray) -> Spans:
        """Of (W,) numbers of tags of rows with (R,) `lengths`, one after the other."""
        here = self.with_ends(tags, lengths)
        before = np.concatenate([[self._outside], here[:-1]])
        is_begin, places = self._begins[before, here], np.arange(len(here))
        last = np.maximum.accumulate(np.where(is_begin, places, 0))  # the last beginning, up to here
        ends_of_rows = np.cumsum(lengths + 1)
        rows_begin = np.repeat(ends_of_rows - lengths - 1, lengths + 1)
        begins = np.maximum(np.concatenate([[0], last[:-1]]), rows_begin)  # so that a row counts alike among any others
        return Spans(self._ends[before, here], begins, self._type[before])

    def with_ends(self, tags: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(W + R,): `tags` with an "O" after each row, so that no span reaches into the next."""
        return np.insert(tags.astype(np.int64), np.cumsum(lengths), self._outside)


def strict_spans(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Type, first word and end of each span in seqeval's strict mode for IOB2: spans begin with "B-" alone."""
    spans, begun = set(), -1
    for place, tag in enumerate([*tags, _OUTSIDE]):
        goes_on = begun >= 0 and tag == f"I-{type_of(tags[begun])}"
        if begun >= 0 and not goes_on:
            spans.add((type_of(tags[begun]), begun, place))
            begun = -1
        if tag.startswith("B-"):
            begun = place
    return spans


def _pairs(known: Sequence[str], types: Sequence[str], before: int) -> list[tuple[str, str, bool]]:
    """For each tag: the first letters of `before` and of it, and whether their types are the same."""
    return [(known[before][0], tag[0], types[before] == own) for tag, own in zip(known, types, strict=True)]


def _begins(before: str, here: str, is_same_type: bool) -> bool:
    return here in "BS" or before + here in _BEGIN or (here not in "O." and not is_same_type)


def _ends(before: str, here: str, is_same_type: bool) -> bool:
    return before in "ES" or before + here in _END or (before not in "O." and not is_same_type)


def count_spans(
    finder: SpanFinder, predicted: np.ndarray, gold: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and false negatives of each row, (R,) each."""
    predicted_spans, gold_spans = finder.find(predicted, lengths), finder.find(gold, lengths)
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]).astype(np.int64)
    shared, n_predicted, n_gold = (
        np.add.reduceat(places.astype(np.int64), starts)
        for places in (predicted_spans.shared_with(gold_spans), predicted_spans.ends, gold_spans.ends)
    )
    return shared, n_predicted - shared, n_gold - shared


def fates_of_spans(finder: SpanFinder, predicted: np.ndarray, gold: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(types, 6) counts, of gold spans: right, right but for the type, overlapping otherwise, missed; of predicted
    ones: those that overlap no gold span, and all. A type has the number of the first tag that has it."""
    predicted_spans, gold_spans = finder.find(predicted, lengths), finder.find(gold, lengths)
    right = predicted_spans.shared_with(gold_spans)
    same_words = predicted_spans.ends & gold_spans.ends & (predicted_spans.begins == gold_spans.begins)
    touched, touching = gold_spans.overlap(predicted_spans), predicted_spans.overlap(gold_spans)
    of_gold = (right, same_words & ~right, gold_spans.ends & touched & ~same_words, gold_spans.ends & ~touched)
    of_predicted = (predicted_spans.ends & ~touching, predicted_spans.ends)
    n_types = finder.n_tags + 1
    counts = [np.bincount(gold_spans.types[places], minlength=n_types) for places in of_gold]
    counts += [np.bincount(predicted_spans.types[places], minlength=n_types) for places in of_predicted]
    return np.stack(counts, axis=1)
