"""The metrics of the tasks, as `evaluate` metrics that are constructed here and never fetched.

`evaluate.load` needs the hub even for accuracy, and loading a metric from a path runs that path's code.
"""

from typing import TypedDict

import datasets
import evaluate
import numpy as np


class Counts(TypedDict):
    accuracy: float
    n_correct: int
    n_examples: int


class Accuracy(evaluate.Metric):  # type: ignore[misc]  # evaluate comes without types
    """The share of rows whose predicted label is the gold label, with the counts that it was made from."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of rows whose prediction equals the reference.",
            citation="",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> Counts:
        n_correct = int(np.equal(predictions, references).sum())
        return {
            "accuracy": n_correct / len(references),
            "n_correct": n_correct,
            "n_examples": len(references),
        }


def compute_accuracy(predictions: np.ndarray, labels: np.ndarray) -> Counts:
    """`accuracy`, `n_correct` and `n_examples` of (N,) predicted against (N,) gold label indices."""
    counts: Counts = Accuracy(keep_in_memory=True).compute(predictions=predictions, references=labels)
    return counts
