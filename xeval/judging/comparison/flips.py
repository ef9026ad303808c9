"""Which rows flipped: right on one side of a comparison and wrong on the other, with their sentences where they are at
hand without a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xeval.definitions.task import Task
from xeval.judging.comparison.paired_runs import PairedLanguage, PairedRuns
from xeval.support.errors import DataError, UnknownNameError


@dataclass(frozen=True)
class Flip:
    """A row that one side has right and the other wrong; of several seeds, that most of one have and most of the
    other have not. A prediction is then the most frequent one."""

    row: int
    label: int
    prediction_a: int
    prediction_b: int
    right_a: int  # seeds that have it right
    right_b: int


@dataclass(frozen=True)
class FlippedRows:
    """Of one language, in the order of the rows."""

    language: str
    rows: list[Flip]
    labels: Sequence[str]  # names by index; empty where the records do not know them
    text_names: Sequence[str]  # what the texts of a row are
    sentences: dict[int, tuple[str, ...]]  # row → its texts; empty where they were not read
    n_seeds: tuple[int, int]  # of A and of B

    @property
    def n_won(self) -> int:
        """Rows that B has right and A has not."""
        return sum(flip.right_b * self.n_seeds[0] > flip.right_a * self.n_seeds[1] for flip in self.rows)


def flipped_rows(paired: PairedRuns, language: str, task: Task | None, data: Path | None = None) -> FlippedRows:
    """The flipped rows of `language`. Their sentences are read from `data`, or from the corpus that comes with xeval.

    Raises UnknownNameError for a language that is not compared, DataError where `data` has other rows than were
    scored, or where rows have no labels that could be right or wrong.
    """
    by_language = {one.language: one for one in paired.languages}
    if language not in by_language:
        raise UnknownNameError("language that A and B share", language, by_language)
    one = by_language[language]
    if one.predictions_a is None or not one.is_share_of_rows:
        raise DataError(f"{paired.title}: its rows have no label that is right or wrong; leave out --flips")
    rows = flips(one)
    names: Sequence[str] = ()
    sentences: dict[int, tuple[str, ...]] = {}
    if task is not None and (data is not None or task.embedded):
        names, sentences = _sentences(task, one, [flip.row for flip in rows], data)
    n_seeds = len(paired.seeds_a), len(paired.seeds_b)
    return FlippedRows(language, rows, paired.labels, names, sentences, n_seeds)


def flips(one: PairedLanguage) -> list[Flip]:
    """The rows of one language whose correctness differs between the sides, in the order of the rows."""
    assert one.predictions_a is not None and one.predictions_b is not None  # rows have labels
    share_a, share_b = one.right_a.mean(axis=0), one.right_b.mean(axis=0)
    flipped = np.flatnonzero(((share_a > 0.5) & (share_b < 0.5)) | ((share_b > 0.5) & (share_a < 0.5)))
    return [
        Flip(
            row,
            int(one.labels[row]),
            int(np.bincount(one.predictions_a[:, row]).argmax()),
            int(np.bincount(one.predictions_b[:, row]).argmax()),
            int(one.right_a[:, row].sum()),
            int(one.right_b[:, row].sum()),
        )
        for row in flipped.tolist()
    ]


def _sentences(
    task: Task, one: PairedLanguage, rows: Sequence[int], data: Path | None
) -> tuple[Sequence[str], dict[int, tuple[str, ...]]]:
    """What the texts of a row are, and those of `rows`."""
    from xeval.data.source import load_rows, open_source  # the library of data sets takes seconds

    source = open_source(task, data, [one.language], training=False)
    known = load_rows(source, one.language, "test").first(len(one.labels))
    if known.sha256() == one.sha256:
        return list(known.texts), {row: tuple(column[row] for column in known.texts.values()) for row in rows}
    if data is None:  # the embedded corpus is no longer what it was; row numbers are all there is
        return [], {}
    raise DataError(f"{data}: its test rows of {one.language!r} are not those that were scored; leave out --data")
