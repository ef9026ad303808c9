"""The first run of a new user: the embedded encoders on the embedded corpus, with every network call refused."""

import socket
from statistics import fmean

import pytest

import xeval
from xeval.embedded import MODELS
from xeval.microcosm.making.text import TEXT_SHARE


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
@pytest.mark.parametrize("model", MODELS)
def test_the_encoders_transfer(no_sockets, tmp_path, model):
    """English first by far; languages with much text before those with little; none near chance (33.3 %)."""
    [record] = xeval.run("xnli-mini", [model], results=tmp_path)
    accuracies = {code: score.accuracy for code, score in record.scores.items()}
    others = [accuracies[code] for code in accuracies if code != "en"]
    assert len(others) == 14
    assert accuracies["en"] > 0.9
    assert fmean(others) > 0.66  # 72.3 % with a standard deviation of 1.3 between seeds
    assert min(others) > 0.55

    by_amount = sorted(TEXT_SHARE, key=TEXT_SHARE.__getitem__, reverse=True)[1:]  # without English
    much, little = by_amount[:4], by_amount[-4:]
    assert fmean(accuracies[code] for code in much) > fmean(accuracies[code] for code in little) + 0.05
