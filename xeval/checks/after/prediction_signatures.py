"""Signatures that show when predictions are compared with gold labels: rows, labels, their order, one label throughout.

Each function returns its finding, or None. Predictions are by language; a language whose file cannot be read is absent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations

import numpy as np

from xeval.checks.after.record_signatures import FEW_ROWS, NEARLY_CONSTANT
from xeval.kinds.classification import PLACEHOLDER_FROM
from xeval.results.records import RunRecord
from xeval.support.findings import Finding, by_language, error, warning
from xeval.support.text import counted, percent

MOST_LABELS = 4  # all orders of up to this many labels are tried
CLEARLY = 0.1  # accuracy by which another order of labels has to be better
STANDARD_ERRORS = 4  # and by this many of them
MOST_SHIFTED = 3  # rows
FEW_WRONG = 20  # predictions; with fewer, two languages may have the same ones by chance
DRIFT = 0.15  # share of predictions by which a label is given too often, beyond that of the training language
USUAL_GOLD = 0.7  # if one label is this share of the gold labels, predictions may be mostly that label too


def _none() -> np.ndarray:
    return np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Predicted:
    """A language's predictions as they were saved. If the kind of task has no labels, there are only rows."""

    rows: np.ndarray  # (N,) int, the row of each prediction
    labels: np.ndarray = field(default_factory=_none)  # (N,) int, gold
    predictions: np.ndarray = field(default_factory=_none)  # (N,) int
    n_labels: int = 0
    counted: Sequence[Sequence[int]] | None = None  # (C, C) gold by predicted, from the record, if not decoded

    @classmethod
    def of_counts(cls, counts: Sequence[Sequence[int]]) -> "Predicted":
        """Return predictions for all rows in order of which only (C, C) `counts` are known: gold by predicted label."""
        n_rows = sum(map(sum, counts))
        return cls(np.arange(n_rows, dtype=np.int32), n_labels=len(counts), counted=counts)

    @cached_property
    def confusion(self) -> np.ndarray:
        """(C, C) counts: predicted label by gold label."""
        if self.counted is not None:
            return np.array(self.counted).T
        flat = np.bincount(self.predictions * self.n_labels + self.labels, minlength=self.n_labels**2)
        return flat.reshape(self.n_labels, self.n_labels)

    @cached_property
    def of_gold(self) -> np.ndarray:
        """(C,) share of the rows that have each gold label."""
        shares: np.ndarray = self.confusion.sum(axis=0) / len(self.rows)
        return shares

    @cached_property
    def of_predictions(self) -> np.ndarray:
        """(C,) share of the rows that were given each label."""
        shares: np.ndarray = self.confusion.sum(axis=1) / len(self.rows)
        return shares


def unreadable_predictions(problems: Mapping[str, str]) -> Finding | None:
    """Report predictions that cannot be read; `problems` tells why, by language."""
    if not problems:
        return None
    first = next(iter(problems.values()))
    return error("damaged predictions", f"{', '.join(problems)}: {first}", "")


def missing_or_repeated_rows(
    record: RunRecord, predicted: Mapping[str, Predicted], expected_rows: Mapping[str, int | None]
) -> Finding | None:
    """Check that each test row was scored once: not just one process's share, and no padded duplicates.

    `expected_rows` is how many there should be, by language, if known.
    """
    strays: dict[str, list[str]] = {}
    for language, own in predicted.items():
        n_all = expected_rows.get(language) or max(record.scores[language].n_rows, int(own.rows.max()) + 1)
        n_expected = min(n_all, record.limits.max_eval or n_all)
        is_in_order = own.counted is not None or np.array_equal(own.rows, np.arange(len(own.rows)))
        if len(own.rows) == n_expected and is_in_order:
            continue
        possible = n_expected if record.limits.eval_seed is None else n_all
        different = np.unique(own.rows)
        n_missing = n_expected - int(((different >= 0) & (different < possible)).sum())
        n_repeated = len(own.rows) - len(different)
        if n_missing or n_repeated or len(own.rows) != n_expected:
            fact = (
                f"{counted(len(own.rows), 'predictions')} for {counted(n_expected, 'rows')}"
                f" ({counted(n_missing, 'rows')} missing, {n_repeated:,} counted again)"
            )
            strays.setdefault(fact, []).append(language)
    if not strays:
        return None
    fix = "Evaluate these languages again in one process; a score over other rows is not a score on this test set."
    facts = [
        f"{where[0]} {fact}" if len(where) == 1 else f"{fact} in each of {len(where)} languages ({' '.join(where)})"
        for fact, where in strays.items()
    ]
    return error("missing or repeated rows", "; ".join(facts), fix)


def placeholder_labels(predicted: Mapping[str, Predicted]) -> Finding | None:
    """Look for gold labels that are one label throughout."""
    constant = [
        language for language, own in predicted.items() if len(own.rows) >= PLACEHOLDER_FROM and own.of_gold.max() == 1
    ]
    if not constant:
        return None
    return error(
        "placeholder labels",
        f"every gold label is the same in {', '.join(constant)}",
        "Take the test split from a copy that carries its labels (the hub's, or XNLI-1.0); XTREME strips them.",
    )


_OF_HEAD = "Name the labels in id2label of config.json in the order that the head was trained with, and evaluate again."
_OF_DATA = (
    "Compare the label names of the training rows with those of the test rows; a short training run may also cause"
    " this."
)
_OF_FILES = (
    "Write the predictions as names of labels, or as numbers in the order of the task file's labels. If they are, check"
    " the labels of the test rows. Then score them again."
)


def permuted_labels(record: RunRecord, predicted: Mapping[str, Predicted], labels: Sequence[str]) -> Finding | None:
    """Look for an order of the labels in which predictions agree with gold labels far better than in their own.

    All orders are tried over all languages together, then language by language. If the head was trained here, its
    order is known, so the data must be at fault.
    """
    confusions = {language: own.confusion for language, own in predicted.items()}
    if not confusions or not 2 <= len(labels) <= MOST_LABELS:
        return None
    together = np.sum(list(confusions.values()), axis=0)
    order = _better_order(together)
    if order is not None:
        fix = _OF_FILES if record.computed_elsewhere else _OF_DATA if record.training is not None else _OF_HEAD
        return _permuted("", together, order, labels, fix)
    for language, confusion in confusions.items():
        order = _better_order(confusion)
        if order is not None:
            fix = "Correct the label names of this test split, and evaluate again."
            return _permuted(f" in {language}", confusion, order, labels, fix)
    return None


def _better_order(confusion: np.ndarray) -> tuple[int, ...] | None:
    """Return what each of C predicted labels would have to mean for far more of the rows to be right, or None."""
    n = confusion.sum()
    if n < FEW_ROWS:
        return None
    lines = confusion.tolist()
    if sum(map(max, lines)) <= _n_right(lines, range(len(lines))) + CLEARLY * n:
        return None  # no order can be that much better, so none need be tried
    counts = {order: _n_right(lines, order) for order in permutations(range(len(lines)))}
    best = max(counts, key=counts.__getitem__)
    as_it_is = counts[tuple(range(len(confusion)))]
    gained = counts[best] - as_it_is
    is_clear = gained > CLEARLY * n and gained > STANDARD_ERRORS * np.sqrt(counts[best] + as_it_is)
    is_clear &= counts[best] > (1 / len(confusion) + CLEARLY) * n
    return best if is_clear else None


def _n_right(confusion: Sequence[Sequence[int]], order: Sequence[int]) -> int:
    return sum(confusion[predicted][meant] for predicted, meant in enumerate(order))


def _permuted(where: str, confusion: np.ndarray, order: Sequence[int], labels: Sequence[str], fix: str) -> Finding:
    n = confusion.sum()
    as_it_is, reread = (_n_right(confusion.tolist(), some) / n for some in (range(len(order)), order))
    reading = [(labels[p], labels[meant]) for p, meant in enumerate(order) if p != meant]
    return error(
        "permuted labels",
        f"accuracy{where} is {percent(as_it_is)}, but {percent(reread)} if {_read_as(reading)}",
        fix,
    )


def _read_as(pairs: Sequence[tuple[str, str]]) -> str:
    (given, meant), *others = pairs  # at least two, since an order cannot move one label alone
    parts = [f"{given} is read as {meant}", *(f"{label} as {another}" for label, another in others)]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def shifted_rows(predicted: Mapping[str, Predicted]) -> Finding | None:
    """Look for predictions that fit rows some places away far better: there is a line too many or too few above."""
    strays = {}
    for language, own in predicted.items():
        if len(own.labels) < FEW_ROWS:
            continue
        right = {shift: _share_right(own, shift) for shift in range(-MOST_SHIFTED, MOST_SHIFTED + 1)}
        best = max(right, key=right.__getitem__)
        noise = STANDARD_ERRORS * np.sqrt(0.5 / len(own.labels))
        if best and right[best] > right[0] + max(CLEARLY, noise):
            strays[language] = (best, right[0], right[best])
    if not strays:
        return None
    evidence = "; ".join(
        f"{language}: {percent(as_it_is)} are right, but {percent(shifted)} if each prediction"
        f" belongs {counted(abs(shift), 'rows')} {'earlier' if shift > 0 else 'later'}"
        for language, (shift, as_it_is, shifted) in strays.items()
    )
    return error("shifted rows", evidence, "Compare the first and last predictions with the rows, and score again.")


def _share_right(own: Predicted, shift: int) -> float:
    """Return the share of predictions that are right if each belongs to the row `shift` places before its own."""
    n = len(own.labels)
    predictions, labels = (
        own.predictions[max(0, shift) : n + min(0, shift)],
        own.labels[max(0, -shift) : n - max(0, shift)],
    )
    return float(np.mean(predictions == labels))


def other_order(predicted: Mapping[str, Predicted]) -> Finding | None:
    """Look for predictions unrelated to their rows, as if they had been shuffled, sorted or reversed."""
    orders = [f"{language}: {order}" for language, own in predicted.items() if (order := _order_of(own))]
    if not orders:
        return None
    fix = "Predictions without ids or row numbers have to be in the order of the rows; compare the first and the last."
    return warning("another order", "; ".join(orders), fix)


def _order_of(own: Predicted) -> str | None:
    """Return what is odd about the order of the predictions; None if nothing is."""
    n = len(own.labels)
    shares = own.of_predictions if n else np.ones(1)
    if n < FEW_ROWS or shares.max() >= NEARLY_CONSTANT:
        return None
    dealt = float(shares @ own.of_gold)  # right if they were dealt out at random
    right, noise = float(np.mean(own.predictions == own.labels)), 2 * np.sqrt(dealt * (1 - dealt) / n)
    if abs(right - dealt) > noise:
        return None
    as_it_is = f"{percent(right)} are right"
    backwards = float(np.mean(own.predictions[::-1] == own.labels))
    if backwards > right + max(CLEARLY, 2 * noise):
        return f"{as_it_is}, but {percent(backwards)} in reverse order"
    if (np.diff(own.predictions) >= 0).all() and (np.diff(own.labels) < 0).any():
        return f"{as_it_is}, and they are sorted by label"
    return f"{as_it_is}; in random order {percent(dealt)} would be"


def nothing_but_right(predicted: Mapping[str, Predicted]) -> Finding | None:
    """Look for languages in which no prediction is wrong: the file may hold the right answers."""
    perfect = [
        language
        for language, own in predicted.items()
        if len(own.labels) >= FEW_ROWS and (own.predictions == own.labels).all()
    ]
    if not perfect:
        return None
    return warning(
        "no prediction is wrong",
        f"all of them are right in {', '.join(perfect)}",
        "Check that the file does not hold the right answers themselves, and that they were not trained on.",
    )


def one_file_for_two(predicted: Mapping[str, Predicted]) -> Finding | None:
    """Look for languages with the same predictions, row by row, though some are wrong: one was scored as the other."""
    languages_of: dict[bytes, list[str]] = {}
    for language, own in predicted.items():
        n = len(own.predictions)
        is_mixed = n >= FEW_ROWS and np.bincount(own.predictions).max() < NEARLY_CONSTANT * n
        if is_mixed and (own.predictions != own.labels).sum() >= FEW_WRONG:
            languages_of.setdefault(own.predictions.tobytes(), []).append(language)
    same = [languages for languages in languages_of.values() if len(languages) > 1]
    if not same:
        return None
    evidence = "; ".join(f"{' and '.join(languages)} have the same predictions, row by row" for languages in same)
    return error("one file for two languages", evidence, "Find the file of each of them, and score it again.")


def one_label_throughout(predicted: Mapping[str, Predicted], labels: Sequence[str]) -> Finding | None:
    """Look for languages in which nearly every prediction is one label, though the gold labels are mixed."""
    shares, names = {}, set()
    for language, own in predicted.items():
        n, counts = len(own.rows), own.confusion.sum(axis=1)
        if n >= FEW_ROWS and counts.max() >= NEARLY_CONSTANT * n and own.of_gold.max() < USUAL_GOLD:
            shares[language] = counts.max() / n
            names.add(labels[int(counts.argmax())])
    if not shares:
        return None
    return warning(
        "one label throughout",
        f"share of predictions that are {' or '.join(sorted(names))}: {by_language(shares)}",
        "Check the tokenizer on these languages with xeval doctor; if all languages are affected, nothing was learnt.",
    )


def drift_to_one_label(
    predicted: Mapping[str, Predicted], labels: Sequence[str], training_language: str
) -> Finding | None:
    """Look for languages in which a label is given far too often, and by more than in the training language."""
    usual = _excess(predicted[training_language]) if training_language in predicted else np.zeros(1)
    drifted: dict[int, dict[str, float]] = {}
    for language, own in predicted.items():
        if language == training_language or len(own.rows) < FEW_ROWS:
            continue
        more = _excess(own) - np.maximum(usual, 0.0)  # (C,)
        label = int(more.argmax())
        share = own.of_predictions[label]
        doubt = STANDARD_ERRORS * np.sqrt(share * (1 - share) / len(own.rows))
        if more[label] >= max(DRIFT, doubt) and share < NEARLY_CONSTANT:
            drifted.setdefault(label, {})[language] = share
    if not drifted:
        return None
    return warning(
        "drift to one label",
        "; ".join(
            _drift_in_words(label, labels, shares, predicted, training_language) for label, shares in drifted.items()
        ),
        "Expect this where the encoder hardly knows a language: rows that it does not understand get one label. A"
        " report shows which rows.",
    )


def _drift_in_words(
    label: int,
    labels: Sequence[str],
    shares: dict[str, float],
    predicted: Mapping[str, Predicted],
    training_language: str,
) -> str:
    gold = {language: predicted[language].of_gold[label] for language in shares}
    among = set(map(percent, gold.values()))
    of_gold = among.pop() if len(among) == 1 else by_language(gold)
    text = f"share of predictions that are {labels[label]}: {by_language(shares)}"
    if training_language in predicted:
        own = predicted[training_language]
        text += f", against {by_language({training_language: own.of_predictions[label]})}"
    return f"{text}; of the gold labels: {of_gold}"


def _excess(own: Predicted) -> np.ndarray:
    """Return (C,) how much more often each label is given than it is the gold label, as a share of rows."""
    more: np.ndarray = own.of_predictions - own.of_gold
    return more
