"""The common base of kinds of task whose rows each get one label out of a fixed list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xeval.kinds.encoded import Encoded, PlainCall, encode_texts, plain_call
from xeval.kinds.given import KEY, Given
from xeval.kinds.kind import Column, Reads
from xeval.kinds.labels import OfLabels, is_cell, is_missing, said_of
from xeval.kinds.metric import ACCURACY, Metric, correct_of_rows, f1
from xeval.kinds.rows import Faults, Rows, Table
from xeval.support.errors import DataError, UnansweredError
from xeval.support.findings import Finding, by_language, error, fine, warning
from xeval.support.text import one_line

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from transformers import PreTrainedTokenizerBase

TOO_FREQUENT = 1.5  # times a label's share elsewhere
MANY_ROWS = 10  # expected rows of a label that are not all missing by chance
AGREEING = 0.1  # share of rows with the same label, beyond chance, in two copies of one test split
FEW_LABELS = 7  # maximum number of labels to show one by one
PLACEHOLDER_FROM = 10  # rows that all have one label


class Classification(OfLabels):
    """One label for each row. A subclass defines which texts a row has, and their columns."""

    pipeline: ClassVar[str] = "text-classification"
    head: ClassVar[str] = "AutoModelForSequenceClassification"
    reads: ClassVar[Reads] = "first token"
    counts: ClassVar[tuple[str, ...]] = ACCURACY.counts
    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY,)

    def __init__(self, keys: Any) -> None:
        self.keys = keys
        columns: dict[str, Column] = keys.columns.model_dump()
        self._label_column = columns.pop("label")
        self._column_of_text = columns

    @property
    def chance(self) -> float:
        return 1 / len(self.labels)

    # ── rows ──

    @property
    def text_columns(self) -> tuple[str, ...]:
        return tuple(self._column_of_text.values())

    @property
    def gold_columns(self) -> tuple[str, ...]:
        return (self._label_column,)

    def read(self, table: Table) -> Rows:
        faults = Faults(table.where, len(table))
        texts = {name: table.texts(column, faults) for name, column in self._column_of_text.items()}
        gold = self._gold(table, faults)
        return Rows(table.language, table.split, texts, gold, self.groups(texts))

    def groups(self, texts: Mapping[str, Sequence[str]]) -> np.ndarray:
        """Return (N,) int64 in which rows that depend on each other share a number."""
        return np.arange(len(next(iter(texts.values()))))

    def _gold(self, table: Table, faults: Faults) -> np.ndarray:
        """Return the right answers, (N,) int64 indices into the labels.

        If the file has names, the names decide, never their order.
        """
        values = table.columns.get(self._label_column, [None] * len(table))
        if len(values) and all(map(is_missing, values)):
            raise UnansweredError(
                f"{table.where} carry no labels (XTREME and some mirrors strip them), so they cannot be scored;"
                " use a copy that has them, such as the hub's"
            )
        names = table.value_names.get(self._label_column)
        index_of = self.matcher.of_cells(table.where, filter(is_cell, values), names)
        for number, value in enumerate(values, start=1):
            if not is_cell(value) or index_of.get(value) is None:
                faults.note(number, f"label {said_of(value, names)}", self.matcher.wanted(value, names))
        faults.refuse()
        if len(set(values)) == 1 and len(values) >= PLACEHOLDER_FROM:
            raise UnansweredError(
                f"{table.where} are all labelled {said_of(values[0], names)}, a placeholder; use a copy that"
                " carries the labels"
            )
        return np.array([index_of[value] for value in values], dtype=np.int64)

    # ── encoder ──

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Rows,
        max_length: int,
        on_rows: Callable[[int], None] = lambda n: None,
    ) -> Encoded:
        """Encode each row as `tokenizer(*texts, truncation=True, max_length=max_length)` does."""
        return encode_texts(tokenizer, tuple(rows.texts.values()), rows.gold, max_length, on_rows)

    def plain_call(self, tokenizer: PreTrainedTokenizerBase, rows: Rows, max_length: int) -> PlainCall:
        return PlainCall(plain_call(tokenizer, tuple(rows.texts.values()), max_length), np.arange(len(rows)))

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, int]:
        import torch

        return torch.nn.functional.cross_entropy(output, targets, reduction="sum"), len(targets)

    # ── answers ──

    def answers(self, outputs: np.ndarray, encoded: Encoded, rows: Rows) -> pa.Table:
        """Return `label` and `prediction`, both indices into the labels, and the `logits`, (C,) for each row."""
        return best_of(outputs, rows.gold)

    def tally(self, answers: pa.Table, rows: Rows) -> np.ndarray:
        return correct_of_rows(answers["prediction"].to_numpy(), rows.gold)

    # ── what others answered ──

    def answers_given(self, given: Given, rows: Rows) -> pa.Table:
        """Return `label` and `prediction`, and the `logits`, in the order of the labels, if they are given."""
        ordered = given.in_order_of(rows)
        return answers_of(ordered, self._numbers(ordered), rows.gold, self.labels)

    def rows_of_key(self, table: Table, given: Given) -> Rows:
        gold = self._numbers(Given(table.where, table.columns[KEY]))
        return Rows(table.language, table.split, {}, gold, np.arange(len(gold)))

    def _numbers(self, given: Given) -> np.ndarray:
        """Return the given labels as indices, (N,) int64."""
        index_of = self.matcher.of_cells(given.where, filter(is_cell, given.answers), None)
        return numbers_of(given, index_of, self.labels)

    # ── answers ──

    @classmethod
    def other_scores(cls, answers: pa.Table, labels: Sequence[str]) -> dict[str, float]:
        """Return the mean of the labels' F1."""
        return {"macro_f1": macro_f1(*(np.asarray(answers[name]) for name in ("label", "prediction")))}

    def most_predicted(self, answers: pa.Table) -> int:
        return int(np.bincount(np.asarray(answers["prediction"])).max())

    def majority(self, rows: Rows) -> tuple[str, int]:
        counts = np.bincount(rows.gold, minlength=len(self.labels))
        return self.labels[int(counts.argmax())], int(counts.max())

    # ── checks before a run ──

    def row_checks(self, training: Mapping[str, Rows], tests: Mapping[str, Rows]) -> list[Finding]:
        splits = {f"{rows.language} {split}": rows for split, rows in training.items()}
        splits |= {f"{language} test": rows for language, rows in tests.items()}
        findings = [self._check_texts(splits), self._check_labels(training, tests), check_alignment(tests)]
        return [finding for finding in findings if finding is not None]

    def _check_texts(self, splits: Mapping[str, Rows]) -> Finding | None:
        """Count the rows with an empty text, which a model answers like any other; return None if there are none."""
        empty = {
            name: [
                number
                for number, of_row in enumerate(zip(*rows.texts.values(), strict=True), start=1)
                if not all(text.strip() for text in of_row)
            ]
            for name, rows in splits.items()
        }
        counts = [f"{name} {len(rows):,} (first row {rows[0]:,})" for name, rows in empty.items() if rows]
        if not counts:
            return None
        return warning("empty texts", f"{self.unit} with one: {', '.join(counts)}", "Correct or remove them.")

    def _check_labels(self, training: Mapping[str, Rows], tests: Mapping[str, Rows]) -> Finding:
        """Check that training has every label, and that no split has a label far more often than the others.

        How often a label should occur is unknown: many corpora are unbalanced, but their splits are alike in that.
        """
        usual = np.median([self._shares(rows) for rows in tests.values()], axis=0)  # (C,)
        absent = self._absent(training["train"], tests) if "train" in training else []
        if absent:
            return error("labels", f"no training row has {', '.join(absent)}", "Use a copy that has every label.")
        strays = [
            self._side_by_side(f"{language} test", self._shares(rows), "the others", usual)
            for language, rows in tests.items()
            if _is_out_of_line(self._shares(rows), usual, len(rows))
        ]
        fewest = min(map(len, tests.values()))
        strays += [
            self._side_by_side("the test splits", usual, f"{rows.language} {split}", self._shares(rows))
            for split, rows in training.items()
            if _is_out_of_line(usual, self._shares(rows), fewest)
        ]
        if strays:
            fix = "Unless the data are meant to be so, use a copy that carries its own labels."
            return warning("labels", "; ".join(strays), fix)
        alike = [f"in each of {len(tests)} languages"] * (len(tests) > 1) + ["in training"] * bool(training)
        also = f", much the same {' and '.join(alike)}" if alike else ""
        return fine("labels", f"{self._in_words(usual)} of the test rows{also}")

    def _shares(self, rows: Rows) -> np.ndarray:
        """Return how often each label is the right one, (C,)."""
        shares: np.ndarray = np.bincount(rows.gold, minlength=len(self.labels)) / len(rows)
        return shares

    def _absent(self, train: Rows, tests: Mapping[str, Rows]) -> list[str]:
        """Return the labels that test rows have and training rows lack."""
        used = np.any([self._shares(rows) > 0 for rows in tests.values()], axis=0)
        return [self.labels[place] for place in np.flatnonzero(used & (self._shares(train) == 0))]

    def _side_by_side(self, name: str, shares: np.ndarray, other: str, others: np.ndarray) -> str:
        """Describe both (C,) shares; if there are many labels, only the one in which they differ most."""
        places = range(len(shares)) if len(shares) <= FEW_LABELS else [int(np.abs(shares - others).argmax())]
        return f"{name}: {self._in_words(shares, places)}, {other}: {self._in_words(others, places)}"

    def _in_words(self, shares: np.ndarray, places: Iterable[int] = ()) -> str:
        """Return text such as `neutral 57 %, entailment 43 %`.

        It has the labels at `places`, if given; otherwise all of them if there are few, or the most frequent one.
        """
        some = places or (range(len(shares)) if len(shares) <= FEW_LABELS else [int(shares.argmax())])
        text = ", ".join(f"{self.labels[place]} {shares[place]:.0%}".replace("%", " %") for place in some)
        return text if places or len(shares) <= FEW_LABELS else f"{len(shares)} labels, at most {text}"


def _is_out_of_line(shares: np.ndarray, usual: np.ndarray, n_rows: int) -> bool:
    """Return whether one of (C,) `shares` in `n_rows` is far above its `usual` share, or 0 where that is many rows."""
    noise = 3 * np.sqrt(np.maximum(usual, 1 / n_rows) * (1 - usual) / n_rows)
    return bool((shares > TOO_FREQUENT * usual + noise).any() or ((shares == 0) & (usual * n_rows > MANY_ROWS)).any())


def macro_f1(gold: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean F1 over the labels in (N,) `gold` or `predictions`, as scikit-learn does.

    A label that is never predicted has 0, and so has one that is predicted but never right.
    """
    scores = []
    for label in np.union1d(gold, predictions):
        is_gold, is_predicted = gold == label, predictions == label
        n_right = (is_gold & is_predicted).sum()
        scores.append(f1(np.array([n_right, is_predicted.sum() - n_right, is_gold.sum() - n_right])))
    return float(np.mean(scores))


def best_of(logits: np.ndarray, gold: np.ndarray) -> pa.Table:
    """Return `label`, the (N,) right answers, `prediction`, the column of the highest logit, and `logits`, (N, C)."""
    import pyarrow as pa

    lists = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel(), pa.float32()), logits.shape[1])
    predictions = pa.array(logits.argmax(axis=1), pa.int32())
    return pa.table({"label": pa.array(gold, pa.int32()), "prediction": predictions, "logits": lists})


def labels_given(predictions: np.ndarray, gold: np.ndarray) -> pa.Table:
    """Return `label`, the (N,) right answers, and `prediction`, answers of others that came without logits."""
    import pyarrow as pa

    return pa.table({"label": pa.array(gold, pa.int32()), "prediction": pa.array(predictions, pa.int32())})


def answers_of(given: Given, numbers: np.ndarray, gold: np.ndarray, names: Sequence[str]) -> pa.Table:
    """Return `label`, the (N,) right answers, `prediction`, the given ones as `numbers`, and their `logits`, if given.

    `numbers` are empty if there are only logits; the first of the highest is then the prediction.
    Raise DataError unless there is a logit for each of `names`, and the prediction's is nowhere lower than another:
    numbers that are better the lower they are, such as losses, are no logits.
    """
    logits = given.logits
    if logits is None:
        return labels_given(numbers, gold)
    if logits.shape[1] != len(names):
        raise DataError(f"{given.where}: {logits.shape[1]} logits per row; wanted one for each of {', '.join(names)}")
    answers = best_of(logits, gold)
    if not len(numbers):
        return answers
    if n := int((logits[np.arange(len(numbers)), numbers] < logits.max(axis=1)).sum()):
        no_gold = f", and no right answers in column {given.column}" * (given.column == "label")
        raise DataError(
            f"{given.where}: in {n:,} of {len(gold):,} rows the highest logit is not the prediction's; wanted logits in"
            f" the order {', '.join(names)}{no_gold}"
        )
    return answers.set_column(1, "prediction", labels_given(numbers, gold)["prediction"])


def numbers_of(given: Given, number_of: Mapping[Any, int | None], names: Sequence[str]) -> np.ndarray:
    """Return the number that each answer stands for, (N,) int64.

    Raise DataError, listing all `names`, for an answer that stands for none.
    """
    for place, answer in enumerate(given.answers, start=1):
        if not is_cell(answer) or number_of.get(answer) is None:
            raise DataError(
                f"{given.where}: prediction {place:,} is {one_line(repr(answer))[:80]}; wanted one of"
                f" {', '.join(names)}"
            )
    return np.array([number_of[answer] for answer in given.answers], dtype=np.int64)


def check_alignment(tests: Mapping[str, Rows]) -> Finding | None:
    """Check whether a language's gold labels differ from those that most languages share, row by row.

    Return None if the languages are not parallel, or too few to tell.
    """
    keys = {language: rows.gold.tobytes() for language, rows in tests.items()}
    [(common, n_common)] = Counter(keys.values()).most_common(1) or [(b"", 0)]
    if n_common < 3 or 2 * n_common <= len(tests):
        return None
    usual = next(tests[language].gold for language, key in keys.items() if key == common)
    others = {language: rows.gold for language, rows in tests.items() if keys[language] != common}
    strays = {
        language: float(np.mean(gold != usual)) for language, gold in others.items() if _was_the_same(gold, usual)
    }
    if strays:
        return warning(
            "parallel labels",
            f"{n_common} languages have the same labels row by row; rows that differ elsewhere: {by_language(strays)}",
            "Fetch the test splits of these languages again: their labels or their order differ from the others'.",
        )
    apart = f"; {', '.join(others)}: rows of their own" if others else ""
    return fine("parallel labels", f"the same, row by row, in {n_common} languages{apart}")


def _was_the_same(gold: np.ndarray, usual: np.ndarray) -> bool:
    """Return whether (N,) `gold` are the `usual` labels in another order, with other numbers, or with mistakes.

    Labels of another corpus have other counts, and agree with the usual ones no more often than by chance.
    """
    if len(gold) != len(usual):
        return False
    counts = [np.bincount(labels, minlength=int(max(gold.max(), usual.max())) + 1) for labels in (gold, usual)]
    by_chance = float(counts[0] @ counts[1]) / len(gold) ** 2
    return sorted(counts[0]) == sorted(counts[1]) or float(np.mean(gold == usual)) > by_chance + AGREEING
