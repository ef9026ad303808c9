"""Runs on Ray and Slurm: one line on what is missing, and the progress of several runs in parallel."""

import io
import json
import os
import pty
import sys

import pytest

from xeval.runs.on_ray import on_ray
from xeval.runs.on_slurm import ASKED_EVERY_S, on_slurm
from xeval.runs.progress_table import SENT_EVERY_S, ProgressTable, Sender
from xeval.runs.requests import Outcome, RunRequest
from xeval.support.errors import XevalError

REQUESTS = [RunRequest(task="xnli-mini", model="mini-mbert", seed=seed, results="/results") for seed in (1, 2, 3)]


@pytest.mark.parametrize(("where", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_missing_library_is_named(where, library, monkeypatch, tmp_path, command):
    monkeypatch.setitem(sys.modules, library, None)
    words = ["xnli-mini", "--model", "mini-mbert", "--max-train", 64, "--max-eval", 8, "--language", "en"]
    code, out, err = command("run", *words, "--results", tmp_path, "--on", where, "--quiet")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"pip install {library}" in err


def test_missing_srun_is_reported(monkeypatch, tmp_path):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(XevalError, match="Slurm: no srun here"):
        on_slurm(tmp_path, quiet=True)(REQUESTS)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", "Ray: no cluster answers at RAY_ADDRESS=127.0.0.1:9"),
        ("127.0.0.1:99999", "Ray: no cluster answers at RAY_ADDRESS=127.0.0.1:99999"),
        ("ray://head:10001", "RAY_ADDRESS: wanted HOST:PORT"),
        ("head", "RAY_ADDRESS: wanted HOST:PORT"),
    ],
)
def test_wrong_ray_address_is_reported(address, said, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(XevalError, match=said):
        on_ray(quiet=True)(REQUESTS)


@pytest.mark.parametrize(
    "option", [["--sweep", "epochs=1,2"], ["--no-train", "--seeds-of", "mine"], ["--device", "cuda:1"]]
)
def test_options_that_plans_lack_are_refused(option, command, tmp_path):
    words = ["xnli-mini", "--model", "mini-mbert", "--results", tmp_path, "--on", "ray", *option]
    code, out, err = command("run", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)


# ── progress ──


def test_sender_passes_lines_and_throttles_phases():
    sent = []
    sender = Sender(lambda kind, text: sent.append((kind, text)))
    sender.say("hello")
    with sender.phase("train", 1000, "steps") as phase:
        for _ in range(1000):
            phase.advance(1, "loss 0.5")
    assert sent[0] == ("says", "hello")
    assert sent[1] == ("does", "train: 1 of 1,000 steps, loss 0.5")
    assert sent[-1][0] == "has done"
    assert sent[-1][1].startswith("train: 1,000 steps in ")
    assert SENT_EVERY_S >= 0.1
    assert len(sent) < 20


def tell_a_story(table: ProgressTable) -> None:
    with table:
        table.start(0, "gpu-1")
        table.start(1, "gpu-2")
        table.tell(0, "does", "train: 5 of 8 steps")
        table.tell(0, "has done", "train: 8 steps in 1.0 s")
        table.lose(1, "its machine was lost")
        table.end(0, Outcome(folder="/results/one"))
        table.end(2, Outcome(problem="no \x1b[31mrows"))


def test_progress_outside_a_terminal_is_in_lines(capsys):
    tell_a_story(ProgressTable(REQUESTS))
    assert capsys.readouterr().err.splitlines() == [
        "[1/3] xnli-mini, mini-mbert, seed 1 starts on gpu-1",
        "[2/3] xnli-mini, mini-mbert, seed 2 starts on gpu-2",
        "[1/3] train: 8 steps in 1.0 s",
        "[2/3] xnli-mini, mini-mbert, seed 2: its machine was lost; restarting it",
        "[1/3] xnli-mini, mini-mbert, seed 1: ended after 0 s",
        "[3/3] xnli-mini, mini-mbert, seed 3: no \\x1b[31mrows",
    ]


def test_quiet_prints_nothing(capsys):
    tell_a_story(ProgressTable(REQUESTS, quiet=True))
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_is_one_table(monkeypatch):
    ours, theirs = pty.openpty()
    with open(theirs, "w", buffering=1) as terminal, monkeypatch.context() as patch:  # noqa: PTH123  a descriptor
        patch.setattr(sys, "stderr", terminal)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "100")
        table = ProgressTable(REQUESTS)
        with table:
            table.start(0, "gpu-1")
            table.tell(0, "does", "train: 5 of 8 steps")
            table.end(2, Outcome(problem="no rows"))
            shown = io.StringIO()
            while "1 running, 1 waiting" not in shown.getvalue():
                shown.write(os.read(ours, 65536).decode())
    os.close(ours)
    text = shown.getvalue()
    assert "xnli-mini, mini-mbert, seed 1" in text
    assert "train: 5 of 8 steps" in text
    assert "1 of 3 runs ended (1 could not be completed), 1 running, 1 waiting" in text


def test_request_is_described_in_one_line():
    request = RunRequest(task="/tasks/a\nb.toml", model="/models/x\x1b", results="/r")
    assert json.dumps(request.in_words) == json.dumps("a b, x\\x1b")


# ── Slurm, by stand-ins for its programs ──


def test_late_outcome_on_a_network_disk_counts(tmp_path, monkeypatch):
    """For 60 s, NFS may say that a file which another machine has written is not there."""
    pytest.importorskip("submitit")
    asked, n_late, folder = tmp_path / "asked", int(60 / ASKED_EVERY_S), tmp_path / "slurm"
    outcome = Outcome(folder="/results/one")
    (tmp_path / "outcome").write_text(outcome.model_dump_json())
    appears = f'[ "$(wc -l < {asked})" -le {n_late} ] || cp {tmp_path}/outcome "$(echo {folder}/*)/outcome-0.json"'
    programs = {"srun": "", "sbatch": "echo Submitted batch job 7", "squeue": f"echo >> {asked}; {appears}"}
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert on_slurm(folder, quiet=True, every_s=0.01)(REQUESTS[:1]) == [outcome]
