"""Calibration against its definition, row by row and bin by bin (Guo et al. 2017, arXiv:1706.04599)."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xeval.judging.calibration import (
    as_recorded,
    expected_calibration_error,
    pooled,
    probabilities,
    recorded,
    reliability,
)


def definition(logits: list[list[float]], labels: list[int], n_bins: int) -> float:
    """Equations 1 to 3 of the paper: bin m holds the rows whose confidence lies in ((m - 1) / M, m / M]."""
    rows = []
    for row, label in zip(logits, labels, strict=True):
        exponentials = [math.exp(value - max(row)) for value in row]
        chances = [value / sum(exponentials) for value in exponentials]
        rows.append((max(chances), chances.index(max(chances)) == label))
    total = 0.0
    for m in range(1, n_bins + 1):
        inside = [row for row in rows if (m - 1) / n_bins < row[0] <= m / n_bins]
        if inside:
            accuracy = sum(correct for _, correct in inside) / len(inside)
            confidence = sum(confident for confident, _ in inside) / len(inside)
            total += len(inside) / len(rows) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("n_bins", [1, 2, 10, 15])
def test_error_equals_the_definition(n_bins):
    generator = np.random.default_rng(1)
    logits, labels = generator.normal(scale=3, size=(400, 3)), generator.integers(0, 3, size=400)
    fast = expected_calibration_error(reliability(logits, labels, n_bins))
    assert fast == pytest.approx(definition(logits.tolist(), labels.tolist(), n_bins), abs=1e-12)


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 3, st.integers(0, 2)), min_size=1, max_size=30))
def test_bins_hold_every_row_once(rows):
    logits, labels = np.array([row[:3] for row in rows]), np.array([row[3] for row in rows])
    bins = reliability(logits, labels)
    assert sum(one.n for one in bins) == len(rows)
    for one in bins:
        assert one.low - 1e-9 <= one.confidence <= one.high + 1e-9 and 0 <= one.accuracy <= 1
    accuracy = float(np.mean(logits.argmax(axis=1) == labels))
    assert sum(one.n * one.accuracy for one in bins) / len(rows) == pytest.approx(accuracy)


def test_certain_but_always_wrong_model_has_an_error_of_1():
    logits = np.tile([100.0, 0.0, 0.0], (8, 1))
    assert expected_calibration_error(reliability(logits, np.ones(8, dtype=int))) == pytest.approx(1)
    assert expected_calibration_error(reliability(logits, np.zeros(8, dtype=int))) == pytest.approx(0)


def test_labels_drawn_by_the_probabilities_are_calibrated():
    generator = np.random.default_rng(2)
    logits = generator.normal(scale=2, size=(40_000, 3))
    chances = probabilities(logits)
    labels = (chances.cumsum(axis=1) < generator.random((40_000, 1))).sum(axis=1).clip(max=2)
    assert expected_calibration_error(reliability(logits, labels)) < 0.01


def test_huge_logits_do_not_overflow():
    assert probabilities(np.array([[1e4, 0.0], [-1e4, -1e4]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


@pytest.mark.parametrize("n_labels", [2, 3, 20])
def test_recorded_bins_read_back_identical_to_the_bit(n_labels):
    generator = np.random.default_rng(n_labels)
    logits = generator.normal(scale=2, size=(900, n_labels)).astype(np.float32)
    bins = reliability(logits, generator.integers(0, n_labels, size=900))
    written = json.loads(json.dumps(as_recorded(bins)))
    assert recorded(written) == bins and len(bins) > 5


def test_pooled_bins_are_the_bins_of_all_rows():
    generator = np.random.default_rng(3)
    logits, labels = generator.normal(scale=2, size=(300, 3)), generator.integers(0, 3, size=300)
    parts = [reliability(logits[part], labels[part]) for part in (slice(0, 50), slice(50, 60), slice(60, 300))]
    for one, whole in zip(pooled(parts), reliability(logits, labels), strict=True):
        assert (one.low, one.high, one.n) == (whole.low, whole.high, whole.n)
        assert (one.confidence, one.accuracy) == pytest.approx((whole.confidence, whole.accuracy))


@pytest.mark.parametrize(("n_labels", "n_bins"), [(2, 2), (2, 10), (5, 15), (3, 15)])
def test_confidence_on_an_edge_is_in_the_bin_below(n_labels, n_bins):
    [only] = reliability(np.zeros((4, n_labels)), np.zeros(4, dtype=int), n_bins)
    assert only.low < only.confidence == only.high == 1 / n_labels
