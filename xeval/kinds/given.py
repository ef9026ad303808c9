"""Predictions that others made for the rows of a task, as their files have them, and the row that each belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xeval.kinds.rows import Rows
from xeval.support.errors import DataError
from xeval.support.text import one_line

KEY = "key"  # the column of right answers in a table that has no other columns


@dataclass(frozen=True)
class Given:
    """M predictions for one language, which name rows by id or by number or are in the order of the data's rows."""

    where: str  # begins every message about the predictions: the file and the language
    answers: Sequence[Any]  # M; empty if there are only logits
    ids: Sequence[str] | None = None  # M
    numbers: Sequence[int] | None = None  # M row numbers, counted from 0
    logits: np.ndarray | None = None  # (M, C) float32, in the order of the task's labels
    column: str = "prediction"  # what the file calls the answers

    def __len__(self) -> int:
        return len(self.answers) if self.logits is None else len(self.logits)

    def take(self, places: Sequence[int]) -> Given:
        """Return the predictions in these places."""
        return replace(
            self,
            answers=[self.answers[place] for place in places] if self.answers else [],
            ids=self.ids and [self.ids[place] for place in places],
            numbers=self.numbers and [self.numbers[place] for place in places],
            logits=self.logits[list(places)] if self.logits is not None else None,
        )

    def with_answers(self) -> Given:
        """Return the same predictions. Raise DataError if there are only logits, of which a kind can make nothing."""
        if self.logits is not None and not self.answers:
            raise DataError(f"{self.where}: logits alone; wanted a column 'prediction'")
        return self

    def in_own_order(self) -> Given:
        """Return the same in the order of the row numbers, if there are any, which must be whole and begin with 0."""
        return self if self.numbers is None else self._by_number(len(self))

    def in_order_of(self, rows: Rows) -> Given:
        """Return one prediction for each of N rows, in the order of the rows.

        Raise DataError if it is uncertain which row a prediction belongs to: the file names rows that the data do not
        have, names one twice, leaves one out, or has another number of predictions than there are rows.
        """
        shared = next((each for each, n in Counter(rows.ids or ()).items() if n > 1), None)
        if self.ids is not None and rows.ids is not None and shared is None:
            return self._by_name(self.ids, rows.ids, "id")
        if self.numbers is not None:
            return self._by_number(len(rows))
        if self.ids is not None:
            problem = "the rows of the data have no ids" if shared is None else f"several rows have {_shown(shared)}"
            raise DataError(
                f"{self.where}: predictions name their rows by id, but {problem}; if they are in the order of the rows,"
                " leave out the ids"
            )
        if len(self) != len(rows):
            raise DataError(
                f"{self.where}: wanted {len(rows):,} predictions, one for each row of the data, found {len(self):,}"
            )
        return self

    def _by_number(self, n_rows: int) -> Given:
        numbers = self.numbers or ()
        if len(self) == n_rows and min(numbers, default=0) == 1 and max(numbers) == n_rows:
            raise DataError(f"{self.where}: rows are counted from 1 to {n_rows:,}; count them from 0")
        return self._by_name(numbers, range(n_rows), "row")

    def _by_name(self, names: Sequence[Any], row_names: Sequence[Any], name: str) -> Given:
        place_of = {names[place]: place for place in reversed(range(len(names)))}
        repeated = [each for each, n in Counter(names).items() if n > 1]
        strays = sorted(place_of.keys() - set(row_names), key=place_of.__getitem__)
        lacking = [each for each in row_names if each not in place_of]
        for several, problem in (
            (repeated, f"{name}s that occur twice: {len(repeated):,}"),
            (strays, f"{len(strays):,} predictions have an {name} that no row of the data has"),
            (lacking, f"{len(lacking):,} of {len(row_names):,} rows have no prediction"),
        ):
            if several:
                raise DataError(f"{self.where}: {problem.replace('an row', 'a row')}, first {_shown(several[0])}")
        return self.take([place_of[each] for each in row_names])


def answers_on_lines(path: str, text: str) -> list[str]:
    """Return the lines of a file with one prediction per line. Raise DataError for an empty line before the last."""
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if "" in lines and lines != [""]:
        raise DataError(f"{path}: line {lines.index('') + 1} is empty; wanted a prediction on each line")
    return lines if lines != [""] else []


def _shown(value: Any) -> str:
    return one_line(repr(value))[:80]
