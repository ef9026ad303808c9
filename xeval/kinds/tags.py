"""Tagging: every word of a sentence has a tag, such as a part of speech or its place in a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xeval.kinds.classification import PLACEHOLDER_FROM
from xeval.kinds.encoded import IGNORED, Encoded, PlainCall
from xeval.kinds.exhibit import LANGUAGE, Cell, Exhibit, pooled, share_of
from xeval.kinds.given import KEY, Given
from xeval.kinds.kind import AssumedSpread, Column, Keys, Reads
from xeval.kinds.labels import LabelKeys, OfLabels, is_cell, said_of
from xeval.kinds.metric import Metric, f1, share
from xeval.kinds.rows import Faults, Rows, Table
from xeval.kinds.spans import OUTSIDE, SpanFinder, count_spans, fates_of_spans, old_type_of, strict_spans, type_of
from xeval.kinds.tagged_files import read_tagged
from xeval.kinds.words import encode_words, share_of_other_pieces
from xeval.support.errors import DataError, UnansweredError
from xeval.support.findings import Finding, at_most, by_language, error, fine, to_hundredths, warning
from xeval.support.text import counted, is_unicode, one_line

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from transformers import PreTrainedTokenizerBase

MOST_CONFUSED = 10  # pairs of confused tags to show, over all languages
OTHER_PIECES = 0.01  # share of words with other pieces than in running text from which there is a warning


class TagColumns(Keys):
    """Names of the columns in the data."""

    words: Column = "tokens"
    tags: Column = "tags"


class TagKeys(LabelKeys):
    """The keys of a task of tagged words; its labels are the tags."""

    columns: TagColumns = TagColumns()
    """Names of the columns in the data."""


class Tagging(OfLabels):
    """A sentence is a row. Its words are tokenized one by one, and no word is left out of a score.

    `span_f1` is micro F1 over the spans that seqeval finds by default, in which a span may begin with "I-". `udpos_f1`
    is the same with the spans that seqeval found up to version 0.0.15, which XTREME calls the F1 of UDPOS; it differs
    for tags without "B-" and "I-". `token_accuracy` is the share of words with the right tag.
    """

    name: ClassVar[str] = "tagging"
    unit: ClassVar[str] = "sentences"
    in_words: ClassVar[str] = "tagging of words"
    pipeline: ClassVar[str] = "token-classification"
    encoding: ClassVar[str] = "words-one-by-one-1"
    head: ClassVar[str] = "AutoModelForTokenClassification"
    reads: ClassVar[Reads] = "every token"
    counts: ClassVar[tuple[str, ...]] = ("tp", "fp", "fn", "old_tp", "old_fp", "old_fn", "correct", "tokens")
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("span_f1", ("tp", "fp", "fn"), f1),
        Metric("udpos_f1", ("old_tp", "old_fp", "old_fn"), f1),
        Metric("token_accuracy", ("correct", "tokens"), share),
    )
    keys_model: ClassVar[type[Keys]] = TagKeys
    native: ClassVar[tuple[str, ...]] = (".tsv", ".txt", ".conll", ".conllu")
    assumed_spread: ClassVar[AssumedSpread] = AssumedSpread(
        training_sd=0.3,
        other_sd=2.0,
        correlation=0.2,
        n_rows=1000,
        disagreement=0.1,
        df=4.0,
        source="F1 of XLM-R base and XLM-V base on WikiANN, five seeds each: standard deviations of 0.2 and 0.3 points"
        " in English, of 0.3 to 5.8 (root mean square 2.0) in 47 other languages, of 0.5 and 0.9 in the mean over"
        " languages (stefan-it/xlm-v-experiments @13f86b4)."
        " With each language's own, a correlation of 0.2 gives the mean of both variances of the mean."
        " Nothing is known about other tagging.",
    )

    @property
    def has_spans(self) -> bool:
        return _have_spans(self.labels)

    @property
    def chance(self) -> float | None:
        """For spans, the score of "O" for every word. For other tags, it depends on how often each tag occurs."""
        return 0.0 if self.has_spans else None

    # ── rows ──

    @property
    def text_columns(self) -> tuple[str, ...]:
        return (self.keys.columns.words,)

    @property
    def gold_columns(self) -> tuple[str, ...]:
        return (self.keys.columns.tags,)

    def columns_in(self, files: Mapping[str, str]) -> dict[str, list[Any]]:
        tagged = read_tagged(files)
        return {self.keys.columns.words: list(tagged.words), self.keys.columns.tags: list(tagged.tags)}

    def read(self, table: Table) -> Rows:
        words = self._words(table)
        tags = self._tags(table, words)
        return Rows(table.language, table.split, {"words": words}, tags, np.arange(len(words)))

    def _words(self, table: Table) -> list[list[str]]:
        words, faults = list(table.columns[self.keys.columns.words]), Faults(table.where, len(table))
        for number, own in enumerate(words, start=1):
            if not isinstance(own, list) or not all(isinstance(word, str) for word in own):
                faults.note(number, one_line(repr(own))[:80], "a list of words")
            elif not own:
                faults.note(number, "no words")
            elif not is_unicode("".join(own)):
                faults.note(number, f"an unpaired UTF-16 surrogate in {one_line(repr(own))[:80]}", "the whole pair")
        faults.refuse()
        return words

    def _tags(self, table: Table, words: Sequence[Sequence[str]]) -> list[list[str]]:
        """Return the names of each row's tags. If the file has names, the names decide, never their order."""
        column, faults = self.keys.columns.tags, Faults(table.where, len(table))
        values = table.columns.get(column, [None] * len(table))
        if all(not own for own in values):
            raise UnansweredError(
                f"{table.where} carry no tags (XTREME's test files have none), so they cannot be scored; use a copy"
                " that has them, such as the hub's"
            )
        for number, (own, its_words) in enumerate(zip(values, words, strict=True), start=1):
            if not isinstance(own, list) or len(own) != len(its_words):
                got = counted(len(own), "tags") if isinstance(own, list) else one_line(repr(own))[:80]
                faults.note(number, f"{counted(len(its_words), 'words')} and {got}", "one for each")
        faults.refuse()
        names = table.value_names.get(column)
        index_of = self.matcher.of_cells(table.where, filter(is_cell, chain.from_iterable(values)), names)
        for number, own in enumerate(values, start=1):
            strays = [tag for tag in own if not is_cell(tag) or index_of.get(tag) is None]
            if strays:
                faults.note(number, f"tag {said_of(strays[0], names)}", self.matcher.wanted(strays[0], names))
        faults.refuse()
        label_of = {tag: self.labels[index] for tag, index in index_of.items() if index is not None}
        tags = [[label_of[tag] for tag in own] for own in values]
        different = set(chain.from_iterable(tags))
        if len(different) == 1 and len(tags) >= PLACEHOLDER_FROM:
            raise UnansweredError(
                f"{table.where} are all tagged {next(iter(different))!r}, a placeholder; use a copy that carries the"
                " tags"
            )
        return tags

    # ── encoder ──

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Rows,
        max_length: int,
        on_rows: Callable[[int], None] = lambda n: None,
    ) -> Encoded:
        return encode_words(tokenizer, rows.texts["words"], self._numbers(rows), max_length, on_rows)

    def plain_call(self, tokenizer: PreTrainedTokenizerBase, rows: Rows, max_length: int) -> PlainCall:
        """Return a plain call with the same ids; `tokenizer_checks` checks how words become pieces."""
        encoded = self.encode(tokenizer, rows, max_length)
        ids = [own.tolist() for own in np.split(encoded.input_ids, encoded.offsets[1:-1])]
        size = len(ids) if tokenizer.pad_token_id is not None else 1
        batches = [
            tokenizer.pad({"input_ids": ids[start : start + size]}, return_attention_mask=True, return_tensors="pt")
            for start in range(0, len(ids), size)
        ]
        return PlainCall(batches, np.arange(len(ids)))

    def _numbers(self, rows: Rows) -> np.ndarray:
        """Return the tags of all words as indices into the labels, (W,) int64."""
        number_of = {label: number for number, label in enumerate(self.labels)}
        return np.array([number_of[tag] for tags in rows.gold for tag in tags], dtype=np.int64)

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        total = torch.nn.functional.cross_entropy(output, targets, ignore_index=IGNORED, reduction="sum")
        return total, (targets != IGNORED).sum()

    # ── answers ──

    def answers(self, outputs: np.ndarray, encoded: Encoded, rows: Rows) -> pa.Table:
        """Return `label` and `prediction`: for each row, a list of indices into the labels, one for each word."""
        return self._both(rows, outputs.argmax(axis=1)[encoded.targets != IGNORED])

    def _both(self, rows: Rows, predicted: np.ndarray) -> pa.Table:
        """Return the right tags and the (W,) `predicted` tags, by row."""
        import pyarrow as pa

        offsets = pa.array(np.concatenate([[0], np.cumsum(_lengths(rows))]), pa.int32())
        both = {"label": self._numbers(rows), "prediction": predicted}
        return pa.table(
            {
                name: pa.ListArray.from_arrays(offsets, pa.array(numbers.astype(np.int16), pa.int16()))
                for name, numbers in both.items()
            }
        )

    # ── what others answered ──

    def answers_in(self, path: str, text: str) -> list[Any]:
        """Return each sentence's tags, from lines with a tag or a word and its tag; blank lines separate sentences.

        A line may also have all tags of a sentence, with spaces between them, as transformers' run_ner.py writes them.
        """
        lines = [line.strip().split(" ") for line in text.strip().split("\n")]
        if any(len(tags) > 1 for tags in lines) and all(self.matcher.of_name(tag) is not None for tag in chain(*lines)):
            return lines
        tagged = read_tagged({path: text})
        return [tags if tags is not None else words for words, tags in zip(tagged.words, tagged.tags, strict=True)]

    def answers_given(self, given: Given, rows: Rows) -> pa.Table:
        """Return `label` and `prediction`, as for an encoder. A sentence's tags may be one text with spaces."""
        ordered = given.with_answers().in_order_of(rows)
        answers = [tags.split() if isinstance(tags, str) else tags for tags in ordered.answers]
        cells = filter(is_cell, chain.from_iterable(tags for tags in answers if isinstance(tags, list)))
        number_of = self.matcher.of_cells(given.where, cells, None)
        for place, (tags, gold) in enumerate(zip(answers, rows.gold, strict=True), start=1):
            if not isinstance(tags, list) or len(tags) != len(gold):
                got = f"{len(tags)} tags" if isinstance(tags, list) else repr(tags)[:80]
                raise DataError(f"{given.where}: sentence {place:,} has {len(gold)} words in the data, and {got} here")
            if strays := [tag for tag in tags if not is_cell(tag) or number_of.get(tag) is None]:
                names = ", ".join(self.labels)
                raise DataError(f"{given.where}: sentence {place:,} has {repr(strays[0])[:80]}; wanted one of {names}")
        return self._both(rows, np.array([number_of[tag] for tags in answers for tag in tags], dtype=np.int64))

    def rows_of_key(self, table: Table, given: Given) -> Rows:
        key = table.columns[KEY]
        if stray := next((repr(own)[:80] for own in key if not isinstance(own, list)), ""):
            raise DataError(f"{table.where}: {one_line(stray)} where a sentence's tags belong; wanted a list of them")
        tags = self._tags(replace(table, columns={self.keys.columns.tags: key}), key)
        return Rows(table.language, table.split, {}, tags, np.arange(len(tags)))

    def tally(self, answers: pa.Table, rows: Rows) -> np.ndarray:
        predicted, gold, lengths = _flat(answers, "prediction"), self._numbers(rows), _lengths(rows)
        starts = np.cumsum(lengths) - lengths
        n_right = np.add.reduceat((predicted == gold).astype(np.int64), starts)
        spans = [
            count for how in (type_of, old_type_of)
            for count in count_spans(SpanFinder(self.labels, how), predicted, gold, lengths)
        ]  # fmt: skip
        return np.stack([*spans, n_right, lengths], axis=1)

    def most_predicted(self, answers: pa.Table) -> int:
        """Count the rows whose words all have the same tag; return the largest count of a tag."""
        tags = [set(own) for own in answers["prediction"].to_pylist()]
        return max(Counter(next(iter(own)) for own in tags if len(own) == 1).values(), default=0)

    @classmethod
    def right(cls, metric: str, tallies: np.ndarray) -> np.ndarray:
        """Return which sentences have the right tag on every word, (...) bool."""
        correct, words = (tallies[..., cls.counts.index(name)] for name in ("correct", "tokens"))
        right: np.ndarray = correct == words
        return right

    @classmethod
    def in_a_word(cls, answers: pa.Table, labels: Sequence[str]) -> tuple[list[str], list[str]]:
        gold, predictions = (
            [" ".join(labels[number] for number in own) for own in answers[name].to_pylist()]
            for name in ("label", "prediction")
        )
        return gold, predictions

    @classmethod
    def other_scores(cls, answers: pa.Table, labels: Sequence[str]) -> dict[str, float]:
        """Return the F1 of spans in seqeval's strict mode, if the tags say where spans begin."""
        if not _have_spans(labels):
            return {}
        pairs = zip(answers["prediction"].to_pylist(), answers["label"].to_pylist(), strict=True)
        counts = np.zeros(3)
        for predicted_tags, gold_tags in pairs:
            predicted, gold = (
                strict_spans([labels[number] for number in tags]) for tags in (predicted_tags, gold_tags)
            )
            shared = len(predicted & gold)
            counts += shared, len(predicted) - shared, len(gold) - shared
        return {"strict_span_f1": float(f1(counts))}

    @classmethod
    def exhibits(cls, answers: Mapping[str, Sequence[pa.Table]], labels: Sequence[str]) -> list[Exhibit]:
        tables = {language: pooled(seeds, "label", "prediction") for language, seeds in answers.items()}
        exhibits = _confused(tables, labels)
        return [*_fates(tables, labels), *exhibits] if _have_spans(labels) else exhibits

    # ── checks before a run ──

    def row_checks(self, training: Mapping[str, Rows], tests: Mapping[str, Rows]) -> list[Finding]:
        splits = {f"{rows.language} {split}": rows for split, rows in training.items()}
        splits |= {f"{language} test": rows for language, rows in tests.items()}
        findings = [self._check_tags(splits, training.get("train"))]
        if self.has_spans:
            findings.append(_check_beginnings(splits))
        return findings

    def _check_tags(self, splits: Mapping[str, Rows], train: Rows | None) -> Finding:
        """Check that each tag occurs in training, and whether a large split lacks any."""
        counts = {name: Counter(chain.from_iterable(rows.gold)) for name, rows in splits.items()}
        lacking = {
            name: [label for label in self.labels if not own[label]]
            for name, own in counts.items()
            if own.total() > 100 * len(self.labels)
        }
        untrained = [label for label in self.labels if not counts[f"{train.language} train"][label]] if train else []
        fix = "Check that the copy of the data is complete and that its tags are those of the task file."
        if untrained:
            used = [label for label in untrained if any(own[label] for own in counts.values())]
            say = error if used else warning
            return say("tags", f"no training row has {', '.join(untrained)}", fix)
        strays = [f"{name} has no {', '.join(labels)}" for name, labels in lacking.items() if labels]
        if strays:
            return fine("tags", f"{len(self.labels)} tags; {'; '.join(strays)}")
        return fine("tags", f"{len(self.labels)} tags, each in every large split of {len(splits)}")

    def tokenizer_checks(self, tokenizer: PreTrainedTokenizerBase, tests: Mapping[str, Rows]) -> list[Finding]:
        """Check how many words get other pieces because they are tokenized one by one."""
        shares = {language: share_of_other_pieces(tokenizer, rows.texts["words"]) for language, rows in tests.items()}
        name = "words one by one"
        if not shares:
            return []
        if max(shares.values()) < OTHER_PIECES:
            return [
                fine(
                    name,
                    f"pieces differ from those in running text for {at_most(shares, to_hundredths)} of a language's"
                    " words",
                )
            ]
        return [
            warning(
                name,
                f"share of words whose pieces differ from those in running text: {by_language(shares)}",
                "Set add_prefix_space to true in tokenizer_config.json if this vocabulary marks spaces before words.",
            )
        ]


def _have_spans(labels: Sequence[str]) -> bool:
    """Return whether tags say where spans begin, so that spans are what counts."""
    return any(label.startswith("B-") for label in labels)


def _fates(tables: Mapping[str, pa.Table], labels: Sequence[str]) -> list[Exhibit]:
    """Show the fates of the spans, by language, and by type over all languages."""
    finder, counts = SpanFinder(labels, type_of), {}
    for language, table in tables.items():
        lengths = np.asarray(table["label"].combine_chunks().value_lengths()).astype(np.int64)
        counts[language] = fates_of_spans(finder, _flat(table, "prediction"), _flat(table, "label"), lengths)
    header = ("spans", "right", "wrong type", "wrong boundary", "missed", "invented")
    together = np.sum(list(counts.values()), axis=0)
    types = {type_of(label): labels.index(label) for label in reversed(labels) if label != OUTSIDE}
    of_types: list[tuple[Cell, ...]] = [(name, *_shares(together[number])) for name, number in sorted(types.items())]
    how = "shares of the gold spans; invented: of the predicted ones, those that touch no gold one"
    return [
        Exhibit(
            f"What became of the spans: {how}",
            (LANGUAGE, *header),
            [(language, *_shares(own.sum(axis=0))) for language, own in counts.items()],
        ),
        Exhibit("What became of the spans, all languages together, by type", ("type", *header), of_types),
    ]


def _shares(fates: np.ndarray) -> tuple[Cell, ...]:
    *of_gold, invented, n_predicted = fates.tolist()
    n_gold = sum(of_gold)
    return (n_gold, *(share_of(n, n_gold) for n in of_gold), share_of(invented, n_predicted))


def _confused(tables: Mapping[str, pa.Table], labels: Sequence[str]) -> list[Exhibit]:
    """Show which tags are mistaken for which: the most frequent mistake of each language, and those of all together."""
    by_language: list[tuple[Cell, ...]] = []
    together = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for language, table in tables.items():
        flat = _flat(table, "label") * len(labels) + _flat(table, "prediction")
        counts = np.bincount(flat, minlength=together.size).reshape(together.shape)  # by gold, then by predicted tag
        together += counts
        n_words = int(counts.sum())
        first = _mistakes(counts, labels, 1) or [("–", "–", 0, 0.0)]
        by_language.append((language, n_words, share_of(counts.trace(), n_words), *first[0]))
    header = ("gold", "predicted", "mistakes", "of the gold tag")
    return [
        Exhibit("The most frequent mistake by language", (LANGUAGE, "words", "right", *header), by_language),
        Exhibit("The most confused tags, all languages together", header, _mistakes(together, labels, MOST_CONFUSED)),
    ]


def _mistakes(counts: np.ndarray, labels: Sequence[str], most: int) -> list[tuple[Cell, ...]]:
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    of_gold = counts.sum(axis=1)
    places = np.argsort(-wrong, axis=None, kind="stable")[:most].tolist()
    pairs = [(place // len(counts), place % len(counts)) for place in places]
    return [
        (labels[gold], labels[predicted], int(wrong[gold, predicted]), share_of(wrong[gold, predicted], of_gold[gold]))
        for gold, predicted in pairs
        if wrong[gold, predicted]
    ]


def _check_beginnings(splits: Mapping[str, Rows]) -> Finding:
    """Count the spans that begin with I-, which the metric counts as spans."""
    n_strays = {name: _count_without_beginning(rows) for name, rows in splits.items()}
    strays = {name: n for name, n in n_strays.items() if n}
    if not strays:
        return fine("beginnings of spans", "each has its B-")
    evidence = ", ".join(f"{name} {n:,}" for name, n in sorted(strays.items(), key=lambda item: -item[1])[:10])
    return fine("beginnings of spans", f"some begin with I- and count as spans: {evidence}")


def _count_without_beginning(rows: Rows) -> int:
    return sum(
        tag.startswith("I-") and before[1:] != tag[1:]
        for tags in rows.gold
        for before, tag in zip([OUTSIDE, *tags], tags, strict=False)
    )


def _lengths(rows: Rows) -> np.ndarray:
    """Return the number of words in each row, (N,) int64."""
    return np.array([len(tags) for tags in rows.gold], dtype=np.int64)


def _flat(answers: pa.Table, name: str) -> np.ndarray:
    """Return a column of lists as one array, (W,) int64."""
    numbers: np.ndarray = np.asarray(answers[name].combine_chunks().flatten()).astype(np.int64)
    return numbers
