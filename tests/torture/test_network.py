"""A hub that fails after any number of requests, and no network at all."""

import os
import subprocess
import sys

import pytest
import test_hub
from test_hub import COMMITS, DISTILMBERT, XNLI, assert_one_line, run_small

from tests.helpers.stand_in_hub import serve
from xeval.support.errors import XevalError

root, connect = test_hub.root, test_hub.connect  # fixtures

COUNTED = """
import sys
attempts = []
sys.addaudithook(lambda event, arguments: attempts.append((event, arguments)) if event in (
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto") else None)
sys.argv = ["xeval", *sys.argv[1:]]
from xeval.cli import main
try:
    main()
finally:
    print(len(attempts), *attempts[:3], file=sys.stderr)
"""


@pytest.mark.slow
def test_download_resumes_after_a_hub_failure(
    root,
    connect,
    tmp_path,
    figure,
    monkeypatch,
):
    n_requests, n_files = 0, 8
    while True:
        folder = tmp_path / str(n_requests)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
        with serve(root, commits=COMMITS, fail_after=n_requests) as hub:
            connect(hub)
            try:
                run_small(folder / "results")
                break
            except XevalError as error:
                assert_one_line(error, "run the command again", "the hub cannot be reached")
        with serve(root, commits=COMMITS) as healthy:
            connect(healthy)
            run_small(folder / "results")
        arrived = [file for repository in (XNLI, DISTILMBERT) for file in hub.files(repository)]
        later = [file for repository in (XNLI, DISTILMBERT) for file in healthy.files(repository)]
        assert len(arrived) + len(later) == n_files and not set(arrived) & set(later)
        n_requests += 1
    figure(f"a hub that fails after each of {n_requests} requests", "one line; the next run fetches only the rest")
    assert n_requests > n_files


@pytest.mark.slow
def test_a_run_from_local_folders_makes_no_connection(mini, checkpoint_of, tmp_path, figure):
    words = ["run", mini.task_file, "--model", checkpoint_of("bert"), "--data", mini.data, "--epochs", "1", "--quiet"]
    process = subprocess.run(
        [sys.executable, "-c", COUNTED, *map(str, words)], cwd=tmp_path, env=os.environ, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    n_attempts = int(process.stderr.split()[0])
    figure("connections that a run from local folders attempts", n_attempts)
    assert n_attempts == 0


@pytest.mark.slow
def test_the_demo_makes_no_connection(tmp_path, figure):
    words = ["run", "xnli-mini", "--model", "mini-mbert", "--max-train", "64", "--max-eval", "30", "--quiet"]
    process = subprocess.run(
        [sys.executable, "-c", COUNTED, *words], cwd=tmp_path, env=os.environ, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    n_attempts = int(process.stderr.split()[0])
    figure("connections that the demo attempts", n_attempts)
    assert n_attempts == 0
