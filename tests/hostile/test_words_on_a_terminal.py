"""Names of folders and models can't move the cursor, reverse text or issue commands in progress and listings."""

import shutil
from pathlib import Path

import pytest

from tests.helpers import tiny
from tests.helpers.sample_record import run_record
from xeval.results.store import save_record
from xeval.support.text import one_line

NAMES = {
    "colour": "\x1b[31mred",
    "title of the window": "\x1b]0;title\x07",
    "cursor up": "a\x1b[2A\x1b[2K",
    "8-bit escape": "\x9b31m",
    "backspaces": "abc\b\b\bxyz",
    "bell": "a\x07",
    "carriage return": "failed\rfine",
    "line feed": "a\n::error::b",
    "a command": "::error::all is lost",
    "a command after space": "  ::error file=x::lost",
    "an old command": "a##[error]lost",
    "right to left": "a\u202eb",
    "isolate": "a\u2066b\u2069",
    "line separator": "a\u2028::error::b",
    "zero width": "a\u200bb",
}
HARMFUL = "\x1b\x9b\b\x07\r\u202e\u2066\u2069\u2028\u200b"


def is_plain(text: str) -> None:
    assert not set(text) & set(HARMFUL)
    assert not any(line.lstrip().startswith("::") or "##[" in line for line in text.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_progress_and_outcome_are_plain(command, mini, checkpoint_of, tmp_path, name):
    model = tmp_path / "models" / NAMES[name]
    shutil.copytree(checkpoint_of("bert", tiny.LABELS), model)
    answer = command("run", mini.task_file, "--model", model, "--data", mini.data, "--no-train", "--language", "es")
    assert answer.code == 0 and "1 of 1 language" in answer.err
    is_plain(answer.out + answer.err)


@pytest.mark.parametrize("name", NAMES)
def test_lists_of_runs_are_plain(command, name):
    model = run_record().model.model_copy(update={"id": NAMES[name]})
    recipe = run_record().recipe.model_copy(update={"name": NAMES[name]})
    record = run_record(task=NAMES[name], model=model, recipe=recipe)
    save_record(Path("results") / "task" / "model" / NAMES[name].replace("/", "_"), record)
    answer = command("list", "runs")
    assert answer.code == 0 and "complete" in answer.out
    is_plain(answer.out + answer.err)


def test_harmless_text_is_unchanged():
    for text in ("std::vector", "a: b", "模型", "# title [x]", "naïve – “quoted”"):
        assert one_line(text) == text
