"""Pair classification: a premise, a hypothesis and a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from xeval.kinds.classification import Classification
from xeval.kinds.kind import AssumedSpread, Column, Keys
from xeval.kinds.labels import LabelKeys
from xeval.kinds.rows import groups_of


class PairColumns(Keys):
    """Names of the columns in the data."""

    premise: Column = "premise"
    hypothesis: Column = "hypothesis"
    label: Column = "label"


class PairKeys(LabelKeys):
    """The keys of a task of pairs."""

    columns: PairColumns = PairColumns()
    """Names of the columns in the data."""


class PairClassification(Classification):
    """Rows with the same premise depend on each other."""

    name: ClassVar[str] = "pair-classification"
    unit: ClassVar[str] = "pairs"
    in_words: ClassVar[str] = "classification of sentence pairs"
    grouped_by: ClassVar[str] = "premises"
    encoding: ClassVar[str] = "pairs-1"
    keys_model: ClassVar[type[Keys]] = PairKeys
    assumed_spread: ClassVar[AssumedSpread] = AssumedSpread(
        training_sd=0.5,
        other_sd=0.8,
        correlation=0.5,
        n_rows=5010,
        disagreement=0.2,
        df=4.0,
        source="No table of seeds supports it. 0.5 is little more than what training runs on XNLI must differ by if"
        " they disagree on a fifth of its test rows and in nothing else, 0.45 points; zero-shot scores vary more than"
        " English ones (Keung et al. 2020, arXiv:2004.15001).",
    )

    def groups(self, texts: Mapping[str, Sequence[str]]) -> np.ndarray:
        return groups_of(texts["premise"])
