"""The line printed before each of several pieces of work."""

import pytest

from xeval.support import countdown


@pytest.fixture
def clock(monkeypatch):
    """`clock(seconds)` lets time pass."""
    now = [1000.0]
    monkeypatch.setattr(countdown.time, "monotonic", lambda: now[0])

    def let_pass(seconds: float) -> None:
        now[0] += seconds

    return let_pass


def said(works, seconds, clock, what="run"):
    lines = []
    names = [f"work {place}" for place in range(len(works))]
    for item, took in zip(countdown.count_down(names, works, str, lines.append, what), seconds, strict=True):
        assert item in names
        clock(took)
    return lines


def test_time_left_is_estimated_from_shares_of_work(clock):
    assert said([100, 300, 200], [60, 180, 120], clock) == [
        "run 1 of 3: work 0",
        "run 2 of 3, about 5 minutes left: work 1",
        "run 3 of 3, about 2 minutes left: work 2",
    ]


def test_finished_work_is_neither_counted_nor_timed(clock):
    assert said([0, 10, 0, 10], [5, 600, 5, 600], clock, "task") == [
        "task 1 of 2: work 1",
        "task 2 of 2, about 10 minutes left: work 3",
    ]


@pytest.mark.parametrize("works", [[], [7], [0, 0], [0, 7]])
def test_single_piece_of_work_prints_nothing(works, clock):
    assert said(works, [1] * len(works), clock) == []
