"""Sentence classification: a text and a label."""

from __future__ import annotations

from typing import ClassVar

from xeval.kinds.classification import Classification
from xeval.kinds.kind import AssumedSpread, Column, Keys
from xeval.kinds.labels import LabelKeys


class SentenceColumns(Keys):
    """Names of the columns in the data."""

    text: Column = "text"
    label: Column = "label"


class SentenceKeys(LabelKeys):
    """The keys of a task of single texts."""

    columns: SentenceColumns = SentenceColumns()
    """Names of the columns in the data."""


class SentenceClassification(Classification):
    """Rows are independent of each other."""

    name: ClassVar[str] = "sentence-classification"
    unit: ClassVar[str] = "sentences"
    in_words: ClassVar[str] = "classification of sentences"
    encoding: ClassVar[str] = "sentences-1"
    keys_model: ClassVar[type[Keys]] = SentenceKeys
    assumed_spread: ClassVar[AssumedSpread] = AssumedSpread(
        training_sd=0.5,
        other_sd=0.8,
        correlation=0.5,
        n_rows=5010,
        disagreement=0.2,
        df=4.0,
        source="No published table of seeds was found for such a task, so this is what is assumed for pairs, plus what"
        " chance on single rows adds on fewer rows than XNLI's.",
    )
