"""The command line, run in this process and in an empty folder, with its processor time."""

import sys
import time
from dataclasses import dataclass

import pytest

from xeval.cli import main


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str
    processor_s: float  # unlike wall-clock time, the same on a busy machine


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """`command(*words)` runs xeval in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["xeval", *map(str, words)])
        capsys.readouterr()  # discards earlier output
        started = time.process_time()
        with pytest.raises(SystemExit) as left:
            main()
        processor_s = time.process_time() - started
        captured = capsys.readouterr()
        return Answer(left.value.code, captured.out, captured.err, processor_s)

    return run


@pytest.fixture(scope="session", autouse=True)
def loaded() -> None:
    """Import what takes seconds before any time is measured."""
    import xeval.runs.grid  # noqa: F401
