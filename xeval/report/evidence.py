"""What the logits of a row's runs show apart from its score: confused labels and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from xeval.judging.calibration import Bin, expected_calibration_error, pooled, recorded, reliability
from xeval.report.matrix import Row
from xeval.results.predictions import column, has_logits, label_counts
from xeval.results.store import StoredRun
from xeval.support.errors import StoreError


@dataclass(frozen=True)
class Evidence:
    """The evidence of one seed in one language, or of several together."""

    confusion: np.ndarray  # (C, C) counts by gold label, then by predicted label
    bins: list[Bin]
    calibration_error: float

    @property
    def confidence(self) -> float:
        """The mean confidence."""
        return sum(entry.n * entry.confidence for entry in self.bins) / sum(entry.n for entry in self.bins)


def load(row: Row) -> tuple[dict[str, list[Evidence]], list[str]]:
    """Load the evidence of every seed by language, and the problems with predictions that cannot be read.

    Both are empty for a kind of task without logits.
    """
    by_language: dict[str, list[Evidence]] = {}
    problems = []
    for run in row.runs:
        for language in run.record.scores:
            try:
                own = of_run(run, language)
            except StoreError as error:
                problems.append(str(error))
                continue
            if own is not None:
                by_language.setdefault(language, []).append(own)
    sizes = {len(evidence.confusion) for seeds in by_language.values() for evidence in seeds}
    if len(sizes) > 1:
        problems.append(f"the predictions have different numbers of labels: {sorted(sizes)}")
    return by_language, problems


def of_run(run: StoredRun, language: str) -> Evidence | None:
    """Load the evidence of one run in one language, or None for a kind of task without logits.

    It comes from the record or, for part of the rows and for older records, from the predictions. Raises StoreError if
    those are absent or damaged.
    """
    score = run.record.scores[language]
    if score.confusion is not None and score.calibration is not None:
        run.check_predictions(language)
        return _of_record(score.confusion, score.calibration)
    table = run.predictions(language, ("label", "prediction", "logits"))
    return _evidence(table) if has_logits(table) else None


def together(parts: Sequence[Evidence]) -> Evidence:
    """Merge at least one part, of several seeds or languages with the same labels.

    Rows are pooled, but the calibration error is the mean over the parts. Pooled, an overconfident part would hide an
    underconfident one.
    """
    error = sum(part.calibration_error for part in parts) / len(parts)
    return Evidence(np.sum([part.confusion for part in parts], axis=0), pooled([part.bins for part in parts]), error)


def _evidence(table: pa.Table) -> Evidence:
    bins = reliability(column(table, "logits"), column(table, "label"))
    return Evidence(label_counts(table), bins, expected_calibration_error(bins))


def _of_record(confusion: list[list[int]], calibration: list[tuple[int, int, float, float]]) -> Evidence:
    bins = recorded(calibration)
    return Evidence(np.array(confusion), bins, expected_calibration_error(bins))
