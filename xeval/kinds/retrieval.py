"""Sentence retrieval: for each English sentence, the nearest of all sentences of another language, without training.

Artetxe and Schwenk 2019, https://arxiv.org/abs/1812.10464; as XTREME scores it, https://github.com/google-research/xtreme.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xeval.kinds.encoded import Encoded, PlainCall, encode_texts, laid_end_to_end, plain_call, without_words
from xeval.kinds.exhibit import LANGUAGE, Cell, Exhibit, pooled, share_of, tallies
from xeval.kinds.given import KEY, Given
from xeval.kinds.kind import Column, Keys
from xeval.kinds.labels import whole_number
from xeval.kinds.metric import ACCURACY, Metric, correct_of_rows
from xeval.kinds.rows import Rows, Table
from xeval.kinds.vectors import OfVectors, first_of_each, lines_of, normalised, not_empty, similarities
from xeval.support.errors import CopyError, DataError
from xeval.support.findings import Finding, at_most, fine
from xeval.support.text import is_whole_number, one_line

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

RANKS = (1, 5, 10)  # reports show how often the right translation is among this many nearest ones
ANY_ROW = 1_000_000_000  # bound on row numbers if the number of rows is unknown
SORTED_FROM = 50  # this many sentences are never in alphabetical order by chance


class RetrievalColumns(Keys):
    """Names of the columns in the data."""

    query: Column = "english"
    text: Column = "text"
    label: Column = "label"


class RetrievalKeys(Keys):
    """The keys of a task of sentences and their translations."""

    columns: RetrievalColumns = RetrievalColumns()
    """Names of the columns in the data: the sentences to look up, the sentences to search, and, if the two of a row do
    not translate each other, the number of the row that has the translation, counted from 0."""
    query_suffix: Column = "en"
    """Extension of the file with the sentences to look up, if a language has files of parallel lines."""


class SentenceRetrieval(OfVectors):
    """A row is a sentence and its translation; it is right if no other row's translation is nearer.

    The first of equal translations stands for all of them, and only the row itself counts as right, as in XTREME.
    """

    name: ClassVar[str] = "sentence-retrieval"
    in_words: ClassVar[str] = "retrieval of translations"
    encoding: ClassVar[str] = "translations-1"
    counts: ClassVar[tuple[str, ...]] = ACCURACY.counts
    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY,)
    keys_model: ClassVar[type[Keys]] = RetrievalKeys

    # ── rows ──

    @property
    def text_columns(self) -> tuple[str, ...]:
        return (self.keys.columns.query, self.keys.columns.text)

    @property
    def gold_columns(self) -> tuple[str, ...]:
        return (self.keys.columns.label,)

    def columns_in(self, files: Mapping[str, str]) -> dict[str, list[Any]]:
        """Return the columns of two files with a sentence on each line, and of an optional third that ends in `.gold`.

        The third has, for each sentence to look up, the number of the line that translates it. Without it, line i
        translates line i.
        """
        suffixes = {path: PurePath(path).suffix for path in files}
        gold = [path for path, suffix in suffixes.items() if suffix == ".gold"]
        queries = [path for path, suffix in suffixes.items() if suffix == f".{self.keys.query_suffix}"]
        texts = [path for path in files if path not in (*gold, *queries)]
        if len(queries) != 1 or len(texts) != 1 or len(gold) > 1:
            raise DataError(
                f"{next(iter(files))}: wanted two files of parallel lines, one of which ends in"
                f" .{self.keys.query_suffix}, got {', '.join(PurePath(path).name for path in files)}"
            )
        columns = [lines_of(files[path]) for path in (*queries, *texts, *gold)]
        for path, column in zip((*texts, *gold), columns[1:], strict=True):
            if len(column) != len(columns[0]):
                raise CopyError(
                    f"{path}: wanted as many lines as {PurePath(queries[0]).name} has, {len(columns[0]):,}, got"
                    f" {len(column):,}"
                )
        return dict(zip((*self.text_columns, *self.gold_columns), columns, strict=False))

    def read(self, table: Table) -> Rows:
        """Return rows in the order of the queries, each with its own translation, whose number is the right answer."""
        names = self.keys.columns
        queries, texts = (not_empty(table, table.texts(column)) for column in (names.query, names.text))
        gold = self._gold(table, queries, texts)
        own = [texts[number] for number in gold]
        return Rows(table.language, table.split, {"query": queries, "text": own}, gold, np.arange(len(table)))

    def _gold(self, table: Table, queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Return the number of each query's translation, (N,) int64; each number occurs once."""
        values = table.columns.get(self.keys.columns.label)
        if values is None or all(value is None for value in values):
            if len(queries) >= SORTED_FROM and _in_order(queries) and not _in_order(texts):
                raise DataError(
                    f"{table.where} have their {self.keys.query_suffix} side in alphabetical order and the other"
                    " not, as XTREME prepares them, so rows do not translate each other; use the files that its script"
                    f" copies, LASER's, by XTREME's names, or add {self.keys.columns.label!r}, in which row each"
                    " translation is"
                )
            return np.arange(len(table))
        for number, value in enumerate(values, start=1):
            if whole_number(value) not in range(len(table)):
                raise DataError(
                    f"{table.where}: row {number} has its translation in {repr(value)[:80]}; wanted a number from 0 to"
                    f" {len(table) - 1:,}"
                )
        gold = np.array([whole_number(value) for value in values], dtype=np.int64)
        if len(np.unique(gold)) < len(gold):
            raise DataError(f"{table.where}: two rows have the same translation; wanted each number once")
        return gold

    # ── vectors ──

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Rows,
        max_length: int,
        on_rows: Callable[[int], None] = lambda n: None,
    ) -> Encoded:
        """Encode two sequences for each row: first those of all translations, then those of all queries."""
        targets = np.zeros(len(rows), dtype=np.int64)
        texts = encode_texts(tokenizer, [rows.texts["text"]], targets, max_length, on_rows)
        texts = without_words(texts, rows.texts["text"])  # the queries are in another language
        return laid_end_to_end([texts, encode_texts(tokenizer, [rows.texts["query"]], targets, max_length)])

    def plain_call(self, tokenizer: PreTrainedTokenizerBase, rows: Rows, max_length: int) -> PlainCall:
        texts = [*rows.texts["text"], *rows.texts["query"]]
        return PlainCall(plain_call(tokenizer, [texts], max_length), np.arange(len(texts)))

    def answers(self, outputs: np.ndarray, encoded: Encoded, rows: Rows) -> pa.Table:
        """Return `prediction`, `cosine`, `right_cosine` and `nearer`.

        They are the number of the nearest translation and its cosine, the cosine of the right translation, and how many
        translations are nearer than that one.
        """
        import pyarrow as pa

        vectors = normalised(outputs)
        texts, queries = vectors[: len(rows)], vectors[len(rows) :]
        number_of = first_of_each(rows.texts["text"], rows.gold)
        nearest, cosines, right, nearer = [], [], [], []
        for start, block in similarities(queries, texts):
            within = np.arange(len(block))
            best = block.argmax(axis=1)
            nearest.append(number_of[best])
            cosines.append(block[within, best])
            right.append(block[within, start + within])
            nearer.append((block > right[-1][:, None]).sum(axis=1))
        return pa.table(
            {
                "prediction": pa.array(np.concatenate(nearest), pa.int32()),
                "cosine": pa.array(np.concatenate(cosines), pa.float32()),
                "right_cosine": pa.array(np.concatenate(right), pa.float32()),
                "nearer": pa.array(np.concatenate(nearer), pa.int32()),
            }
        )

    def answers_given(self, given: Given, rows: Rows) -> pa.Table:
        """Return only `prediction`, the number of the row whose translation was found, counted from 0."""
        import pyarrow as pa

        n_rows = len(rows) if rows.texts else ANY_ROW
        ordered = given.with_answers().in_order_of(rows)
        return pa.table({"prediction": pa.array(self._numbers(ordered, n_rows), pa.int32())})

    def rows_of_key(self, table: Table, given: Given) -> Rows:
        key = Given(table.where, table.columns[KEY])
        return Rows(table.language, table.split, {}, self._numbers(key, ANY_ROW), np.arange(len(key)))

    def _numbers(self, given: Given, n_rows: int) -> np.ndarray:
        """Return the given row numbers, (N,) int64. Raise DataError for an answer that is no number below `n_rows`."""
        for place, answer in enumerate(given.answers, start=1):
            if isinstance(answer, bool) or not is_whole_number(str(answer)) or int(answer) >= n_rows:
                raise DataError(
                    f"{given.where}: prediction {place:,} is {one_line(repr(answer))[:80]}; wanted the number of a row,"
                    f" from 0 to {n_rows - 1:,}"
                )
        return np.array([int(answer) for answer in given.answers], dtype=np.int64)

    def tally(self, answers: pa.Table, rows: Rows) -> np.ndarray:
        return correct_of_rows(answers["prediction"].to_numpy(), rows.gold)

    def most_predicted(self, answers: pa.Table) -> int:
        """Return how many queries share the most frequent prediction, a hub (Radovanović et al. 2010, JMLR 11)."""
        return max(Counter(answers["prediction"].to_pylist()).values(), default=0)

    @classmethod
    def in_a_word(cls, answers: pa.Table, labels: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return row numbers."""
        predictions = [str(number) for number in answers["prediction"].to_pylist()]
        correct = cls.right("accuracy", tallies({"": [answers]})[""])
        assert correct is not None
        return [number if is_right else "" for number, is_right in zip(predictions, correct, strict=True)], predictions

    @classmethod
    def exhibits(cls, answers: Mapping[str, Sequence[pa.Table]], labels: Sequence[str]) -> list[Exhibit]:
        lines: list[tuple[Cell, ...]] = []
        for language, tables in answers.items():
            if any("nearer" not in table.column_names for table in tables):
                continue  # predictions of others, without neighbours
            table = pooled(tables, "prediction", "nearer")
            nearer, nearest = (np.asarray(table[name].combine_chunks()) for name in ("nearer", "prediction"))
            ranks = [share_of((nearer < rank).sum(), len(nearer)) for rank in RANKS]
            counts = np.bincount(nearest)
            n_found, hub = int((counts > 0).sum()), int(counts.argmax())
            lines.append((language, len(nearer), *ranks, 1 - share_of(n_found, len(nearer)), hub, int(counts[hub])))
        among = ("nearest is right", *(f"right among {rank}" for rank in RANKS[1:]))
        header = (LANGUAGE, "sentences", *among, "nearest to none", "hub: row", "nearest to")
        title = "Nearest neighbours, and the translation that is nearest to the most sentences"
        return [Exhibit(title, header, lines)] if lines else []

    # ── checks before a run ──

    def row_checks(self, training: Mapping[str, Rows], tests: Mapping[str, Rows]) -> Sequence[Finding]:
        shares = {language: 1 - len(set(rows.texts["text"])) / len(rows) for language, rows in tests.items()}
        return [
            fine(
                "equal translations",
                f"{at_most(shares)} of a language's translations; only the first is right, as in XTREME",
            )
        ]


def _in_order(texts: Sequence[str]) -> bool:
    return all(first <= second for first, second in pairwise(texts))
