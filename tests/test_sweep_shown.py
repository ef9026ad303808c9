"""Sweeps in reports: every format states how many trials a value was chosen from, and what each of them scored."""

import csv as csv_module
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from tests.helpers.sample_record import sweep_record
from tests.helpers.sample_report import TASK, sample_matrix
from xeval.report import matrix
from xeval.report.formats import Format, model_card, render_as, terminal
from xeval.report.formats.model_card import Footprint
from xeval.report.frame import to_frame

SWEEP = sweep_record(5e-5, {2e-5: 0.712, 5e-5: 0.7431, 1e-4: None})
ONE_MODEL = (Format.MODEL_CARD, Format.EVAL_RESULTS)


def built(folder, sweep=SWEEP, n_runs=3, of_seeds=(1, 2)) -> matrix.Matrix:
    """A matrix in which `sweep` chose a value for DistilmBERT's seeds, and nothing for the other model's."""
    whole = sample_matrix(folder)
    runs = [
        replace(run, record=run.record.model_copy(update={"sweep": sweep}))
        if run.record.model.id != "organisation/another" and run.record.seed in of_seeds
        else run
        for run in whole.runs[:n_runs]
    ]
    return matrix.build(runs, "xnli", whole.reference)


@pytest.mark.parametrize("chosen", [form for form in Format if form is not Format.CSV])
def test_every_format_states_the_number_of_trials(tmp_path, chosen):
    made = built(tmp_path, n_runs=2 if chosen in ONE_MODEL else 3)
    text = render_as(chosen, made, TASK, Footprint())
    assert "chosen from 3 trials" in " ".join(text.split())
    if chosen is not Format.EVAL_RESULTS:
        assert all(score in text for score in ("71.2", "74.3", "failed", "1000000"))


def test_terminal_states_the_number_of_trials(tmp_path):
    console = Console(file=io.StringIO(), width=400)
    terminal.show(built(tmp_path), console)
    assert "learning_rate chosen from 3 trials on English dev alone" in console.file.getvalue()


def test_footnote_of_the_swept_row_lists_every_trial(tmp_path):
    [line] = built(tmp_path).budgets
    assert line.startswith("distilbert/distilbert-base-multilingual-cased, hf-2019: learning_rate chosen from 3 trials")
    assert "learning_rate 2e-05: 71.2, learning_rate 5e-05: 74.3, learning_rate 0.0001: failed" in line
    assert line.endswith("Each was trained once, with seed 1000000; the row has other seeds.")


def test_report_without_a_sweep_mentions_no_trials(tmp_path):
    made = built(tmp_path, sweep=None)
    assert made.budgets == []
    assert "trial" not in render_as(Format.MARKDOWN, made, TASK, Footprint())


def test_trials_of_other_sweeps_are_counted_too(tmp_path):
    made = built(tmp_path, sweep_record(5e-5, {2e-5: 0.7, 5e-5: 0.74}, n_others=2), of_seeds=(2,))
    assert "learning_rate chosen from 2 trials (4 with those of other sweeps)" in made.budgets[0]
    first, second = made.runs[:2]
    both = [replace(first, record=first.record.model_copy(update={"sweep": SWEEP})), second]
    assert "chosen from 2 trials (4 with" in matrix.build(both, "xnli", None).budgets[0]


def test_row_sharing_the_trials_seed_says_so(tmp_path):
    made = built(tmp_path, SWEEP.model_copy(update={"seed": 2}))
    assert made.budgets[0].endswith("with seed 2, which is a seed of this row too.")


def test_verdict_sentence_states_the_number_of_trials(tmp_path):
    [verdict] = built(tmp_path).verdicts
    assert "(hf-2019, learning_rate chosen from 3 trials), mean of" in verdict.mean.sentence
    assert "trials" not in built(tmp_path, sweep=None).verdicts[0].mean.sentence


def test_json_has_the_sweep_and_tables_have_n_trials(tmp_path):
    made = built(tmp_path)
    runs = json.loads(render_as(Format.JSON, made, TASK, Footprint()))["runs"]
    assert [run["sweep"] for run in runs] == [SWEEP.model_dump(), SWEEP.model_dump(), None]
    lines = list(csv_module.DictReader(io.StringIO(render_as(Format.CSV, made, TASK, Footprint()))))
    assert {(line["model"].split("/")[0], line["n_trials"]) for line in lines} == {
        ("distilbert", "3"),
        ("organisation", ""),
    }
    assert to_frame(made.runs)["n_trials"].dropna().unique().tolist() == [3]


def test_a_model_card_counts_the_hours_of_trials_once(tmp_path):
    card = model_card.render(built(tmp_path, n_runs=2), TASK, Footprint())
    fine_tuning = (2 * 1800 + 2 * 900) / 3600  # two seeds, and two trials that ended
    assert f"({fine_tuning:.3g} fine-tuning, 0.1 evaluation) in 2 runs and 3 trials" in card
