"""A row of ours → what its answers show beside the score, as its kind of task has it, and as people read it."""

from collections.abc import Sequence

from xeval.kinds.exhibit import Cell, Exhibit
from xeval.kinds.registry import get_kind
from xeval.report.matrix import Row
from xeval.support.errors import StoreError, XevalError
from xeval.support.text import one_decimal


def of(row: Row, languages: Sequence[str]) -> Sequence[Exhibit]:
    """Exhibits over `languages`; none where a prediction cannot be read.

    Half of the seeds would look like the whole; the diagnosis says what cannot be read.
    """
    try:
        kind = get_kind(row.runs[0].record.kind)
    except XevalError:  # of a package that is not installed here
        return ()
    try:
        answers = {
            language: [run.predictions(language) for run in row.runs if language in run.record.scores]
            for language in languages
            if language in row.cells
        }
    except StoreError:
        return ()
    labels = next((run.record.labels for run in row.runs if run.record.labels), ())
    return [exhibit for exhibit in kind.exhibits(answers, labels) if exhibit.rows] if answers else ()


def in_words(cell: Cell) -> str:
    """A share in percent, a number with commas between its thousands, and text as it is."""
    if isinstance(cell, float):
        return f"{one_decimal(100 * cell)} %"
    return f"{cell:,}" if isinstance(cell, int) else cell
