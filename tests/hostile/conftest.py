"""The command line in this process, in an empty folder, with a clock."""

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
    processor_s: float  # unlike time on the wall, the same on a busy machine


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """`command(*words)` runs xeval in an empty folder of its own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["xeval", *map(str, words)])
        capsys.readouterr()  # what others wrote before
        started = time.process_time()
        with pytest.raises(SystemExit) as left:
            main()
        processor_s = time.process_time() - started
        captured = capsys.readouterr()
        return Answer(left.value.code, captured.out, captured.err, processor_s)

    return run


@pytest.fixture(scope="session", autouse=True)
def loaded() -> None:
    """What takes seconds to import is imported before any clock runs."""
    import xeval.runs.grid  # noqa: F401
