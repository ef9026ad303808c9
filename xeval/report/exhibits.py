"""A row of ours → the exhibits that its kind of task makes from its answers, and their cells in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from xeval.kinds.exhibit import Cell, Exhibit
from xeval.kinds.registry import get_kind
from xeval.report.matrix import Row
from xeval.support.errors import StoreError, XevalError
from xeval.support.text import percent

if TYPE_CHECKING:
    import pyarrow as pa


def of(row: Row, languages: Sequence[str]) -> Sequence[Exhibit]:
    """Return the exhibits over `languages`, or none if a prediction cannot be read.

    Half of the seeds would look like all of them. The diagnosis reports what cannot be read.
    """
    try:
        kind = get_kind(row.runs[0].record.kind)
    except XevalError:  # the kind's package is not installed here
        return ()
    answers = _Answers(row, [language for language in languages if language in row.cells])
    labels = next((run.record.labels for run in row.runs if run.record.labels), ())
    try:
        return [exhibit for exhibit in kind.exhibits(answers, labels) if exhibit.rows] if answers else ()
    except StoreError:
        return ()


class _Answers(Mapping[str, "Sequence[pa.Table]"]):
    """The predictions by language, a table for each seed. They are read only when a kind of task asks for them."""

    def __init__(self, row: Row, languages: Sequence[str]) -> None:
        self._row, self._languages = row, languages

    def __getitem__(self, language: str) -> "Sequence[pa.Table]":
        return [run.predictions(language) for run in self._row.runs if language in run.record.scores]

    def __iter__(self) -> Iterator[str]:
        return iter(self._languages)

    def __len__(self) -> int:
        return len(self._languages)


def in_words(cell: Cell) -> str:
    """Return a fraction in percent, an integer with commas between thousands, and text as it is."""
    if isinstance(cell, float):
        return percent(cell)
    return f"{cell:,}" if isinstance(cell, int) else cell
