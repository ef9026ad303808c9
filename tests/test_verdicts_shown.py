"""Where verdicts appear: marks in the matrix, sentences below it, the exit code of `xeval reproduce`."""

import io
import json
import re
import shlex
import sys

import pytest
from rich.console import Console
from test_report import CARD, SIX, a_run
from test_verdict import a_table

from xeval.cli import main
from xeval.cli.options import OutcomeFormat
from xeval.cli.outcome import show_outcome
from xeval.definitions.registry import get_task
from xeval.judging.verdict import Tolerance
from xeval.report import matrix, verdicts
from xeval.report.formats import latex, markdown, model_card, terminal
from xeval.results.records import RecipeRecord
from xeval.results.store import StoredRun

PUBLISHED = {language: value / 100 for language, value in CARD.rows[-1].cells.items()}
MOVES = (-0.002, -0.001, 0.0, 0.001, 0.002)


def five_runs(**changed: float):
    cells = PUBLISHED | changed
    return [a_run(seed=seed, **{k: value + move for k, value in cells.items()}) for seed, move in enumerate(MOVES)]


def printed(table: matrix.Matrix) -> str:
    console = Console(width=300, file=io.StringIO(), highlight=False)
    terminal.show(table, console)
    return console.file.getvalue()


@pytest.mark.parametrize("show", [markdown.render, printed], ids=["markdown", "terminal"])
def test_marks_are_in_our_row_with_a_legend_below(show):
    text = show(matrix.build(five_runs(ur=0.40), "xnli", CARD))
    for said in ("78.2 ✓", "40.0 ✗", "62.8 ✗", "✓ reproduced: the 90 % interval", "±1.5 points for a cell"):
        assert said in text
    assert "mean of 6 languages: not reproduced; our 62.8 (mean of 5 seeds)" in text
    assert "ur: not reproduced; our 40.0" in text and "54.7 ✗" not in text


@pytest.mark.parametrize("show", [markdown.render, printed], ids=["markdown", "terminal"])
def test_no_mark_without_a_published_row_of_the_model(show):
    text = show(matrix.build([a_run("another/model", **SIX)], "xnli", CARD))
    assert not {"✓", "✗", "?"} & set(text)


def test_row_missing_a_language_has_no_mark_at_the_mean():
    table = a_table({"en": 80.0}, model=CARD.rows[-1].model)
    wider = table.model_copy(update={"task": "xnli", "languages": ("en", "es")})
    [ours] = [row for row in matrix.build(five_runs(en=0.8), "xnli", wider).rows if not row.published]
    assert (verdicts.mark(ours, "en"), verdicts.mark(ours, "es")) == ("✓", "")
    assert (verdicts.mean_mark(ours, 1), verdicts.mean_mark(ours, 2)) == ("✓", "")


def test_collapsed_seed_is_left_out_and_in_the_footer():
    collapsed = a_run(seed=9, **dict.fromkeys(PUBLISHED, 1 / 3))
    table = matrix.build([*five_runs(), collapsed], "xnli", CARD)
    ours = table.rows[-1]
    assert ours.cells["en"] == pytest.approx(78.2) and ours.seeds == "5"
    assert any("seed 9" in line and "left out of the averages" in line for line in table.footer)
    assert "seed 9: accuracy in en is 33.3 % where chance is 33.3 %; left out of the averages." in printed(table)
    alone = matrix.build([collapsed], "xnli", CARD)
    assert alone.rows[-1].cells["en"] == pytest.approx(100 / 3)
    assert any("shown, since there is no other seed" in line for line in alone.footer) and not alone.left_out


def test_requested_tolerance_is_shown():
    text = markdown.render(matrix.build(five_runs(), "xnli", CARD, Tolerance(cell=0.25, mean=0.2)))
    assert "±0.25 points for a cell, ±0.2 for the mean" in text


@pytest.fixture
def reproduce(capsys, monkeypatch, tmp_path):
    """`reproduce(runs, *words)`: exit code, output and errors of the command on these runs."""
    monkeypatch.chdir(tmp_path)

    def run(runs, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("xeval.runs.grid.reproduce_grid", lambda *_, **__: runs)
        monkeypatch.setattr(sys, "argv", ["xeval", "reproduce", "distilmbert-card", "--quiet", *words])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run


def test_unreproduced_cell_exits_with_1(reproduce):
    code, out, err = reproduce(five_runs(ur=0.40))
    assert code == 1 and "✗" in out
    assert [line.startswith("xeval: DistilmBERT (hf-2019), ") for line in err.splitlines()] == [True, True]


def test_reproduced_or_undecided_exits_with_0(reproduce):
    assert reproduce(five_runs())[::2] == (0, "")
    code, out, err = reproduce(five_runs()[:1])
    assert (code, err) == (0, "") and " so far; our " in out


def test_tolerance_comes_from_the_command_line(reproduce):
    assert reproduce(five_runs(ur=0.40), "--tolerance", "30", "--mean-tolerance", "9")[0] == 0
    assert reproduce(five_runs(), "--tolerance", "0")[0] == 2


def test_json_has_records_and_exit_code_the_verdict(reproduce):
    code, out, err = reproduce(five_runs(ur=0.40), "--format", "json")
    assert code == 1 and len(json.loads(out)) == 5 and "not reproduced" in err


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"spread": {"en": 0.3}, "n_seeds": 5}, "spread must have the same languages as cells"),
        ({"spread": {"en": 0.3, "es": 0.3}}, "needs n_seeds of at least 2"),
        ({"spread": {"en": -0.3, "es": 0.3}, "n_seeds": 5}, "greater than or equal to 0"),
    ],
)
def test_invalid_spread_is_refused(more, complaint):
    with pytest.raises(ValueError, match=complaint):
        a_table(**more)


def test_missing_verdict_is_stated_once_per_row():
    collapsed = a_run(seed=9, **dict.fromkeys(PUBLISHED, 1 / 3))
    text = markdown.render(matrix.build([collapsed], "xnli", CARD))
    below = text.partition("## Reproduced?")[2]
    assert below.count("there is no score of ours to compare") == 1 and "its training collapsed" in below
    assert f"no verdict 6 ({' '.join(PUBLISHED)})" in below


@pytest.mark.parametrize("show", [printed, latex.render, model_card.evaluation], ids=["terminal", "latex", "card"])
def test_counts_by_language_name_their_configuration(show):
    [recipe] = {run.record.recipe.name for run in five_runs()}
    frozen = RecipeRecord(
        name=recipe, values={"learning_rate": 5e-5, "adaptation": "frozen"}, overrides={"adaptation": "frozen"}
    )
    others = [StoredRun(run.folder / "frozen", run.record.model_copy(update={"recipe": frozen})) for run in five_runs()]
    both = matrix.build([*five_runs(), *others], "xnli", CARD)
    for configuration in (recipe, f"{recipe}, adaptation frozen"):
        assert f"DistilmBERT ({configuration}), by language: " in show(both)
    assert "DistilmBERT, by language: " not in show(both) + markdown.render(both)
    assert "DistilmBERT, by language: " in show(matrix.build(five_runs(), "xnli", CARD))
    assert f"DistilmBERT ({recipe}, adaptation frozen), by language: no verdict" in markdown.render(both)


@pytest.mark.parametrize("others", [["xnli"], ["paws-x", "xnli"]])
def test_suggested_report_shows_what_was_shown(others, tmp_path, capsys):
    """The folder may have other tasks, and the table and tolerances may not be the default ones."""
    for task in others:
        folder = tmp_path / "my results" / task / "mbert" / "hf-2019-seed1-0"
        folder.mkdir(parents=True)
        (folder / "record.json").touch()
    within = Tolerance(cell=2.5)
    show_outcome(five_runs(), "conneau-2020", OutcomeFormat.terminal, tmp_path / "my results", within, [tmp_path])
    [suggested] = re.findall("to report on them: xeval (.*)", capsys.readouterr().out)
    of_task = ["--task", "xnli"] * (len(others) > 1)
    shown_by = ["--reference", "conneau-2020", "--tolerance", "2.5", "--results", f"{tmp_path}/my results"]
    assert shlex.split(suggested) == ["report", *of_task, *shown_by, "--tasks-dir", str(tmp_path)]
    show_outcome(five_runs(), "distilmbert-card", OutcomeFormat.terminal, tmp_path / "my results")
    assert "--reference" not in capsys.readouterr().out


@pytest.mark.parametrize("show", [markdown.render, printed, latex.render], ids=["markdown", "terminal", "latex"])
def test_every_format_says_why_there_are_no_verdicts(show):
    on_dev = show(matrix.build(five_runs(), "xnli", CARD.model_copy(update={"split": "dev"}), known=get_task("xnli")))
    assert on_dev.count("No verdicts: the published numbers are not on the task's test split (their split: dev).") == 1
    by_f1 = show(matrix.build(five_runs(), "xnli", CARD.model_copy(update={"metric": "f1"})))
    assert by_f1.count("No verdicts: the published numbers are F1, ours accuracy; to compare, run a copy of") == 1
    assert "±1.5" not in on_dev + by_f1
