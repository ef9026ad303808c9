"""Spans in tag sequences, as seqeval finds them by default ("lenient", conlleval's mode), without a loop over words.

A tag is a first letter (B, I, E, S, O) and a type: "B-PER". A table over pairs of tags says which two neighbours begin
or end a span, so it works for any tags; a span that begins with "I-" counts as one. Two readings of a tag are in use:

- today's, of seqeval 0.0.16 and later: the type is what follows the first letter, so that of "NOUN" is "OUN", and
  CCONJ and SCONJ have one type;
- the old one, of seqeval 0.0.15 and earlier: the type is what follows the last hyphen, all of "NOUN". XTREME's
  published scores of UDPOS use this one.

They agree on tags of the form "B-PER". https://github.com/chakki-works/seqeval, seqeval/metrics/sequence_labeling.py
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# First letters of two neighbours of the same type: a span ends between "B" and "O", and one begins between "O" and "I".
_BEGIN = {"EE", "EI", "SE", "SI", "OE", "OI"}
_END = {"BB", "BS", "BO", "IB", "IS", "IO"}
OUTSIDE = "O"


def type_of(tag: str) -> str:
    """Return the type of a tag as seqeval reads it today."""
    return tag[1:].split("-", maxsplit=1)[-1] or "_"


def old_type_of(tag: str) -> str:
    """Return the type of a tag as seqeval read it up to 0.0.15."""
    return tag.rsplit("-", maxsplit=1)[-1]


@dataclass(frozen=True)
class Spans:
    """The spans of R rows with W tags in all, stored at the places where they end."""

    ends: np.ndarray  # (W + R,) bool: whether a span ends before this place; an "O" follows each row
    begins: np.ndarray  # (W + R,) int64: where the span that ends here begins
    types: np.ndarray  # (W + R,) int64: the type of the span that ends here

    def shared_with(self, other: "Spans") -> np.ndarray:
        """Return where spans end that both have, (W + R,) bool."""
        both: np.ndarray = self.ends & other.ends & (self.begins == other.begins) & (self.types == other.types)
        return both

    def overlap(self, other: "Spans") -> np.ndarray:
        """Return where spans end that share a word with a span of `other`, (W + R,) bool."""
        steps = np.bincount(other.begins[other.ends], minlength=len(self.ends))
        steps = steps - np.bincount(np.flatnonzero(other.ends), minlength=len(self.ends))
        n_covered = np.concatenate([[0], np.cumsum(np.cumsum(steps) > 0)])  # before each place
        shared: np.ndarray = self.ends & (n_covered[:-1] > n_covered[self.begins])
        return shared


class SpanFinder:
    """Finds spans in sequences of `tags`, given as numbers."""

    def __init__(self, tags: Sequence[str], type_of: Callable[[str], str]) -> None:
        known = [*tags, OUTSIDE]
        types = [type_of(tag) for tag in known]
        self._outside = self.n_tags = len(tags)
        self._type = np.array([types.index(own) for own in types])  # (C + 1,)
        self._begins = np.array([[_begins(*pair) for pair in _pairs(known, types, tag)] for tag in range(len(known))])
        self._ends = np.array([[_ends(*pair) for pair in _pairs(known, types, tag)] for tag in range(len(known))])

    def find(self, tags: np.ndarray, lengths: np.ndarray) -> Spans:
        """Return the spans in (W,) tag numbers of rows with (R,) `lengths`, one row after the other."""
        here = self.with_ends(tags, lengths)
        before = np.concatenate([[self._outside], here[:-1]])
        is_begin, places = self._begins[before, here], np.arange(len(here))
        last = np.maximum.accumulate(np.where(is_begin, places, 0))  # the latest beginning up to here
        ends_of_rows = np.cumsum(lengths + 1)
        rows_begin = np.repeat(ends_of_rows - lengths - 1, lengths + 1)
        begins = np.maximum(np.concatenate([[0], last[:-1]]), rows_begin)  # so that rows do not affect each other
        return Spans(self._ends[before, here], begins, self._type[before])

    def with_ends(self, tags: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return `tags` with an "O" after each row, (W + R,), so that no span reaches into the next row."""
        return np.insert(tags.astype(np.int64), np.cumsum(lengths), self._outside)


def strict_spans(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Return type, first word and end of each span in seqeval's strict mode for IOB2: spans begin only with "B-"."""
    spans, begun = set(), -1
    for place, tag in enumerate([*tags, OUTSIDE]):
        goes_on = begun >= 0 and tag == f"I-{type_of(tags[begun])}"
        if begun >= 0 and not goes_on:
            spans.add((type_of(tags[begun]), begun, place))
            begun = -1
        if tag.startswith("B-"):
            begun = place
    return spans


def _pairs(known: Sequence[str], types: Sequence[str], before: int) -> list[tuple[str, str, bool]]:
    """Return, for each tag, the first letters of `before` and of the tag, and whether their types are the same."""
    return [(known[before][0], tag[0], types[before] == own) for tag, own in zip(known, types, strict=True)]


def _begins(before: str, here: str, is_same_type: bool) -> bool:
    return here in "BS" or before + here in _BEGIN or (here not in "O." and not is_same_type)


def _ends(before: str, here: str, is_same_type: bool) -> bool:
    return before in "ES" or before + here in _END or (before not in "O." and not is_same_type)


def count_spans(
    finder: SpanFinder, predicted: np.ndarray, gold: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true positives, false positives and false negatives of each row, (R,) each."""
    predicted_spans, gold_spans = finder.find(predicted, lengths), finder.find(gold, lengths)
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]]).astype(np.int64)
    shared, n_predicted, n_gold = (
        np.add.reduceat(places.astype(np.int64), starts)
        for places in (predicted_spans.shared_with(gold_spans), predicted_spans.ends, gold_spans.ends)
    )
    return shared, n_predicted - shared, n_gold - shared


def fates_of_spans(finder: SpanFinder, predicted: np.ndarray, gold: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return (types, 6) counts. A type has the number of the first tag that has it.

    Gold spans: right, right except for the type, overlapping otherwise, missed. Predicted spans: those that overlap no
    gold span, and all.
    """
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
