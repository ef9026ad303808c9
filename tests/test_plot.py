"""`plot()` draws each number of the report in its place, and asks for matplotlib where it is missing."""

import sys

import pytest
from test_report import CARD, SIX, a_run

from tests.helpers.sample_report import sample_matrix
from xeval.report import matrix
from xeval.report.plot import draw
from xeval.runs.outcome import Runs
from xeval.support.errors import XevalError


@pytest.fixture
def figure_of(monkeypatch):
    """`draw` without a screen."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    pytest.importorskip("matplotlib")
    return draw


def test_differences_are_drawn_as_in_the_verdicts(figure_of, tmp_path):
    table = sample_matrix(tmp_path / "results")
    compared, scored = figure_of(table).axes
    cells = table.verdicts[0].cells
    drawn = [line.get_xdata()[0] for line in compared.lines if line.get_marker() not in ("None", None, "")]
    assert drawn == sorted(cell.comparison.difference for cell in cells.values())
    assert compared.get_xlabel().endswith("±1.5)") and scored.get_xlabel() == "Accuracy in %"
    names = [text.get_text() for text in scored.get_yticklabels()]
    assert names[0] == "English" and len(names) == len(table.ours[1].cells)


def test_runs_can_be_plotted_but_not_of_two_tasks(figure_of):
    run = a_run(**SIX)
    assert len(Runs([run], "distilmbert-card").plot().axes) == 1
    other = type(run)(run.folder, run.record.model_copy(update={"task": "paws-x"}))
    with pytest.raises(XevalError, match="of one task; these runs have scores of 2"):
        Runs([run, other]).plot()


def test_missing_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(XevalError, match="pip install matplotlib"):
        draw(matrix.build([a_run(**SIX)], "xnli", CARD))


def test_plot_shows_dollar_signs_in_names(figure_of, tmp_path):
    run = a_run(**SIX)
    named = run.record.model.model_copy(update={"id": r"org/$\no such symbol$"})
    figure = Runs([type(run)(run.folder, run.record.model_copy(update={"model": named}))]).plot()
    figure.savefig(tmp_path / "figure.png")
    assert r"$\no such symbol$" in figure.axes[0].get_title(loc="left")


def test_plot_tells_languages_with_one_name_apart(figure_of):
    run = a_run(**{"en": 0.9, "zh-CN": 0.8, "zh-TW": 0.7})
    labels = [label.get_text() for label in figure_of(matrix.build([run], "xnli", None)).axes[0].get_yticklabels()]
    assert labels == ["English", "Chinese (zh-CN)", "Chinese (zh-TW)"]
