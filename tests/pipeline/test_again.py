"""Repeated commands: no run is trained twice, failures are tried again, and finished work is kept."""

import re
import shutil
from pathlib import Path

import pytest
from test_breakdowns import with_no_numbers
from test_nothing_twice import InterruptedAtStep, with_scores_of_other_weights
from world import LABELS, Notes, World, forbid, record_of

import xeval
import xeval.runs.grid
from tests.helpers import tiny
from xeval.definitions.registry import find_task
from xeval.engine import environment
from xeval.judging.health import collapse
from xeval.results.candidates import load_checkpoints
from xeval.results.store import load_runs
from xeval.runs.grid import reproduce
from xeval.support.cache import clear
from xeval.support.errors import DataError, StoreError, XevalError

# ── the same run under other names ──


def test_model_under_two_names_is_run_once(empty):
    copy = shutil.copytree(empty.model, empty.folder / "a-copy")
    notes = Notes()
    records = empty.run_all(models=[str(empty.model), str(copy)], languages=["en"], reporter=notes)
    assert len(records) == len(empty.folders()) == 1
    assert any(line == f"{copy} has the same files as {empty.model.name}: one run serves both" for line in notes.lines)


def test_finished_run_serves_a_copy_of_its_model(finished, no_training, no_prediction):
    copy = shutil.copytree(finished.model, finished.folder / "a-copy")
    assert finished.run(models=[str(copy)]) == record_of(finished)
    assert len(finished.folders()) == 1


@pytest.mark.parametrize(
    "change",
    [
        ('languages = ["en", "es", "zh"]', 'languages = ["en", "es", "zh", "de"]'),
        ("[label_aliases]", '[label_aliases]\nja = "entailment"'),
        ("title = ", 'note = "news"\ntitle = '),
    ],
    ids=["a language", "an alias", "a note"],
)
def test_unrelated_task_changes_cause_no_new_run(finished, no_training, no_prediction, change):
    text = finished.task_file.read_text(encoding="utf-8")
    assert change[0] in text
    task = finished.folder / "changed" / finished.task_file.name
    task.parent.mkdir()
    task.write_text(text.replace(*change, 1), encoding="utf-8")
    assert finished.run(task=str(task), languages=["en", "es"]) == record_of(finished)


# ── failures ──


@pytest.fixture
def broken(empty) -> World:
    """A world whose model gives NaN for Chinese; English and Spanish are finished."""
    model = with_no_numbers(empty.model, empty.folder / "broken", piece="猫")
    world = World(empty.folder, empty.task_file, empty.data, model)
    assert world.run(languages=["en", "es"]).status == "complete"
    return world


def test_failed_language_leaves_other_scores_intact(broken):
    before = record_of(broken)
    record = broken.run()
    assert (record.status, list(record.failures)) == ("incomplete", ["evaluate/zh"])
    assert record.failures["evaluate/zh"].invocation == environment.INVOCATION
    assert (record.scores, record.training) == (before.scores, before.training)
    assert record == record_of(broken)


def test_failed_language_is_tried_again(broken):
    broken.run()
    notes = Notes()
    assert broken.run(reporter=notes).failures.keys() == {"evaluate/zh"}
    assert any("1 of 3 languages to evaluate" in line for line in notes.lines)


def test_run_without_the_failed_language_is_complete(broken, monkeypatch):
    broken.run()
    monkeypatch.setattr("xeval.engine.prediction.logits_of", forbid("prediction"))
    record = broken.run(languages=["en", "es"])
    assert (record.status, record.failures) == ("complete", {})


def test_failed_language_does_not_stop_the_next(empty):
    model = with_no_numbers(empty.model, empty.folder / "broken", piece="猫")
    record = World(empty.folder, empty.task_file, empty.data, model).run(languages=["zh", "es"])
    assert (record.status, list(record.scores), list(record.failures)) == ("incomplete", ["es"], ["evaluate/zh"])


# ── invocations ──


def test_added_score_names_its_invocation(empty, monkeypatch):
    first = empty.run(languages=["en", "es"])
    monkeypatch.setattr("xeval.engine.environment.INVOCATION", "2" * 32)
    second = empty.run()
    assert list(second.invocations) == [*first.invocations, "2" * 32]
    assert second.scores["zh"].invocation == second.timing["evaluate/zh"].invocation == "2" * 32
    assert {second.scores[language].invocation for language in ("en", "es")} == set(first.invocations)
    assert second.training.invocation == second.timing["train"].invocation == first.training.invocation


def test_idle_invocation_is_not_recorded(finished, monkeypatch):
    monkeypatch.setattr("xeval.engine.environment.INVOCATION", "2" * 32)
    assert "2" * 32 not in finished.run().invocations


# ── rows that retraining needs ──


def test_missing_rows_are_reported_before_retraining(finished, no_training):
    """It used to train first and then fail, every time."""
    clear("weights")
    (folder,) = finished.folders()
    (folder / "predictions" / "es.parquet").unlink()
    data = finished.copy_of_data()
    shutil.rmtree(data / "zh")
    with pytest.raises(DataError, match=r"^[^\n]* has to be trained again, [^\n]* in 'zh' too, but [^\n]*zh[^\n]*$"):
        finished.run(languages=["es"], data=data)


def test_rows_for_retraining_are_fetched(finished, monkeypatch):
    own = with_scores_of_other_weights(finished)
    opened, open_source = [], xeval.runs.grid.open_source
    monkeypatch.setattr(
        "xeval.runs.grid.open_source",
        lambda task, folder, languages, train: (opened.append(list(languages)), open_source(task, folder, languages))[
            1
        ],
    )
    record = finished.run(languages=["zh"])
    assert sorted(record.scores) == ["en", "es", "zh"] and record.training.weights_sha256 == own
    assert opened[0] == ["zh"] and sorted(opened[1]) == ["en", "es", "zh"]


# ── a whole table ──

TABLE = """\
name = "two"
title = "Two models, of which one is nowhere"
task = "xnli-mini"
split = "test"
source_url = "https://example.org"
languages = ["en"]
[[rows]]
name = "here"
model = "mini-distilmbert"
how = "computed"
recipe = "mini"
cells = {{ en = 90.0 }}
[[rows]]
name = "{name}"
model = "{model}"
how = "computed"
recipe = "{recipe}"
cells = {{ en = 90.0 }}
"""


def test_all_models_of_a_table_are_checked_first(empty, no_training):
    (empty.folder / "two.toml").write_text(TABLE.format(name="nowhere", model="org/nowhere", recipe="mini"))
    with pytest.raises(XevalError, match="org/nowhere"):
        reproduce(str(empty.folder / "two.toml"), results=empty.results, max_train=64)


def test_the_rows_of_a_table_are_read_once(empty, monkeypatch):
    (empty.folder / "two.toml").write_text(TABLE.format(name="twin", model="mini-mbert", recipe="hf-2019"))
    read, load_rows = [], xeval.data.corpus.load_rows
    monkeypatch.setattr(
        "xeval.data.corpus.load_rows",
        lambda source, language, role: (read.append((language, role)), load_rows(source, language, role))[1],
    )
    options = {"max_train": 32, "max_eval": 60, "device": "cpu", "dtype": "float32"}
    reproduce(str(empty.folder / "two.toml"), seeds=[42], results=empty.results, **options)
    assert sorted(read) == [("en", "selection"), ("en", "test"), ("en", "train")]
    assert len(load_runs(empty.results)) == 2


# ── labels ──


def test_own_task_named_xnli_uses_its_own_labels(empty):
    """It has two labels, so chance is one half; the shipped task of that name has three."""
    rows = {
        place: [(a, b, "yes" if label == "entailment" else "no") for a, b, label in part]
        for place, part in tiny.mini_rows().items()
    }
    text = re.sub(r"(?m)^labels = .*$", 'labels = ["yes", "no"]', tiny.TASK_TOML.replace('"mini-pairs"', '"xnli"'))
    task = empty.folder / "xnli.toml"
    task.write_text(re.sub(r"(?s)\[label_aliases\].*?(?=\n\[)", "", text), encoding="utf-8")
    data = tiny.write_hub_layout(empty.folder / "two-labels", rows, ("yes", "no"))
    record = empty.run(task=str(task), data=data, languages=["en"])
    assert (record.task, record.labels, record.chance) == ("xnli", ["yes", "no"], 0.5)
    score = record.scores["en"].model_copy(update={"value": 0.5, "majority": None})
    assert "where chance is 50.0 %" in collapse(record.model_copy(update={"scores": {"en": score}}))


def pos_mini_by_f1(folder: Path) -> Path:
    """Return the task pos-mini as a file in `folder`, with another metric."""
    path = folder / "pos-mini.toml"
    text = find_task("pos-mini")[0].read_text(encoding="utf-8")
    path.write_text(text.replace('metric = "token_accuracy"', 'metric = "udpos_f1"'), encoding="utf-8")
    return path


def test_scores_of_two_metrics_are_never_in_one_record(tmp_path):
    path = pos_mini_by_f1(tmp_path)
    options = {"max_train": 32, "max_eval": 12, "results": tmp_path / "results", "device": "cpu"}
    [before] = xeval.run("pos-mini", ["mini-distilmbert"], languages=["en"], overrides={"max_steps": 1}, **options)
    said = "is scored by token accuracy, and task pos-mini now by UDPOS F1; use another --results folder"
    with pytest.raises(StoreError, match=said):
        xeval.run(str(path), ["mini-mbert", "mini-distilmbert"], overrides={"max_steps": 1}, **options)
    assert [run.record for run in load_runs(tmp_path / "results")] == [before]


def test_other_names_of_labels_make_no_seeds_of_the_same_configuration(empty, command):
    """Under the same seed, the run was trained again, and reports then refused every run in the folder."""
    rows = {
        place: [(*texts, str(LABELS.index(label))) for *texts, label in part]
        for place, part in tiny.mini_rows().items()
    }
    options = {"data": tiny.write_xtreme_layout(empty.folder / "numbers", rows), "languages": ["en"]}
    before = empty.run(**options)
    task = tiny.write_task(empty.folder / "turned", ('"entailment", "neutral"', '"neutral", "entailment"'))
    for seeds in ([3], [4]):
        with pytest.raises(StoreError, match=r"has the labels entailment, neutral, .* now has neutral, entailment, "):
            empty.run(task=str(task), seeds=seeds, **options)
    assert record_of(empty) == before
    words = ["--model", empty.model, "--recipe", empty.folder / "brief.toml", "--results", empty.results]
    words += ["--data", options["data"], "--language", "en", "--device", "cpu", "--dtype", "float32", "--dry-run"]
    plans = [command("run", each, *words)[1] for each in (empty.task_file, task)]
    assert [plan.startswith("Plan: 1 run, already finished ") for plan in plans] == [True, False]


def test_checkpoint_chosen_by_another_metric_is_not_used(tmp_path):
    """It was, with other test rows than those of the run by that metric, and its development scores as well."""
    path = pos_mini_by_f1(tmp_path)
    options = {"languages": ["en"], "results": tmp_path / "results", "device": "cpu", "max_train": 32}
    options |= {"overrides": {"max_steps": 8, "evaluate_every_steps": 8}}
    [by_accuracy] = xeval.run("pos-mini", ["mini-distilmbert"], max_eval=12, **options)
    [by_f1] = xeval.run(str(path), ["mini-distilmbert"], max_eval=13, **options)
    [accuracy], [f1] = (record.training.selection_curve for record in (by_accuracy, by_f1))
    assert accuracy.loss == f1.loss and accuracy.value != f1.value


def test_interrupted_training_does_not_resume_under_another_metric(tmp_path, monkeypatch):
    """Its best checkpoint so far was chosen by the metric that the task had then, and its curves are in that metric."""
    monkeypatch.setattr("xeval.engine.snapshots.Snapshots.is_due", lambda self: True)
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    options = {"languages": ["en"], "device": "cpu", "max_train": 32, "max_eval": 12, "every_checkpoint": True}
    options |= {"overrides": {"batch_size": 8, "epochs": 2, "evaluate_every_steps": 2}}
    with pytest.raises(KeyboardInterrupt):
        xeval.run("pos-mini", ["mini-distilmbert"], results=tmp_path / "a", reporter=InterruptedAtStep(6), **options)
    path = pos_mini_by_f1(tmp_path)
    xeval.run(str(path), ["mini-distilmbert"], results=tmp_path / "a", **options)
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "another-cache"))
    xeval.run(str(path), ["mini-distilmbert"], results=tmp_path / "b", **options)
    [resumed], [whole] = (load_runs(tmp_path / name) for name in "ab")
    curves = [(run.record.training.selection_curve, run.record.training.chosen_step) for run in (resumed, whole)]
    assert curves[0] == curves[1]
    at_steps = [
        [(each.step, each.scores["en"].value) for each in load_checkpoints(run.folder, run.record).checkpoints]
        for run in (resumed, whole)
    ]
    assert at_steps[0] == at_steps[1]


def test_trial_by_another_metric_is_not_used(tmp_path):
    options = {"languages": ["en"], "device": "cpu", "max_train": 32, "max_eval": 12, "results": tmp_path / "results"}
    options |= {"sweep": {"learning_rate": [1e-3, 2e-3]}, "overrides": {"max_steps": 2}}
    xeval.run("pos-mini", ["mini-distilmbert"], **options)
    shutil.rmtree(load_runs(tmp_path / "results")[0].folder)  # as if interrupted after the trials
    said = "is scored by token accuracy, and task pos-mini now by UDPOS F1; use another --results folder"
    with pytest.raises(StoreError, match=said):
        xeval.run(str(pos_mini_by_f1(tmp_path)), ["mini-distilmbert"], **options)
