"""The first run of a new user: the embedded encoder on the embedded corpus, with every network call refused."""

import socket

import pytest

import xeval
from xeval.embedded import MODELS


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
def test_the_encoder_transfers(no_sockets, tmp_path):
    """English first by far, no other language at chance (33.3 %, of which 1,200 pairs have a standard error of 1.4)."""
    [record] = xeval.run("xnli-mini", list(MODELS), results=tmp_path)
    accuracies = {code: score.accuracy for code, score in record.scores.items()}
    assert len(accuracies) == 15
    others = [accuracies[code] for code in accuracies if code != "en"]
    assert accuracies["en"] > max(others) + 0.1
    assert min(others) > 1 / 3 + 0.05
