"""Multiple choice: a premise, a question about it, and several answers, one of which is right.

The task file words the questions, in English for every language, as XTREME-R does:
https://github.com/google-research/xtreme/blob/master/third_party/run_xcopa.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from xeval.kinds.classification import PLACEHOLDER_FROM, answers_of, best_of, check_alignment, numbers_of
from xeval.kinds.encoded import Encoded, PlainCall, encode_texts, plain_call
from xeval.kinds.exhibit import LANGUAGE, Cell, Exhibit, pooled, share_of
from xeval.kinds.given import KEY, Given
from xeval.kinds.kind import Column, Keys, Kind, Reads
from xeval.kinds.labels import is_missing, whole_number
from xeval.kinds.metric import ACCURACY, Metric, correct_of_rows
from xeval.kinds.rows import Faults, Rows, Table
from xeval.support.errors import DataError, UnansweredError
from xeval.support.findings import Finding
from xeval.support.text import one_line

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from transformers import PreTrainedTokenizerBase


class ChoiceColumns(Keys):
    """Names of the columns in the data."""

    premise: Column = "premise"
    question: Column = "question"
    choices: Annotated[tuple[Column, ...], Field(min_length=2, max_length=20)] = ("choice1", "choice2")
    label: Column = "label"


class ChoiceKeys(Keys):
    """The keys of a task of multiple choice."""

    columns: ChoiceColumns = ChoiceColumns()
    """Names of the columns in the data."""
    questions: dict[str, str] = Field(default={})
    """Value of the question column → the question to ask after the premise; other values are refused. If absent,
    questions are asked as they are in the column."""

    @model_validator(mode="after")
    def _distinct(self) -> ChoiceKeys:
        if len(set(self.columns.choices)) != len(self.columns.choices):
            raise ValueError("columns.choices: one is listed twice")
        return self


class MultipleChoice(Kind):
    """A row is a question. Each of its choices is a sequence, (premise and question, choice), and gets one output."""

    name: ClassVar[str] = "multiple-choice"
    unit: ClassVar[str] = "questions"
    in_words: ClassVar[str] = "multiple choice"
    pipeline: ClassVar[str] = "multiple-choice"
    encoding: ClassVar[str] = "choices-1"
    head: ClassVar[str] = "AutoModelForMultipleChoice"
    reads: ClassVar[Reads] = "first token"
    counts: ClassVar[tuple[str, ...]] = ACCURACY.counts
    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY,)
    keys_model: ClassVar[type[Keys]] = ChoiceKeys

    @property
    def sequences_together(self) -> int:
        return len(self.keys.columns.choices)

    @property
    def n_outputs(self) -> int:
        """One for each sequence, which is a choice."""
        return 1

    @property
    def chance(self) -> float:
        return 1 / self.sequences_together

    @property
    def text_columns(self) -> tuple[str, ...]:
        columns = self.keys.columns
        return (columns.premise, columns.question, *columns.choices)

    @property
    def gold_columns(self) -> tuple[str, ...]:
        return (self.keys.columns.label,)

    # ── rows ──

    def read(self, table: Table) -> Rows:
        columns, faults = self.keys.columns, Faults(table.where, len(table))
        asked = [self._asked(table, *row) for row in enumerate(table.texts(columns.question), start=1)]
        choices = list(zip(*(table.texts(column, faults) for column in columns.choices), strict=True))
        premises = table.texts(columns.premise, faults)
        texts: dict[str, Sequence[Any]] = {"premise": premises, "question": asked, "choices": choices}
        for number, of_row in enumerate(zip(premises, *zip(*choices, strict=True), strict=True), start=1):
            if any(isinstance(text, str) and not text.strip() for text in of_row):
                faults.note(number, "an empty premise or choice")
        faults.refuse()
        return Rows(table.language, table.split, texts, self._gold(table), np.arange(len(table)))

    def _asked(self, table: Table, number: int, question: str) -> str:
        known: dict[str, str] = self.keys.questions
        if known and question not in known:
            raise DataError(f"{table.where}: row {number} asks {question[:80]!r}; wanted one of {', '.join(known)}")
        return known[question] if known else question

    def _gold(self, table: Table) -> np.ndarray:
        """Return the number of the right choice, counted from 0, (N,) int64."""
        n_choices = self.sequences_together
        values = table.columns.get(self.keys.columns.label, [None] * len(table))
        if len(values) and all(map(is_missing, values)):
            raise UnansweredError(f"{table.where} carry no labels, so they cannot be scored; use a copy that has them")
        gold, faults = [whole_number(value) for value in values], Faults(table.where, len(table))
        for number, (value, choice) in enumerate(zip(values, gold, strict=True), start=1):
            if choice not in range(n_choices):
                expected = f"0 to {n_choices - 1}, the number of the right choice"
                faults.note(number, f"label {one_line(repr(value))[:80]}", expected)
        faults.refuse()
        if len(set(gold)) == 1 and len(gold) >= PLACEHOLDER_FROM:
            raise UnansweredError(
                f"{table.where} all have choice {gold[0]} as the right one, a placeholder; use a copy that carries the"
                " labels, or evaluate another split, as --test-split dev does"
            )
        return np.array(gold, dtype=np.int64)

    def row_checks(self, training: Mapping[str, Rows], tests: Mapping[str, Rows]) -> list[Finding]:
        finding = check_alignment(tests)
        return [finding] if finding else []

    # ── encoder ──

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Rows,
        max_length: int,
        on_rows: Callable[[int], None] = lambda n: None,
    ) -> Encoded:
        """Encode the sequences of a row one after the other; the target is 1 for the right choice's, otherwise 0."""
        n_choices = self.sequences_together
        targets = (np.arange(n_choices) == rows.gold[:, None]).astype(np.int64).ravel()
        encoded = encode_texts(tokenizer, self._sequences(rows), targets, max_length)
        on_rows(len(rows))
        return encoded.with_rows(np.repeat(np.arange(len(rows)), n_choices))

    def plain_call(self, tokenizer: PreTrainedTokenizerBase, rows: Rows, max_length: int) -> PlainCall:
        n_sequences = len(rows) * self.sequences_together
        return PlainCall(plain_call(tokenizer, self._sequences(rows), max_length), np.arange(n_sequences))

    def _sequences(self, rows: Rows) -> tuple[list[str], list[str]]:
        """Return the first texts of all sequences, and the second texts."""
        asked: Sequence[tuple[Any, Any]] = list(zip(rows.texts["premise"], rows.texts["question"], strict=True))
        first = [f"{premise} {question}".strip() for premise, question in asked for _ in range(self.sequences_together)]
        return first, [choice for choices in rows.texts["choices"] for choice in choices]

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return the summed cross-entropy over each row's choices, and the number of rows.

        `output` is (B · choices, 1), `targets` (B · choices,).
        """
        import torch

        by_row = output.view(-1, self.sequences_together)
        right = targets.view(by_row.shape).argmax(dim=1)
        return torch.nn.functional.cross_entropy(by_row, right, reduction="sum"), len(by_row)

    # ── answers ──

    def answers(self, outputs: np.ndarray, encoded: Encoded, rows: Rows) -> pa.Table:
        """Return `label` and `prediction`, both numbers of choices, and the `logits`, one for each choice."""
        return best_of(outputs.reshape(len(rows), self.sequences_together), rows.gold)

    def answers_given(self, given: Given, rows: Rows) -> pa.Table:
        """Return `label` and `prediction`, numbers of choices, and the `logits` if they are given."""
        ordered = given.in_order_of(rows)
        names = [f"choice {number}" for number in range(self.sequences_together)]
        return answers_of(ordered, self._numbers(ordered), rows.gold, names)

    def rows_of_key(self, table: Table, given: Given) -> Rows:
        gold = self._numbers(Given(table.where, table.columns[KEY]))
        return Rows(table.language, table.split, {}, gold, np.arange(len(gold)))

    def _numbers(self, given: Given) -> np.ndarray:
        numbers = range(self.sequences_together)
        number_of = {number: number for number in numbers} | {str(number): number for number in numbers}
        return numbers_of(given, number_of, [str(number) for number in numbers])

    def tally(self, answers: pa.Table, rows: Rows) -> np.ndarray:
        return correct_of_rows(answers["prediction"].to_numpy(), rows.gold)

    @classmethod
    def exhibits(cls, answers: Mapping[str, Sequence[pa.Table]], labels: Sequence[str]) -> list[Exhibit]:
        """Show whether a choice is preferred for its position."""
        lines: list[tuple[Cell, ...]] = []
        for language, tables in answers.items():
            table = pooled(tables, "label", "prediction")
            gold, predicted = (np.asarray(table[name].combine_chunks()) for name in ("label", "prediction"))
            n_choices = int(max(gold.max(), predicted.max())) + 1
            for choice in range(n_choices):
                is_gold, is_predicted = gold == choice, predicted == choice
                shares = [share_of(own.sum(), len(gold)) for own in (is_gold, is_predicted)]
                lines.append((language, choice, *shares, share_of((is_gold & is_predicted).sum(), is_gold.sum())))
        header = (LANGUAGE, "choice", "is the right one in", "is chosen in", "is chosen where it is right")
        return [Exhibit("Is a choice preferred for its position?", header, lines)]
