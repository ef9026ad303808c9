"""`xeval report` in its formats: which one is written, what the model card says of the machine, and what it costs."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.helpers.sample_report import TASK, sample_matrix
from xeval.cli import main
from xeval.report import matrix
from xeval.report.formats import Format, format_of, model_card, render_as
from xeval.report.formats.model_card import Footprint
from xeval.results.store import save_record
from xeval.support.errors import XevalError
from xeval.support.findings import error

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A results folder with two models."""
    folder = tmp_path_factory.mktemp("sample") / "results"
    for run_folder, record in ((run.folder, run.record) for run in sample_matrix(folder).runs):
        save_record(run_folder, record)
    return folder


@pytest.fixture
def report(capsys, monkeypatch, tmp_path, results):
    """`report(*words)`: the exit code and what stands on standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xeval", "report", "--results", str(results), *words])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run


def one_model(folder: Path) -> matrix.Matrix:
    whole = sample_matrix(folder)
    return matrix.build(whole.runs[:2], "xnli", whole.reference)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("r.md", "# XNLI"),
        ("r", "# XNLI"),
        ("R.HTML", "<!doctype html>"),
        ("r.tex", "% Needs"),
        ("r.csv", '"task"'),
        ("r.json", "{"),
    ],
)
def test_the_ending_of_the_file_says_the_format(report, tmp_path, name, start):
    assert report("--output", name) == (0, "", "")
    assert (tmp_path / name).read_text().startswith(start)


def test_the_format_that_is_named_wins_over_the_ending(report, tmp_path):
    assert report("--output", "r.md", "--format", "csv")[0] == 0
    assert (tmp_path / "r.md").read_text().startswith('"task"')


def test_without_a_file_it_is_markdown_on_standard_output(report):
    assert report()[1].startswith("# XNLI")
    assert json.loads(report("--format", "json")[1])["task"] == "xnli"


def test_an_ending_that_says_nothing_is_one_line_and_exit_2(report, tmp_path):
    code, out, err = report("--output", "report.pdf")
    assert (code, out, err.count("\n")) == (2, "", 1) and "--format" in err
    assert report("--format", "pdf")[0] == 2
    assert list(tmp_path.iterdir()) == []
    assert {format_of(Path(f"x.{suffix}")) for suffix in ("md", "html", "tex", "csv", "json")} < set(Format)


def test_a_report_on_one_of_several_models(report):
    code, out, _ = report("--model", "organisation/another")
    assert code == 0 and "organisation/another" in out and "mean of 2 seeds" not in out
    code, _, err = report("--model", "organisation/anoter")
    assert code == 2 and "did you mean 'organisation/another'?" in err


def test_a_model_card_is_about_one_model(report):
    code, _, err = report("--format", "model-card")
    assert code == 2 and "choose one with --model" in err
    code, out, _ = report("--format", "model-card", "--model", "organisation/another")
    metadata = yaml.safe_load(out.split("---\n")[1])
    assert code == 0 and metadata["model-index"][0]["name"] == "organisation/another"


def test_the_hubs_own_classes_read_the_metadata_back(tmp_path):
    from huggingface_hub import ModelCard

    made = one_model(tmp_path)
    [ours] = made.ours
    card = ModelCard(model_card.render(made, TASK, Footprint()))
    found = {result.dataset_config: result.metric_value for result in card.data.eval_results}
    assert found == {language: round(value / 100, 4) for language, value in ours.cells.items()}
    assert {result.dataset_type for result in card.data.eval_results} == {"facebook/xnli"}


def test_the_hubs_own_classes_read_the_eval_results_back(tmp_path):
    from huggingface_hub import parse_eval_result_entries

    entries = parse_eval_result_entries(yaml.safe_load(model_card.render_eval_results(one_model(tmp_path), TASK)))
    assert [entry.task_id for entry in entries] == list(one_model(tmp_path).ours[0].cells)
    assert {entry.dataset_id for entry in entries} == {"facebook/xnli"}
    with pytest.raises(XevalError, match="data set of the hub"):
        model_card.render_eval_results(one_model(tmp_path), None)


def test_what_was_not_measured_is_not_said(tmp_path):
    made = one_model(tmp_path)
    plain = model_card.render(made, TASK, Footprint())
    assert "**Energy:** not measured" in plain and "**Carbon Emitted:** not measured" in plain
    only_watts = model_card.render(made, TASK, Footprint(watts=100))
    assert "**Carbon Emitted:** not measured" in only_watts and "**Energy:** an estimate: " in only_watts


def test_energy_and_carbon_are_the_hours_times_what_the_user_says_and_called_estimates(tmp_path):
    card = model_card.render(one_model(tmp_path), TASK, Footprint(watts=200, grams_per_kwh=300))
    hours = 2 * (1800 + 180) / 3600  # two seeds, training and one evaluation each
    assert "**Hours used:** 1.1 (1 fine-tuning, 0.1 evaluation) in 2 runs" in card
    assert f"**Energy:** an estimate: {hours * 0.2:.3g} kWh" in card
    assert f"**Carbon Emitted:** an estimate: {hours * 0.2 * 300:.3g} g of CO2" in card


@pytest.mark.parametrize("chosen", Format)
def test_no_format_loads_what_takes_seconds(chosen, results):
    code = (
        "import sys; from xeval.cli import main\n"
        f"sys.argv = ['xeval', 'report', '--results', {str(results)!r}, '--format', {chosen.value!r},"
        " '--model', 'organisation/another']\n"
        "try: main()\n"
        "except SystemExit as left: assert left.code == 0, left.code\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'evaluate', 'pandas', 'matplotlib'} & sys.modules.keys()),"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "[]\n")


@pytest.mark.parametrize("chosen", [Format.MARKDOWN, Format.HTML, Format.LATEX, Format.JSON, Format.MODEL_CARD])
def test_what_the_diagnosis_has_found_stands_in_every_format_for_people_and_in_json(chosen, tmp_path):
    made = replace(one_model(tmp_path), findings=[error("permuted labels", "the evidence of it", "the mend of it.")])
    text = render_as(chosen, made, TASK, Footprint())
    for said in ("permuted labels", "the evidence of it", "the mend of it"):
        assert said in text
    assert "permuted" not in render_as(chosen, one_model(tmp_path), TASK, Footprint())
