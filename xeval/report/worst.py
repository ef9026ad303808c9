"""The language that a row of ours transfers to worst, and possible reasons among what was measured.

Three things are checked, all of them measured before: how finely the tokenizer cuts the language's words, how much of
its texts is lost, and which labels are confused. Each counts only if it is clearly worse than in the training language,
and a distance that may be chance needs no reason.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from xeval.definitions.languages import describe, names_of
from xeval.kinds.registry import unit_of
from xeval.report.matrix import Row
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError
from xeval.support.text import one_decimal, percent, printed_difference

MORE_PIECES = 1.3  # times as many pieces per word
MORE_LOST = 0.02  # more of the rows are truncated, or more of the pieces unknown
MORE_CONFUSED = 0.1  # more of a label's rows are confused with one other label


def of(row: Row, confusions: Mapping[str, np.ndarray] | None = None) -> str:
    """Return a sentence such as `Worst: Urdu, 56.0, 38.3 points below English; likely because …`.

    It is empty if there is nothing to compare, for instance if the training language itself is at chance. `confusions`
    are (C, C) counts by gold label, then by predicted label, if they are known already.
    """
    records = [run.record for run in row.runs]
    home = records[0].training_language
    others = {language: value for language, value in row.cells.items() if language != home}
    if home not in row.cells or not others or row.cells[home] <= 100 * (records[0].chance or 0):
        return ""
    worst = min(others, key=others.__getitem__)
    below = printed_difference(row.cells[home], row.cells[worst])
    if below <= 0:
        return ""
    names = names_of(row.cells)
    fact = f"Worst: {names[worst]}, {one_decimal(others[worst])}, {one_decimal(below)} points below {names[home]}"
    if below <= 100 * math.hypot(*(_half_interval(records, language) for language in (worst, home))):
        return f"{fact}."
    known = confusions if confusions is not None else _confusions(row.runs, (home, worst))
    signs = [*_tokens(records, worst, home), *_labels(records[0], known.get(worst), known.get(home))]
    nothing = "; its tokens and answers show no reason" if {home, worst} <= known.keys() else ""
    why = f"; likely because {_listed(signs)}" if signs else nothing
    return f"{fact}{why}."


def _half_interval(records: Sequence[RunRecord], language: str) -> float:
    """Return half the width of the score's 95 % interval over test rows, the mean of the seeds."""
    intervals = [record.scores[language].ci95 for record in records if language in record.scores]
    return statistics.fmean((high - low) / 2 for low, high in intervals)


def _tokens(records: Sequence[RunRecord], worst: str, home: str) -> list[str]:
    of_worst, of_home = (_tokenization(records, language) for language in (worst, home))
    english, signs = describe(home).name, []
    pieces, usual = of_worst.get("pieces_per_word"), of_home.get("pieces_per_word")
    if pieces and usual and pieces >= MORE_PIECES * usual:
        signs.append(f"its words are cut into {pieces:.1f} pieces ({english} {usual:.1f})")
    unit = unit_of(records[0].kind)
    for name, of_what in (("truncated_share", f"{unit} are cut off"), ("unknown_piece_share", "pieces are unknown")):
        share, at_home = of_worst.get(name, 0.0), of_home.get(name, 0.0)
        if share >= at_home + MORE_LOST:
            signs.append(f"{percent(share)} of its {of_what} ({english} {percent(at_home)})")
    return signs


def _tokenization(records: Sequence[RunRecord], language: str) -> dict[str, float]:
    """Return the means over the seeds of all tokenization figures that are known."""
    scores = [record.scores[language] for record in records if language in record.scores]
    known = [score.tokenization.model_dump() for score in scores if score.tokenization is not None]
    names = {name for own in known for name, value in own.items() if value is not None}
    return {name: statistics.fmean(own[name] for own in known if own[name] is not None) for name in names}


def _labels(record: RunRecord, of_worst: np.ndarray | None, of_home: np.ndarray | None) -> list[str]:
    """Describe the confusion of two labels that has grown most, if it has grown enough."""
    if of_worst is None or of_home is None or of_worst.shape != of_home.shape:
        return []
    shares, usual = _shares(of_worst), _shares(of_home)
    grown = shares - usual
    np.fill_diagonal(grown, 0)
    gold, predicted = np.unravel_index(grown.argmax(), grown.shape)
    if grown[gold, predicted] < MORE_CONFUSED:
        return []
    labels, english = record.labels or [], describe(record.training_language).name
    names = labels if len(labels) == len(of_worst) else [f"label {number}" for number in range(len(of_worst))]
    share, before = (one_decimal(100 * float(own[gold, predicted])) for own in (shares, usual))
    return [f"{names[gold]} is mistaken for {names[predicted]} in {share} % of cases ({english} {before} %)"]


def _shares(confusion: np.ndarray) -> np.ndarray:
    """Return (C, C) shares: for each gold label, the share of its rows that was given each label."""
    shares: np.ndarray = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return shares


def _confusions(runs: Sequence[StoredRun], languages: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the confusion counts, summed over the seeds, of languages for which those of every seed are known."""
    known = {}
    for language in languages:
        counts = [_confusion(run, language) for run in runs if language in run.record.scores]
        found = [own for own in counts if own is not None]
        if found and len(found) == len(counts) and len({own.shape for own in found}) == 1:
            known[language] = np.sum(found, axis=0)
    return known


def _confusion(run: StoredRun, language: str) -> np.ndarray | None:
    """Return the counts in the record or else those of the predictions; None if neither shows them."""
    if (counts := run.record.scores[language].confusion) is not None:
        return np.array(counts)
    from xeval.report import evidence  # pyarrow, which most rows are shown without

    try:
        own = evidence.of_run(run, language)
    except StoreError:  # the diagnosis reports it
        return None
    return own.confusion if own is not None else None


def _listed(parts: Sequence[str]) -> str:
    return ", and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
