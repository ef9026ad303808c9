"""Asking again: the same training is not made again, what failed is tried again, and nothing finished is lost."""

import re
import shutil

import pytest
from test_breakdowns import with_no_numbers
from test_nothing_twice import with_scores_of_other_weights
from world import Notes, World, forbid, record_of

import xeval.runs.grid
from tests.helpers import tiny
from xeval.engine import environment
from xeval.judging.health import collapse
from xeval.results.store import load_runs
from xeval.runs.grid import reproduce
from xeval.support.cache import clear
from xeval.support.errors import DataError, XevalError

# ── the same training under other names ──


def test_a_model_under_two_names_is_run_once_and_that_is_said(empty):
    copy = shutil.copytree(empty.model, empty.folder / "a-copy")
    notes = Notes()
    records = empty.run_all(models=[str(empty.model), str(copy)], languages=["en"], reporter=notes)
    assert len(records) == len(empty.folders()) == 1
    assert any(line == f"{copy} has the same files as {empty.model.name}: one run serves both" for line in notes.lines)


def test_a_finished_run_is_found_under_another_name_of_its_model(finished, no_training, no_prediction):
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
def test_what_a_task_file_says_besides_its_rows_makes_no_other_run(finished, no_training, no_prediction, change):
    text = finished.task_file.read_text(encoding="utf-8")
    assert change[0] in text
    task = finished.folder / "changed" / finished.task_file.name
    task.parent.mkdir()
    task.write_text(text.replace(*change, 1), encoding="utf-8")
    assert finished.run(task=str(task), languages=["en", "es"]) == record_of(finished)


# ── what failed ──


@pytest.fixture
def broken(empty) -> World:
    """Whose model gives no numbers for Chinese, and is finished in English and Spanish."""
    model = with_no_numbers(empty.model, empty.folder / "broken", piece="猫")
    world = World(empty.folder, empty.task_file, empty.data, model)
    assert world.run(languages=["en", "es"]).status == "complete"
    return world


def test_a_failed_addition_leaves_the_other_scores_in_use(broken):
    before = record_of(broken)
    record = broken.run()
    assert (record.status, list(record.failures)) == ("incomplete", ["evaluate/zh"])
    assert record.failures["evaluate/zh"].invocation == environment.INVOCATION
    assert (record.scores, record.training) == (before.scores, before.training)
    assert record == record_of(broken)


def test_what_failed_is_tried_again_when_it_is_asked_for_again(broken):
    broken.run()
    notes = Notes()
    assert broken.run(reporter=notes).failures.keys() == {"evaluate/zh"}
    assert any("1 of 3 languages to evaluate" in line for line in notes.lines)


def test_without_what_failed_the_run_is_complete_again(broken, monkeypatch):
    broken.run()
    monkeypatch.setattr("xeval.engine.prediction.logits_of", forbid("prediction"))
    record = broken.run(languages=["en", "es"])
    assert (record.status, record.failures) == ("complete", {})


def test_one_language_that_fails_does_not_keep_the_next_from_being_evaluated(empty):
    model = with_no_numbers(empty.model, empty.folder / "broken", piece="猫")
    record = World(empty.folder, empty.task_file, empty.data, model).run(languages=["zh", "es"])
    assert (record.status, list(record.scores), list(record.failures)) == ("incomplete", ["es"], ["evaluate/zh"])


# ── where it was made ──


def test_a_score_that_another_invocation_added_says_so(empty, monkeypatch):
    first = empty.run(languages=["en", "es"])
    monkeypatch.setattr("xeval.engine.environment.INVOCATION", "2" * 32)
    second = empty.run()
    assert list(second.invocations) == [*first.invocations, "2" * 32]
    assert second.scores["zh"].invocation == second.timing["evaluate/zh"].invocation == "2" * 32
    assert {second.scores[language].invocation for language in ("en", "es")} == set(first.invocations)
    assert second.training.invocation == second.timing["train"].invocation == first.training.invocation


def test_an_invocation_that_contributed_nothing_leaves_no_trace(finished, monkeypatch):
    monkeypatch.setattr("xeval.engine.environment.INVOCATION", "2" * 32)
    assert "2" * 32 not in finished.run().invocations


# ── rows that a training again needs ──


def test_rows_that_other_weights_would_need_are_asked_for_before_the_training(finished, no_training):
    """It trained, and failed then, and did so again each time."""
    clear("weights")
    (folder,) = finished.folders()
    (folder / "predictions" / "es.parquet").unlink()
    data = finished.copy_of_data()
    shutil.rmtree(data / "zh")
    with pytest.raises(DataError, match=r"^[^\n]* has to be trained again, [^\n]* in 'zh' too, but [^\n]*zh[^\n]*$"):
        finished.run(languages=["es"], data=data)


def test_they_are_fetched_where_they_can_be(finished, monkeypatch):
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


def test_every_model_of_a_table_is_looked_at_before_the_first_is_trained(empty, no_training):
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


def test_a_task_of_ones_own_under_a_shipped_name_is_judged_by_its_own_labels(empty):
    """Which are two: chance is a half, whatever the shipped task of that name has."""
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
