"""The metrics of the tasks, as `evaluate` metrics that are constructed here and never fetched.

`evaluate.load` needs the hub even for accuracy, and loading a metric from a path runs that path's code.
"""

import datasets
import evaluate
import numpy as np


class Accuracy(evaluate.Metric):
    """The share of rows whose predicted label is the gold label, with the counts that it was made from."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of rows whose prediction equals the reference.",
            citation="",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float | int]:
        n_correct = int(np.equal(predictions, references).sum())
        return {
            "accuracy": n_correct / len(references),
            "n_correct": n_correct,
            "n_examples": len(references),
        }


def compute_accuracy(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float | int]:
    """`accuracy`, `n_correct` and `n_examples` of (N,) predicted against (N,) gold label indices."""
    return Accuracy(keep_in_memory=True).compute(predictions=predictions, references=labels)
