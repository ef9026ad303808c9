"""The interface of a kind of task; all other code uses it and knows no kind by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from xeval.kinds.encoded import Encoded, PlainCall
from xeval.kinds.exhibit import Exhibit
from xeval.kinds.given import Given, answers_on_lines
from xeval.kinds.metric import Measure, Metric
from xeval.kinds.rows import Rows, Table
from xeval.support.errors import DataError, UnknownNameError
from xeval.support.findings import Finding

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from transformers import PreTrainedTokenizerBase

Reads = Literal["first token", "every token", "sequence"]
Column = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]


class Keys(BaseModel):
    """The keys of a task file that belong to a kind of task; each kind has its own subclass."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


@dataclass(frozen=True)
class AssumedSpread:
    """The standard deviation between seeds, in points, that is assumed until it is measured, and the grounds for it."""

    training_sd: float  # of the training language
    other_sd: float  # of every other language
    correlation: float  # between the scores of one training run in two languages
    n_rows: int  # test rows that the two deviations hold for
    disagreement: float  # share of rows that only one of two runs has right; adds to the deviations on fewer rows
    df: float  # how much this counts, in degrees of freedom: 4 is as much as five observed seeds
    source: str


WIDE = AssumedSpread(
    training_sd=1.0,
    other_sd=2.5,
    correlation=0.7,
    n_rows=1000,
    disagreement=0.2,
    df=4.0,
    source="Nothing is known about this kind of task, so this is wide. Over five seeds, F1 of XLM-R and XLM-V"
    " spreads by 0.3 to 0.4 points in English and by 0.4 to 2.4 in other languages on XQuAD, by 0.2 and by 0.2 to 5.0"
    " on WikiANN, their means over the languages by 0.2 to 0.9 (stefan-it/xlm-v-experiments @13f86b4), which"
    " correlations of 0 to 0.7 within a training run would give.",
)


class Kind(ABC):
    """A kind of task, bound to the keys of one task file.

    It is found by the name that task files give as `kind`. A kind that does not come with xeval is an entry point of
    the group `xeval.kinds`.
    """

    name: ClassVar[str]
    unit: ClassVar[str]  # what messages call its rows: "pairs"
    in_words: ClassVar[str]  # "classification of sentence pairs"
    pipeline: ClassVar[str]  # what the hub calls such tasks: "text-classification"
    grouped_by: ClassVar[str] = "rows"  # what messages call the groups that rows are drawn in: "premises"
    encoding: ClassVar[str]  # how rows become token ids, with a number that changes when the ids do: "pairs-1"
    head: ClassVar[str]  # the transformers class of the model: "AutoModelForTokenClassification"
    trains: ClassVar[bool] = True  # if not, the pretrained encoder is evaluated as it is, by its sequence vectors
    reads: ClassVar[Reads]  # what the head reads of the last layer; "first token" skips the other tokens there
    counts: ClassVar[tuple[str, ...]]  # the columns of a tally
    metrics: ClassVar[tuple[Metric, ...]]  # over these counts; the first is the main one
    keys_model: ClassVar[type[Keys]]
    native: ClassVar[tuple[str, ...]] = ()  # suffixes of files that `columns_in` reads: ".conllu"
    assumed_spread: ClassVar[AssumedSpread] = WIDE

    def __init__(self, keys: Any) -> None:
        self.keys = keys  # a `keys_model`

    # ── what its files hold ──

    @property
    @abstractmethod
    def text_columns(self) -> tuple[str, ...]:
        """Required columns, in the order of files without a header."""

    @property
    @abstractmethod
    def gold_columns(self) -> tuple[str, ...]:
        """Columns with the right answers, which come next in files without a header; some copies lack them."""

    def columns_in(self, files: Mapping[str, str]) -> dict[str, list[Any]]:
        """Return the columns in `files`, path → text, in a format of this kind's own, one file after the other.

        Raise DataError, with path and line, for text that cannot be read.
        """
        raise DataError(f"{next(iter(files))}: not in a format that {self.name} is read from; wanted a table")

    @abstractmethod
    def read(self, table: Table) -> Rows:
        """Return the rows, checked. Raise DataError for rows that cannot be used."""

    def draw(self, rows: Rows, n: int | None, seed: int) -> Rows:
        """Return at most `n` rows to evaluate on, spread evenly over all rows; all of them if `n` is None.

        Raise DataError if so few cannot be scored.
        """
        return rows.spread(n, seed)

    # ── what an encoder is given, and what it gives ──

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.keys == other.keys

    @property
    def labels(self) -> tuple[str, ...]:
        """The meanings of the head's outputs, in order; empty if they are not labels."""
        return ()

    @property
    def n_outputs(self) -> int | None:
        """How many numbers the head gives, if they are not labels and a checkpoint might ask for another number."""
        return None

    @property
    def label_aliases(self) -> Mapping[str, str]:
        """Other names of labels that data or checkpoints use."""
        return {}

    @property
    def sequences_together(self) -> int:
        """How many consecutive sequences of each row a loss needs in one batch; 1 if it can take any."""
        return 1

    @abstractmethod
    def encode(
        self, tokenizer: PreTrainedTokenizerBase, rows: Rows, max_length: int, on_rows: Callable[[int], None]
    ) -> Encoded:
        """Return token ids, at most `max_length` per sequence, and targets. `on_rows` receives numbers of rows done."""

    def plain_call(self, tokenizer: PreTrainedTokenizerBase, rows: Rows, max_length: int) -> PlainCall | None:
        """Return what a user of plain transformers would give the model, to compare with before a run.

        Return None if there is no such call, or none that `encode` must agree with.
        """
        return None

    @abstractmethod
    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, int | torch.Tensor]:
        """Return the sum of the losses and their number; training minimises the quotient.

        `output` is float32, (tokens, C) for a kind that reads every token and (B, C) for any other. `targets` has one
        line for each line of `output`.
        """

    # ── what it answered, and how good that is ──

    @abstractmethod
    def answers(self, outputs: np.ndarray, encoded: Encoded, rows: Rows) -> pa.Table:
        """Return a table with a line for each of the N rows, and at least a column `prediction`.

        `outputs` are finite: (S, C), or (total_tokens, C) for a kind that reads every token, with columns in the order
        of `labels`. For a kind that does not train, they are the vectors of the sequences.
        """

    @abstractmethod
    def tally(self, answers: pa.Table, rows: Rows) -> np.ndarray:
        """Return what each row adds to the sums that metrics use, (N, len(counts))."""

    @property
    def chance(self) -> float | None:
        """The main metric's value for an encoder that has learnt nothing; None if there is no such number."""
        return None

    # ── what others answered ──

    def answers_in(self, path: str, text: str) -> list[Any]:
        """Return the predictions in a text file without column names: one on each line, unless a kind has another form.

        Raise DataError, with path and line, for text that cannot be read.
        """
        return answers_on_lines(path, text)

    def answers_given(self, given: Given, rows: Rows) -> pa.Table:
        """Return what `answers` would if an encoder had given these predictions: a line for each of the N `rows`.

        Raise DataError if a prediction's row is uncertain, and for a prediction that is not an answer of this kind.
        """
        raise DataError(f"{given.where}: tasks of {self.in_words} are not scored from the predictions of others")

    def rows_of_key(self, table: Table, given: Given) -> Rows:
        """Return the rows of a key of right answers, without texts.

        `table` has a column `key`, in the form of predictions. `given` are the predictions, which may name rows that
        such a key leaves out.
        """
        raise DataError(f"{table.where}: tasks of {self.in_words} are not scored with a key alone; give --data")

    # ── optional ──

    @classmethod
    def measure(cls, metric: str) -> Measure:
        """Return the metric called `metric`. Raise UnknownNameError if there is none."""
        known = {own.name: own for own in cls.metrics}
        if metric not in known:
            raise UnknownNameError(f"metric of {cls.name}", metric, known)
        return Measure(known[metric], cls.counts)

    @classmethod
    def right(cls, metric: str, tallies: np.ndarray) -> np.ndarray | None:
        """Return which rows are right, (...) bool, from (..., K) lines of a tally; None if rows are not right or wrong.

        `metric` is what the run is scored by. Comparisons show the rows that only one side gets right.
        """
        measure = cls.measure(metric)
        return measure.right(tallies) if measure.metric.is_share_of_rows else None

    @classmethod
    def in_a_word(cls, answers: pa.Table, labels: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """Return the right and the given answer to each row of a predictions file; "" for right answers not in it."""
        predictions = [str(value) for value in answers["prediction"].to_pylist()]
        return [""] * len(predictions), predictions

    @classmethod
    def other_scores(cls, answers: pa.Table, labels: Sequence[str]) -> Mapping[str, float]:
        """Return, by name, one language's scores by common definitions that are not among the `metrics`."""
        return {}

    @classmethod
    def exhibits(cls, answers: Mapping[str, Sequence[pa.Table]], labels: Sequence[str]) -> Sequence[Exhibit]:
        """Return tables that show more than the score, from each language's predictions files, one for each seed."""
        return ()

    def most_predicted(self, answers: pa.Table) -> int | None:
        """Return how many rows have the most frequent answer, if answers are few; a collapsed run has only one."""
        return None

    def majority(self, rows: Rows) -> tuple[str, int] | None:
        """Return the most frequent label of `rows` and its count; None if rows do not each have one of a few labels."""
        return None

    def row_checks(self, training: Mapping[str, Rows], tests: Mapping[str, Rows]) -> Sequence[Finding]:
        """Check rows before a run: those to train and select on, by split, and those to test on, by language."""
        return ()

    def tokenizer_checks(self, tokenizer: PreTrainedTokenizerBase, tests: Mapping[str, Rows]) -> Sequence[Finding]:
        """Check a tokenizer before a run on a sample of the rows to test on, by language."""
        return ()
