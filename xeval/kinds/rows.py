"""Rows of a task: as a file has them, and as a kind of task has read and checked them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from xeval.support.errors import CopyError
from xeval.support.text import is_unicode, one_line

ID = "id"  # the column that names rows, in data that have one
LANGUAGE = ("language", "lang")  # columns that name the language of a row, in files that have one
MOST_SHOWN = 4  # maximum number of different faults in a message
_GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Table:
    """The rows of one split in one language, as the file has them."""

    language: str
    split: str
    where: str  # begins every message about the table: the file, the split and the language
    columns: Mapping[str, Sequence[Any]]  # by the names that the task gives them; each has N values
    value_names: Mapping[str, Sequence[str]]  # column → the meanings of its numbers, if the file gives them

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def texts(self, column: str, faults: "Faults | None" = None) -> list[str]:
        """Return the texts of a column. Note rows without one in `faults`; raise CopyError for them if it is None."""
        values, own = list(self.columns[column]), faults or Faults(self.where, len(self))
        for number, value in enumerate(values, start=1):
            if value is None:
                own.note(number, f"no text in {column!r}")
            elif not isinstance(value, str):
                own.note(number, f"{one_line(repr(value))[:80]} in {column!r}", "text")
            elif not is_unicode(value):
                own.note(number, f"an unpaired UTF-16 surrogate in {column!r}", "the whole pair")
        if faults is None:
            own.refuse()
        return values


class Faults:
    """Rows that cannot be used, grouped by fault, so that one message counts them all."""

    def __init__(self, where: str, n_rows: int) -> None:
        self._where, self._n_rows = where, n_rows
        self._rows: dict[str, list[int]] = {}
        self._wanted: dict[str, None] = {}

    def note(self, row: int, what: str, wanted: str = "") -> None:
        """Note `what` this row, counted from 1, has, and what was `wanted` instead."""
        self._rows.setdefault(what, []).append(row)
        if wanted:
            self._wanted[wanted] = None

    def refuse(self) -> None:
        """Raise CopyError if any fault was noted."""
        if not self._rows:
            return
        wanted = f"; wanted {', and '.join(self._wanted)}" if self._wanted else ""
        raise CopyError(f"{self._where}: {self._said()}{wanted}")

    def _said(self) -> str:
        if len(self._rows) == 1:
            [(what, rows)] = self._rows.items()
            if len(rows) == 1:
                return f"row {rows[0]} has {what}"
            return f"{len(rows):,} of {self._n_rows:,} rows have {what} (first row {rows[0]:,})"
        n_rows = len({row for rows in self._rows.values() for row in rows})
        most = sorted(self._rows.items(), key=lambda item: -len(item[1]))
        parts = [
            f"{len(rows):,} {'have' if rows[1:] else 'has'} {what} ({'first ' * bool(rows[1:])}row {rows[0]:,})"
            for what, rows in most[:MOST_SHOWN]
        ]
        more = f", and {len(most) - MOST_SHOWN} more" if len(most) > MOST_SHOWN else ""
        return f"{n_rows:,} of {self._n_rows:,} rows cannot be used: {', '.join(parts)}{more}"


@dataclass(frozen=True)
class Rows:
    """The rows of one split in one language, in file order, checked."""

    language: str
    split: str
    texts: Mapping[str, Sequence[Any]]  # what the encoder sees of each row, such as "premise" → N texts
    gold: Any  # N right answers: (N,) int64 for labels, a list for anything else
    groups: np.ndarray  # (N,) int64: rows with the same number depend on each other; intervals resample groups
    ids: Sequence[str] | None = None  # N names, by which predictions of others refer to rows
    places: np.ndarray | None = None  # (N,) int64: which rows of the split these are; None: the first N

    def __len__(self) -> int:
        return len(self.groups)

    def first(self, n: int | None) -> "Rows":
        """Return the first `n` rows, or all of them if `n` is None."""
        if n is None or n >= len(self):
            return self
        texts = {name: column[:n] for name, column in self.texts.items()}
        return replace(self, texts=texts, gold=self.gold[:n], groups=self.groups[:n], ids=self.ids and self.ids[:n])

    def take(self, rows: np.ndarray) -> "Rows":
        """Return the rows with these (M,) numbers, in the order of the numbers."""
        texts = {name: [column[row] for row in rows] for name, column in self.texts.items()}
        gold = self.gold[rows] if isinstance(self.gold, np.ndarray) else [self.gold[row] for row in rows]
        ids = self.ids and [self.ids[row] for row in rows]
        places = rows if self.places is None else self.places[rows]
        return replace(self, texts=texts, gold=gold, groups=self.groups[rows], ids=ids, places=places)

    def spread(self, n: int | None, seed: int) -> "Rows":
        """Return at most `n` rows, spread evenly over all and in their order; all of them if `n` is None.

        Adjacent rows of a group are taken together, except that the last group is cut when `n` is reached. Parallel
        languages get the same rows, and a smaller `n` gives a subset of the rows for a larger one.
        """
        return self if n is None or n >= len(self) else self.take(evenly_spread(self.groups, n, seed))

    def sample(self, n: int) -> "Rows":
        """Return at most `n` rows, evenly spaced from the first to the last."""
        return self if n >= len(self) else self.take(np.linspace(0, len(self) - 1, n).astype(np.int64))

    def strings(self) -> Iterator[str]:
        """Yield every text, including those in lists of texts."""
        return strings_in(self.texts.values())

    @classmethod
    def joined(cls, parts: Sequence["Rows"]) -> "Rows":
        """Return the rows of several parts, one after the other, as if of one language and independent."""
        first = parts[0]
        texts = {name: [text for part in parts for text in part.texts[name]] for name in first.texts}
        gold = [answer for part in parts for answer in part.gold]
        all_gold = np.array(gold) if isinstance(first.gold, np.ndarray) else gold
        return cls(first.language, first.split, texts, all_gold, np.arange(len(gold)))

    @cached_property
    def sha256(self) -> str:
        """The hash of the content: equal rows give the same hash, from whichever layout they were read."""
        digest = hashlib.sha256()
        gold = self.gold.tolist() if isinstance(self.gold, np.ndarray) else self.gold
        for *texts, answer in zip(*self.texts.values(), gold, strict=True):
            digest.update(f"{''.join(map(_unambiguous, texts))}{_unambiguous(answer)};".encode())
        return digest.hexdigest()


def strings_in(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts among `values` and in lists among them."""
    for value in values:
        yield from [value] if isinstance(value, str) else strings_in(value)


def evenly_spread(groups: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return the numbers of `n` of the rows in (N,) `groups`, (n,), ascending. `seed` sets where the drawing starts.

    Multiples of the golden ratio, modulo 1, fill the unit interval more evenly than random numbers, however many are
    taken (Kronecker's sequence: https://en.wikipedia.org/wiki/Low-discrepancy_sequence#Additive_recurrence). Runs of
    adjacent rows of a group are taken in the order of the multiples for their first rows.
    """
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))  # (R,) of runs of neighbours
    ends = np.append(starts[1:], len(groups))
    offset = np.random.default_rng(seed).random()
    order = np.argsort((offset + starts * _GOLDEN_RATIO) % 1.0, kind="stable")
    rows = np.concatenate([np.arange(starts[run], ends[run]) for run in order])
    return np.sort(rows[:n])


def _unambiguous(value: Any) -> str:
    """Return `value` as text that shows where it ends."""
    if isinstance(value, str):
        return f"{len(value)}:{value}"
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence):
        return f"[{len(value)}]{''.join(map(_unambiguous, value))}"
    return str(value)


def groups_of(values: Sequence[Any]) -> np.ndarray:
    """Return (N,) int64 in which equal `values` have the same number; numbers count up from the first row."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
