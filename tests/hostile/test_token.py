"""A token in the environment goes only to the hub: it is in no log, record, report, cache or traceback."""

import io
import json
import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import huggingface_hub
import pytest

from tests.helpers import tiny
from tests.helpers.stand_in_hub import Answer, Hub, connect, serve
from xeval.cli import main
from xeval.runs.grid import run
from xeval.support.errors import XevalError

TOKEN = "hf_CanaryCanaryCanaryCanaryCanaryCanary"


@pytest.fixture
def hub(tmp_path, checkpoint_of, monkeypatch):
    """A hub with one model, and the token in the environment."""
    shutil.copytree(checkpoint_of("bert", tiny.LABELS), tmp_path / "root" / "models" / "org" / "name")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve(tmp_path / "root") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield connect(hub, monkeypatch)
    huggingface_hub.close_session()


def words(mini, model: str) -> list[str]:
    options = ["--data", str(mini.data), "--no-train", "--language", "es", "--results", "results"]
    return ["xeval", "run", str(mini.task_file), "--model", model, *options]


def has_token(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_a_run_leaves_the_token_nowhere(hub: Hub, mini, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in (words(mini, "org/name"), ["xeval", "report"], ["xeval", "report", "-o", "report.md"]):
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code in (0, None)
    assert list(tmp_path.glob("results/*/*/*/record.json"))
    captured = capsys.readouterr()
    assert TOKEN not in captured.out + captured.err
    assert has_token(tmp_path) == has_token(Path(os.environ["XEVAL_CACHE"]).parent) == []


STATUSES = [400, 401, 403, 404, 418, 429, 500, 503]


@pytest.mark.parametrize("status", STATUSES)
def test_token_echoed_by_the_hub_is_not_printed(hub: Hub, mini, monkeypatch, tmp_path, status):
    body = json.dumps({"error": f"Bearer {TOKEN} is not welcome"}).encode()
    message = {"X-Error-Message": f"no entry with {TOKEN}", "X-Error-Code": TOKEN, "X-Request-Id": TOKEN}
    hub.answer = lambda path: Answer(status, body, message)
    with pytest.raises(XevalError) as refused:
        run(str(mini.task_file), ["org/name"], data=mini.data, train=False, results=tmp_path / "results")
    assert TOKEN not in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("status", [403, 418])
def test_tracebacks_do_not_show_the_token(hub: Hub, mini, monkeypatch, tmp_path, status):
    hub.answer = lambda path: Answer(status, TOKEN.encode(), {"X-Error-Message": TOKEN})
    text = io.StringIO()
    try:
        run(str(mini.task_file), ["org/name"], data=mini.data, train=False, results=tmp_path / "results")
    except XevalError:
        traceback.print_exc(file=text)
    assert "Traceback" in text.getvalue() and TOKEN not in text.getvalue()


@pytest.mark.slow
def test_password_in_the_endpoint_is_not_printed(mini, tmp_path):
    code = f"import sys; sys.argv = {words(mini, 'org/name')!r}; from xeval.cli import main; main()"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HF_TOKEN": TOKEN,
        "HF_ENDPOINT": f"http://user:{TOKEN}@127.0.0.1:9",
        "HF_HOME": str(tmp_path / "hf"),
        "XEVAL_CACHE": str(tmp_path / "xeval"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    *plan, error = done.stderr.splitlines()
    assert done.returncode == 2 and plan[0].startswith("Plan: ") and error.startswith("xeval: ")
    assert TOKEN not in done.stdout + done.stderr
    assert has_token(tmp_path) == []
