"""Rows of a task: as a file has them, and as a kind of task has read and checked them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xeval.support.errors import DataError
from xeval.support.text import one_line

ID = "id"  # the column that names rows, in data that have one


@dataclass(frozen=True)
class Table:
    """The rows of one split in one language as the file has them."""

    language: str
    split: str
    where: str  # begins every message about it: the file, the split and the language
    columns: Mapping[str, Sequence[Any]]  # by the names that the task gives them; each has N values
    value_names: Mapping[str, Sequence[str]]  # column → what its numbers stand for, where the file says so

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def texts(self, column: str) -> list[str]:
        """The texts of a column. Raises DataError for a row that has none."""
        values = list(self.columns[column])
        for number, value in enumerate(values, start=1):
            if value is None:
                raise DataError(f"{self.where}: row {number} has no text, got None; fetch the file again")
            if not isinstance(value, str):
                raise DataError(
                    f"{self.where}: row {number} of column {column!r} holds {one_line(repr(value))[:80]}; wanted text"
                )
        return values


@dataclass(frozen=True)
class Rows:
    """The rows of one split in one language, in file order, checked."""

    language: str
    split: str
    texts: Mapping[str, Sequence[Any]]  # what the encoder is shown of each row: "premise" → N texts, for instance
    gold: Any  # N right answers: (N,) int64 for labels, a list for anything else
    groups: np.ndarray  # (N,) int64: rows with one number depend on each other; intervals resample these numbers
    ids: Sequence[str] | None = None  # N names of rows, by which predictions of others say whose they are

    def __len__(self) -> int:
        return len(self.groups)

    def first(self, n: int | None) -> "Rows":
        """The first `n` rows, or all of them for None."""
        if n is None or n >= len(self):
            return self
        texts = {name: column[:n] for name, column in self.texts.items()}
        return replace(self, texts=texts, gold=self.gold[:n], groups=self.groups[:n], ids=self.ids and self.ids[:n])

    def take(self, rows: np.ndarray) -> "Rows":
        """The rows with these (M,) numbers, in their order."""
        texts = {name: [column[row] for row in rows] for name, column in self.texts.items()}
        gold = self.gold[rows] if isinstance(self.gold, np.ndarray) else [self.gold[row] for row in rows]
        ids = self.ids and [self.ids[row] for row in rows]
        return replace(self, texts=texts, gold=gold, groups=self.groups[rows], ids=ids)

    def spread(self, n: int) -> "Rows":
        """At most `n` of the rows, evenly from the first to the last."""
        return self if n >= len(self) else self.take(np.linspace(0, len(self) - 1, n).astype(np.int64))

    def strings(self) -> Iterator[str]:
        """Every text, and those in lists of texts."""
        return strings_in(self.texts.values())

    def sha256(self) -> str:
        """A hash of the content: the same rows give the same hash from whichever layout they were read."""
        digest = hashlib.sha256()
        gold = self.gold.tolist() if isinstance(self.gold, np.ndarray) else self.gold
        for *texts, answer in zip(*self.texts.values(), gold, strict=True):
            digest.update(f"{''.join(map(_unambiguous, texts))}{_unambiguous(answer)};".encode())
        return digest.hexdigest()


def strings_in(values: Iterable[Any]) -> Iterator[str]:
    """The texts among `values`, and in lists among them."""
    for value in values:
        yield from [value] if isinstance(value, str) else strings_in(value)


def _unambiguous(value: Any) -> str:
    """`value` as text from which it can be told where it ends."""
    if isinstance(value, str):
        return f"{len(value)}:{value}"
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence):
        return f"[{len(value)}]{''.join(map(_unambiguous, value))}"
    return str(value)


def groups_of(values: Sequence[Any]) -> np.ndarray:
    """(N,) int64: equal `values` share a number; numbers count up from the first row."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
