"""Rows that flipped: right on one side of a comparison and wrong on the other, with sentences that need no network."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xeval.definitions.task import Task
from xeval.judging.comparison.paired_runs import PairedLanguage, PairedRuns
from xeval.kinds.kind import Kind
from xeval.kinds.registry import get_kind
from xeval.support.errors import DataError, UnknownNameError

_Said = tuple[int | str, int | str, int | str]  # the right answer, A's answer, B's answer


@dataclass(frozen=True)
class Flip:
    """A row that one side gets right and the other wrong.

    With several seeds, most of one side's have it right and most of the other's wrong. A prediction is then the most
    frequent one.
    """

    row: int  # of the split, from 0
    label: int | str  # index of the label, or the answer in the words of the kind of task
    prediction_a: int | str
    prediction_b: int | str
    right_a: int  # number of seeds that have it right
    right_b: int


@dataclass(frozen=True)
class FlippedRows:
    """The flipped rows of one language, in their order."""

    language: str
    rows: list[Flip]
    labels: Sequence[str]  # names by index; empty if the records do not have them
    text_names: Sequence[str]  # what the texts of a row are called
    sentences: dict[int, tuple[str, ...]]  # row → its texts; empty if they were not read
    n_seeds: tuple[int, int]  # of A and of B

    @property
    def n_won(self) -> int:
        """The number of rows that B has right and A wrong."""
        return sum(flip.right_b * self.n_seeds[0] > flip.right_a * self.n_seeds[1] for flip in self.rows)


def flipped_rows(paired: PairedRuns, language: str, task: Task | None, data: Path | None = None) -> FlippedRows:
    """Return the flipped rows of `language`. Sentences are read from `data`, or from the corpus that comes with xeval.

    Raises UnknownNameError for a language that is not compared. Raises DataError if `data` has other rows than were
    scored, or for a kind of task whose rows are neither right nor wrong.
    """
    by_language = {paired_language.language: paired_language for paired_language in paired.languages}
    if language not in by_language:
        raise UnknownNameError("language that A and B share", language, by_language)
    paired_language = by_language[language]
    rows = flips(paired_language, get_kind(paired.kind), paired.labels)
    if rows is None:
        raise DataError(f"{paired.title}: its {paired.unit} are neither right nor wrong; leave out --flips")
    names: Sequence[str] = ()
    sentences: dict[int, tuple[str, ...]] = {}
    if task is not None and (data is not None or task.embedded):
        names, sentences = _sentences(task, paired_language, [flip.row for flip in rows], data)
    n_seeds = len(paired.seeds_a), len(paired.seeds_b)
    return FlippedRows(language, rows, paired.labels, names, sentences, n_seeds)


def flips(language: PairedLanguage, kind: type[Kind], labels: Sequence[str]) -> list[Flip] | None:
    """Return the rows of one language that one side gets right and the other wrong, in their order.

    None if rows are neither right nor wrong.
    """
    metric = language.measure.metric.name
    right_a, right_b = kind.right(metric, language.tallies_a), kind.right(metric, language.tallies_b)  # (S, N)
    if right_a is None or right_b is None:
        return None
    share_a, share_b = right_a.mean(axis=0), right_b.mean(axis=0)
    flipped = np.flatnonzero(((share_a > 0.5) & (share_b < 0.5)) | ((share_b > 0.5) & (share_a < 0.5))).tolist()
    n_right = zip(right_a.sum(axis=0)[flipped].tolist(), right_b.sum(axis=0)[flipped].tolist(), strict=True)
    answers = (
        _numbers(language, flipped)
        if language.predictions_a is not None
        else _in_words(language, flipped, kind, labels)
    )
    rows = language.places[flipped].tolist()
    return [Flip(row, *answer, *counted) for row, answer, counted in zip(rows, answers, n_right, strict=True)]


def _numbers(language: PairedLanguage, rows: Sequence[int]) -> list[_Said]:
    """Return the label of each of `rows` and the most frequent prediction of each side, as label indices."""
    assert language.predictions_a is not None and language.predictions_b is not None
    sides = (language.predictions_a, language.predictions_b)
    answers_a, answers_b = ([int(np.bincount(side[:, row]).argmax()) for row in rows] for side in sides)
    return list(zip(language.labels[list(rows)].tolist(), answers_a, answers_b, strict=True))


def _in_words(language: PairedLanguage, rows: Sequence[int], kind: type[Kind], labels: Sequence[str]) -> list[_Said]:
    """Return what `_numbers` does, in words."""
    if not rows:
        return []
    seeds_a, seeds_b = (
        [kind.in_a_word(table.take(rows), labels) for table in files] for files in (language.files_a, language.files_b)
    )
    known = [right for right, _ in (*seeds_a, *seeds_b)]
    gold = [next(filter(None, of_row), "") for of_row in zip(*known, strict=True)]  # from the first file that has it
    answers_a, answers_b = (_most_frequent([given for _, given in seeds]) for seeds in (seeds_a, seeds_b))
    return list(zip(gold, answers_a, answers_b, strict=True))


def _most_frequent(predictions: Sequence[Sequence[str]]) -> list[str]:
    """Return the most frequent of several seeds' `predictions` for each row; of equally frequent ones, the earliest."""
    return [Counter(of_row).most_common(1)[0][0] for of_row in zip(*predictions, strict=True)]


def _sentences(
    task: Task, language: PairedLanguage, rows: Sequence[int], data: Path | None
) -> tuple[Sequence[str], dict[int, tuple[str, ...]]]:
    """Return what the texts of a row are called, and the texts of `rows`."""
    from xeval.data.source import load_rows, open_source  # the data set library takes seconds to import

    source = open_source(task, data, [language.language], training=False)
    known = load_rows(source, language.language, "test")
    if language.places.max() < len(known) and known.take(language.places).sha256 == language.sha256:
        return list(known.texts), {row: tuple(_text(column[row]) for column in known.texts.values()) for row in rows}
    if data is None:  # the embedded corpus has changed since the run, so there are only row numbers
        return [], {}
    raise DataError(f"{data}: its test rows of {language.language!r} are not those that were scored; leave out --data")


def _text(value: Any) -> str:
    """Return a text as it is, words joined by spaces, and choices joined by bars."""
    if isinstance(value, str):
        return value
    return (" | " if isinstance(value, tuple) else " ").join(map(_text, value))
