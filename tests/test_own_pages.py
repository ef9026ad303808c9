"""The how-to pages on custom tasks, one for each kind, work as written: their files are made, their commands run."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[1] / "docs" / "how-to"
OF_KIND = {"task": 2, "tags": 2, "answers": 2, "retrieval": 1, "choices": 1}  # page → commands that it shows
BRIEFLY = {"run": ["--max-train", "48", "--max-eval", "16", "--dtype", "float32", "--device", "cpu"], "doctor": []}
WITHOUT_NETWORK = {"xlmr-base": "mini-mbert"}


def fenced(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def make_files(page: str) -> None:
    """Make the files of the page's code, and its task file, in the working folder."""
    for code in fenced(page, "python"):
        exec(compile(code, "page", "exec"), {})
    for session in fenced(page, "console"):
        script = re.sub(r"^\$ ", "", session, flags=re.MULTILINE)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["bash", "-euc", script], check=True, env={**os.environ, "PATH": path})
    task = next(block for block in fenced(page, "toml") if "languages" in block)
    Path(f"{tomllib.loads(task)['name']}.toml").write_text(task, encoding="utf-8")


def commands(page: str) -> list[list[str]]:
    """The words of each command, with one seed and a model that needs no network."""
    lines = re.findall(r"^    xeval ((?:doctor|run) \./my-.*)$", page, re.MULTILINE)
    alone = [shlex.split(line.replace("--seed 1,2,3", "--seed 1")) for line in lines]
    return [[WITHOUT_NETWORK.get(word, word) for word in words] for words in alone]


@pytest.mark.parametrize("name", OF_KIND)
def test_page_does_what_it_says(name, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (PAGES / f"own-{name}.md").read_text(encoding="utf-8")
    make_files(page)
    shown = re.findall(r"^(?:data|mini-mbert): .*$", page, re.MULTILINE)
    said = ""
    for words in commands(page):
        code, out, err = command(*words, *BRIEFLY[words[0]])
        assert code == 0, err
        said += out
    assert len(commands(page)) == OF_KIND[name]
    assert [line for line in shown if line not in said.splitlines()] == []
