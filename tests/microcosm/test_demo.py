"""The first run of a new user: the embedded encoders on the embedded corpus, with every network call refused."""

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
def test_transfer_has_the_shape_that_real_tables_have(no_sockets, tmp_path):
    """No language at chance, English first, much text before little, the student below its teacher."""
    teacher, student = xeval.run("xnli-mini", list(MODELS), results=tmp_path)
    of_teacher, of_student = ({code: s.accuracy for code, s in run.scores.items()} for run in (teacher, student))
    for accuracies in (of_teacher, of_student):
        assert len(accuracies) == 15
        assert max(accuracies, key=accuracies.get) == "en"
        assert min(accuracies.values()) > 1 / 3 + 0.05
        assert mean(accuracies, "de fr es ru zh") > mean(accuracies, "th hi ur sw") + 0.03
    everywhere_else = " ".join(sorted(set(of_teacher) - {"en"}))
    assert mean(of_teacher, everywhere_else) > mean(of_student, everywhere_else)


def mean(accuracies: dict[str, float], languages: str) -> float:
    return sum(accuracies[code] for code in languages.split()) / len(languages.split())
