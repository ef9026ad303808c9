"""What a run's answers show besides its score: small tables that any report can draw without knowing the kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

Cell = str | int | float  # a float is a share, which reports show in percent

LANGUAGE = "language"  # the name of a first column with language codes


@dataclass(frozen=True)
class Exhibit:
    """One table. The first cell of a row names the row's subject."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    quotes: tuple[str, ...] = ()  # the columns whose texts are from the data, in the language of their row

    @property
    def is_text(self) -> list[bool]:
        """Whether each column holds texts. A dash among numbers stands for a missing one."""
        return [all(isinstance(cell, str) for cell in column) for column in zip(*self.rows, strict=True)]


def pooled(tables: Sequence[pa.Table], *names: str) -> pa.Table:
    """Return the columns `names` of one language's prediction files, one for each seed, joined end to end."""
    import pyarrow as pa

    return pa.concat_tables([table.select(list(names)) for table in tables]).combine_chunks()


def tallies(answers: Mapping[str, Sequence[pa.Table]]) -> dict[str, np.ndarray]:
    """Return language → (N, K), the tallies of all seeds joined end to end."""
    by_language = {}
    for language, tables in answers.items():
        lists = pooled(tables, "tally")["tally"].combine_chunks()
        by_language[language] = np.from_dlpack(lists.flatten()).reshape(len(lists), -1)
    return by_language


def share_of(n: float, whole: float) -> float:
    """Return `n` over `whole`; 0 if `whole` is 0."""
    return float(n) / float(whole) if whole else 0.0
