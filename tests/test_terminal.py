"""Output on a screen, in a pipe and in a file: at any width, with and without colour, in any script."""

import io
import os
import pty
import re
import subprocess
import sys
import time
from string import ascii_lowercase

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from test_report import CARD, a_run

from tests.helpers.paired_answers import write_run
from xeval.cli import screen
from xeval.report import matrix
from xeval.report.formats import terminal
from xeval.report.tables import print_table
from xeval.report.whole_words import print_whole
from xeval.results.store import load_runs
from xeval.support import progress

ESCAPE = "\x1b"
SIX = {"en": 0.80, "es": 0.70, "zh": 0.65, "de": 0.66, "ar": 0.60, "ur": 0.55}


def a_matrix(**more) -> matrix.Matrix:
    return matrix.build([a_run(**SIX), a_run("模型/多言語モデル-हिन्दी", **(SIX | more))], "xnli", CARD)


def shown(table: matrix.Matrix, width: int, **more) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False, **more)
    terminal.show(table, console)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_table_fits_the_screen_with_uncut_numbers(width):
    lines = shown(a_matrix(), width)
    assert max(map(cell_len, lines)) <= width
    for language, accuracy in SIX.items():
        [line] = [line for line in lines if re.match(rf" ?{language} ", line)]
        assert line.count(f"{100 * accuracy:.1f}") >= 2 and "…" not in line


@pytest.mark.parametrize("width", [60, 80, 200])
def test_columns_align_with_wide_and_combining_letters(width):
    lines = shown(a_matrix(中文=0.5, हिन्दी=0.5, ไทย=0.5), width)
    ends = {tuple(cell_len(line[: found.start()]) for found in re.finditer("│", line)) for line in lines if "│" in line}
    assert len(ends) == 1


def test_table_respects_no_color(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    lines = shown(a_matrix(), 80, force_terminal=True)
    assert set(re.findall(r"\x1b\[([\d;]*)m", "\n".join(lines))) <= {"0", "1", "2", "3"}  # bold, faint, italic


def test_numbers_are_neither_faint_nor_coloured():
    # so that they are readable on white and on black
    lines = shown(a_matrix(), 80, force_terminal=True, color_system="truecolor")
    assert set(re.findall(r"\x1b\[([\d;]*)m", "\n".join(lines))) == {"0", "1", "3"}


def test_pipe_gets_unfolded_lines_without_escapes(capsys, command):
    code, out, _ = command("list", "references")
    assert code == 0 and ESCAPE not in out and "…" not in out
    rows = [line for line in out.splitlines() if line.startswith("conneau-2020")]
    assert len(rows) == 5 and all(row.rstrip().endswith("hi sw ur") for row in rows)
    assert all(line == line.strip() or line[0] != " " for line in out.splitlines())


def test_only_a_terminal_limits_the_width(monkeypatch):
    assert screen.screen().width > 1000
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert screen.screen().width == 60


@pytest.mark.parametrize("words", [("list", what) for what in ("tasks", "suites", "models", "references", "recipes")])
def test_lists_break_no_word_at_80_columns(words, command, monkeypatch):
    assert_no_word_is_broken(words, 80, command, monkeypatch)


@pytest.mark.parametrize("width", [40, 80])
def test_published_values_and_sources_can_be_copied(width, command, monkeypatch):
    assert_no_word_is_broken(("cell", "xnli", "mbert", "de"), width, command, monkeypatch)


def assert_no_word_is_broken(words, width, command, monkeypatch):
    in_pipe = command(*words)[1]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    on_screen = re.sub(r"\x1b\[[\d;]*m", "", command(*words)[1])
    assert sorted(on_screen.split()) == sorted(in_pipe.split())
    too_wide = [line for line in on_screen.splitlines() if cell_len(line) > width]
    assert all(any(cell_len(word) > width for word in line.split()) for line in too_wide), too_wide
    assert len(on_screen.splitlines()) > len(in_pipe.splitlines()) or words[1] == "suites"


def a_phase_on(terminal_type: str | None, width: int = 80, **more: str) -> str:
    """What a phase prints to standard error: on a terminal of this type, or in a pipe for None."""
    code = (
        "from xeval.support.progress import reporter\n"
        "with reporter(quiet=False).phase('evaluate zh', 3, 'pairs') as phase:\n"
        "    phase.started -= 1\n"
        "    for _ in range(3): phase.advance(1, 'accuracy 63.7')"
    )
    environment = os.environ | {"COLUMNS": str(width)} | more
    words = [sys.executable, "-c", code]
    if terminal_type is None:
        return subprocess.run(words, env=environment, stderr=subprocess.PIPE, text=True, check=True).stderr
    ours, theirs = pty.openpty()
    subprocess.run(words, env=environment | {"TERM": terminal_type}, stderr=theirs, check=True)
    os.close(theirs)
    try:
        return os.read(ours, 1 << 20).decode()
    finally:
        os.close(ours)


SUMMARY = r"evaluate zh: 3 pairs in \d+\.\d s \([\d,.]+ pairs/s\), accuracy 63\.7\r?\n"


def test_in_a_pipe_a_phase_is_one_line():
    assert re.fullmatch(SUMMARY, a_phase_on(None))


def test_long_phases_print_progress_ever_more_rarely(monkeypatch, capsys):
    # after 1, 2, 4, … minutes, and at least every half hour
    started_s = now_s = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    said_at_minutes = []
    with progress.Lines().phase("train", 10_000, "steps") as phase:
        for minute in range(1, 101):
            now_s = started_s + 60 * minute + 1
            phase.advance(50, f"loss {1 / minute:.3f}")
            said_at_minutes += [minute] * capsys.readouterr().err.count("\n")
        now_s += 1800
        phase.advance(100, "loss 0.5")
    assert said_at_minutes == [1, 2, 4, 8, 16, 32, 62, 92]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 5,100 of 10,000 steps, about 2.1 hours left, loss 0.5"
    assert lines[1].startswith("train: 5,100 steps in ") and len(lines) == 2


def test_phase_is_one_line_on_a_dumb_terminal():
    assert re.fullmatch(SUMMARY, a_phase_on("dumb"))


def test_speed_ignores_steps_done_before_a_resume():
    """A training resumed from step 900 ten seconds ago has taken 20 steps since, not 920."""
    phase = progress.Phase("train", 1000, "steps", started=time.monotonic() - 10)
    phase.skip(900)
    for _ in range(20):
        phase.advance(1, "loss 0.512")
    assert phase.summary() == "train: 20 steps in 10.0 s (2.0 steps/s), after 900 steps done before, loss 0.512"
    assert phase.done == 920


def test_instant_phase_has_no_speed():
    phase = progress.Phase("read", 15, "languages")
    phase.advance(15)
    assert phase.summary() == "read: 15 languages in 0.0 s"


def test_cached_phase_has_no_speed():
    phase = progress.Phase("tokenize", 1, "pairs")
    phase.skip(1)
    assert phase.summary() == "tokenize: 1 pair done before"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_on_a_terminal_a_bar_keeps_to_one_line(width):
    written = a_phase_on("xterm-256color", width)
    assert "━" in written and "3/3" in written
    frames = re.findall(r"evaluate zh [^\r\n]*", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written))
    assert frames and all("accuracy" in frame for frame in frames[-1:]) and max(map(cell_len, frames)) <= width


def test_bar_respects_no_color():
    written = a_phase_on("xterm-256color", NO_COLOR="1")
    assert not re.findall(r"\x1b\[[\d;]*(?:3[0-8]|9[0-7])[\d;]*m", written)


def test_numbers_next_to_a_bar_have_the_text_colour():
    console = progress.Bars()._console
    for name in ("progress.download", "progress.data.speed", "progress.remaining", "progress.elapsed"):
        assert console.get_style(name).color is None


@pytest.mark.parametrize(("width", "is_whole"), [(40, False), (60, True), (80, True)])
def test_names_are_folded_after_phrases_and_never_cut(width, is_whole):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for header in ("name", "hub id", ""):
        table.add_column(header, overflow="fold")
    cells = "mbert", "google-bert/bert-base-multilingual-cased", "pickled, as far as known; convert it before use"
    table.add_row(*cells)
    print_whole(table, console)
    text = console.file.getvalue()
    assert max(map(cell_len, text.splitlines())) <= width
    assert sorted("".join(text.split())) == sorted("".join(cells).replace(" ", ""))
    assert (cells[1] in text) == is_whole


def test_list_of_runs_can_be_read_at_80_columns(tmp_path, command, monkeypatch):
    labels = np.arange(9) % 3
    answers = {f"q{letter}{letter}_Latn": labels for letter in ascii_lowercase}
    for model in ("lab/multilingual-encoder-large", "lab/other"):
        for seed in (1, 2):
            write_run(tmp_path, answers, labels, labels, seed, model)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    lines = re.sub(r"\x1b\[[\d;]*m", "", command("list", "runs", "--results", tmp_path)[1]).splitlines()
    assert max(map(cell_len, lines)) <= 80
    words = " ".join(lines).split()
    folders = [run.folder.name for run in load_runs(tmp_path)]
    assert set(folders) < set(words) and words.count("complete") == 4
    assert words.count("lab/multilingual-encoder-large:") == 1  # above its two seeds
    assert "qzz_Latn" not in words and words.count("11") == 4  # more of 26 languages


@pytest.mark.parametrize("width", [76, 80, 84, 92])
def test_narrow_gaps_come_before_split_intervals(width):
    """The table of `xeval compare --retention`, whose interval is its widest column."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    header = "", "A", "B", "kept", "95 % interval", "above chance", "loss", "at home", "in transfer", "kappa", "script"
    row = ["hi", "91.1", "87.8", "96.3", "91.7 to 100.0", "94.2", "3.3", "3.3", "-2.2", "0.95", "Cyrillic"]
    print_table([*header], [row], console, n_left=1)
    assert " 91.7 to 100.0 " in console.file.getvalue()
