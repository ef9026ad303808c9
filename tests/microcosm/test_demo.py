"""The first run of a new user: the embedded encoders on the embedded corpus, with every network call refused."""

import socket
from statistics import fmean

import pytest

import xeval
from xeval.embedded import MODELS
from xeval.microcosm.making.text import TEXT_SHARE
from xeval.records import RunRecord


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args, **options):
        pytest.fail("a connection was attempted", pytrace=False)

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_short_run_touches_no_network(no_sockets, tmp_path):
    records = xeval.run("xnli-mini", list(MODELS), languages=["en", "ur"], max_train=320, max_eval=60, results=tmp_path)
    assert [(record.model.id, record.model.origin, record.status) for record in records] == [
        (name, "embedded", "complete") for name in MODELS
    ]


@pytest.mark.slow
def test_the_encoders_transfer(no_sockets, tmp_path):
    """English first by far, much text before little, none near chance (33.3 %), the student faster and no better."""
    records = xeval.run("xnli-mini", list(MODELS), results=tmp_path)
    teacher, student = ({code: score.accuracy for code, score in record.scores.items()} for record in records)
    for accuracies in (teacher, student):
        assert accuracies["en"] > 0.9
        assert _mean_of_others(accuracies) > 0.66  # the standard deviation between seeds is about 0.015
        assert min(accuracies.values()) > 0.55
        by_amount = sorted(TEXT_SHARE, key=TEXT_SHARE.__getitem__, reverse=True)[1:]  # without English
        much, little = by_amount[:4], by_amount[-4:]
        assert fmean(accuracies[code] for code in much) > fmean(accuracies[code] for code in little) + 0.05
    assert _mean_of_others(student) < _mean_of_others(teacher) + 0.01
    assert _evaluation_s(records[1]) < 0.7 * _evaluation_s(records[0])


def _mean_of_others(accuracies: dict[str, float]) -> float:
    return fmean(accuracy for code, accuracy in accuracies.items() if code != "en")


def _evaluation_s(record: RunRecord) -> float:
    return sum(timing.wall_s for phase, timing in record.timing.items() if phase.startswith("evaluate/"))
