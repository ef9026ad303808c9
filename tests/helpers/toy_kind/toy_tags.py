"""A kind of task in its own package: every word of a row has a tag, and words are counted, not rows.

`tests/test_own_kind.py` installs it by its entry point; docs/how-to/own-kind.md explains it.
"""

import numpy as np
import pyarrow as pa
import torch

from xeval.kinds.encoded import IGNORED, Encoded, count_pieces
from xeval.kinds.kind import Column, Keys, Kind
from xeval.kinds.metric import Metric, share
from xeval.kinds.rows import Rows, Table
from xeval.support.errors import DataError


class Columns(Keys):
    words: Column = "words"
    tags: Column = "tags"


class TagKeys(Keys):
    tags: tuple[str, ...]  # in the order of the head's outputs
    columns: Columns = Columns()


class ToyTags(Kind):
    name = "toy-tags"
    unit = "sentences"
    in_words = "tagging of words"
    pipeline = "token-classification"
    encoding = "toy-tags-1"
    head = "AutoModelForTokenClassification"
    reads = "every token"
    counts = ("right", "words")
    metrics = (Metric("tag_accuracy", ("right", "words"), share),)
    keys_model = TagKeys

    @property
    def text_columns(self):
        return (self.keys.columns.words,)

    @property
    def gold_columns(self):
        return (self.keys.columns.tags,)

    @property
    def labels(self):
        return self.keys.tags

    @property
    def chance(self):
        return 1 / len(self.keys.tags)

    def read(self, table: Table) -> Rows:
        words, tags = (
            [text.split() for text in table.texts(column)] for column in self.keys.columns.model_dump().values()
        )
        for number, (row, own) in enumerate(zip(words, tags, strict=True), start=1):
            if len(row) != len(own) or not set(own) <= set(self.labels):
                raise DataError(f"{table.where}: row {number} wants one of {', '.join(self.labels)} for each word")
        return Rows(table.language, table.split, {"words": words}, tags, np.arange(len(words)))

    def encode(self, tokenizer, rows: Rows, max_length: int, on_rows=lambda n: None) -> Encoded:
        words = rows.texts["words"]
        batch = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
        targets = []
        for row, tags in enumerate(rows.gold):
            before = [None, *batch.word_ids(row)[:-1]]
            for word, last in zip(batch.word_ids(row), before, strict=True):
                targets.append(IGNORED if word is None or word == last else self.labels.index(tags[word]))
        on_rows(len(rows))
        lengths = [len(ids) for ids in batch["input_ids"]]
        ids = np.concatenate(batch["input_ids"]).astype(np.int32)
        cut = np.mean([bool(encoding.overflowing) for encoding in batch.encodings])
        numbers = count_pieces(tokenizer, ids, len(rows), sum(map(len, words)), float(cut))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Encoded(ids, np.zeros(len(ids), np.uint8), offsets, np.arange(len(rows)), np.array(targets), numbers)

    def loss(self, output, targets):
        total = torch.nn.functional.cross_entropy(output, targets, ignore_index=IGNORED, reduction="sum")
        return total, (targets != IGNORED).sum()

    def answers(self, outputs, encoded: Encoded, rows: Rows) -> pa.Table:
        predicted = outputs.argmax(axis=1)
        of_row = [slice(*encoded.offsets[row : row + 2]) for row in range(len(rows))]
        tags = [predicted[inside][encoded.targets[inside] != IGNORED] for inside in of_row]
        return pa.table({"prediction": [[self.labels[tag] for tag in row] for row in tags], "gold": rows.gold})

    def tally(self, answers: pa.Table, rows: Rows) -> np.ndarray:
        """Words that were cut off count as wrong."""
        both = zip(answers["prediction"].to_pylist(), rows.gold, strict=True)
        return np.array([[sum(map(str.__eq__, said, gold)), len(gold)] for said, gold in both])
