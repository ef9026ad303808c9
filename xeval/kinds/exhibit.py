"""What a run's answers show beside its score, as small tables that any report can draw without knowing the kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

Cell = str | int | float  # a float is a share, which people see in percent

LANGUAGE = "language"  # the name of a first column of codes


@dataclass(frozen=True)
class Exhibit:
    """One table. The first cell of a row says what the row is about."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[Cell, ...]]


def pooled(tables: Sequence[pa.Table], *names: str) -> pa.Table:
    """The columns `names` of one language's prediction files, a file for each seed, one after the other."""
    import pyarrow as pa

    return pa.concat_tables([table.select(list(names)) for table in tables]).combine_chunks()


def tallies(answers: Mapping[str, Sequence[pa.Table]]) -> dict[str, np.ndarray]:
    """Language → (N, K): the tallies of all seeds, one after the other."""
    by_language = {}
    for language, tables in answers.items():
        lists = pooled(tables, "tally")["tally"].combine_chunks()
        by_language[language] = np.from_dlpack(lists.flatten()).reshape(len(lists), -1)
    return by_language


def share_of(n: float, whole: float) -> float:
    """`n` of `whole`; 0 of none."""
    return float(n) / float(whole) if whole else 0.0
