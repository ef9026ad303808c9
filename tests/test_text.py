"""Counts with their nouns, and how numbers are rounded and signed."""

import pytest

from xeval.support.text import counted, metric_in_words, numbered, one_decimal, printed_difference, signed


@pytest.mark.parametrize(
    ("n", "things", "said"),
    [
        (1, "languages", "1 language"),
        (0, "pairs", "0 pairs"),
        (4927, "pairs", "4,927 pairs"),
        (1, "pairs of seeds", "1 pair of seeds"),
        (1, "queries", "1 query"),
        (1, "classes", "1 class"),
        (2, "queries", "2 queries"),
    ],
)
def test_count_of_1_takes_the_singular(n, things, said):
    assert counted(n, things) == said


def test_numbers_of_seeds_are_listed():
    assert numbered("seeds", [42]) == "seed 42"
    assert numbered("seeds", [1, 2]) == "seeds 1, 2"


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (71.25, "71.3"),
        (100 * 0.7125, "71.3"),
        ((71.2 + 71.3) / 2, "71.3"),
        (71.249, "71.2"),
        (-0.04, "0.0"),
        (-0.05, "-0.1"),
        (100.0, "100.0"),
        (float("nan"), "NaN"),
    ],
)
def test_one_decimal_rounds_half_away_from_zero(points, said):
    assert one_decimal(points) == said


def test_differences_are_signed_and_zero_is_positive():
    assert [signed(0.04), signed(-0.04), signed(1.25), signed(-1.25)] == ["+0.0", "+0.0", "+1.3", "-1.3"]
    assert [signed(-0.002, 2), signed(70.398 - 70.4, 2), signed(-0.125, 2)] == ["+0.00", "+0.00", "-0.13"]


def test_difference_matches_the_printed_numbers():
    ours, published = 94.26, 94.34  # both print as 94.3, though their difference would print as 0.1
    assert printed_difference(ours, published) == 0.0
    assert printed_difference(71.26, 70.94) == 0.4
    assert printed_difference(70.21746, 70.4, 2) == -0.18


@pytest.mark.parametrize(
    ("things", "said"),
    [("published rows of other models", "1 published row of other models"), ("other queries", "1 other query")],
)
def test_singular_is_of_the_noun_not_the_adjective(things, said):
    assert counted(1, things) == said


def test_names_of_tasks_in_metrics_are_capitals():
    names = ["udpos_f1", "mlqa_exact_match", "span_f1", "f1_in_words", "hits_at_1"]
    assert [*map(metric_in_words, names)] == ["UDPOS F1", "MLQA exact match", "span F1", "F1 in words", "hits at 1"]
