"""Evaluation on part of the rows: which rows they are, and that nothing is trained again for it."""

import numpy as np
import pytest
from world import Notes, record_of

from tests.helpers.sample_record import run_record
from xeval.checks.after.diagnose import diagnose_run
from xeval.results.identity import ingredients_of, is_training_of
from xeval.results.predictions import column
from xeval.results.records import RecipeRecord
from xeval.results.store import load_run, load_runs


@pytest.mark.parametrize("change", [{"max_eval": 7}, {"test_split": "dev"}], ids=["fewer rows", "another split"])
def test_evaluating_other_rows_trains_nothing_again(finished, no_training, change):
    before, files, notes = record_of(finished), finished.files(), Notes()
    record = finished.run(languages=["en"], reporter=notes, **change)
    assert record.identity != before.identity
    assert (record.training, record.timing["train"]) == (before.training, before.timing["train"])
    assert before.training.invocation in record.invocations
    told = "its training is the same as that of"
    assert any(told in line and line.endswith("is not repeated") for line in notes.lines)
    assert {name: content for name, content in finished.files().items() if name in files} == files


def test_added_language_uses_the_other_runs_weights(finished, no_training):
    finished.run(languages=["en"], max_eval=7)
    record = finished.run(languages=["en", "es"], max_eval=7)
    assert (list(record.scores), record.status) == (["en", "es"], "complete")


def test_lost_weights_are_trained_again(finished):
    (finished.folder / "cache").rename(finished.folder / "gone")
    record = finished.run(languages=["en"], max_eval=7)
    assert record.training.weights_sha256 == load_runs(finished.results)[0].record.training.weights_sha256


@pytest.mark.parametrize(
    ("values", "is_the_same"),
    [
        ({"selection": "last"}, True),
        ({"selection": "last", "patience": 2}, False),
        ({"selection": "english-dev"}, False),
    ],
)
def test_selection_rows_matter_only_if_they_choose(values, is_the_same):
    record = run_record(recipe=RecipeRecord(name="r", values=values, overrides={}))
    rows = {"train": {"en": "a" * 64}, "selection": {"en": "b" * 64}}
    record, other = (
        record.model_copy(update={"data": record.data.model_copy(update={"sha256": rows | changed})})
        for changed in ({}, {"selection": {"en": "c" * 64}})
    )
    assert is_training_of(record, ingredients_of(other), record.seed) == is_the_same
    assert not is_training_of(record, ingredients_of(record), record.seed + 1)


def test_record_and_predictions_say_which_rows_were_drawn(finished, no_training):
    record = finished.run(languages=["en", "es"], max_eval=7)
    assert (record.limits.max_eval, record.limits.eval_seed, record.scores["en"].n_rows) == (7, 1, 7)
    [run] = [load_run(folder) for folder in finished.folders() if load_run(folder).record == record]
    [everything] = [load_run(folder) for folder in finished.folders() if load_run(folder).record != record]
    rows = {language: column(run.predictions(language), "row") for language in ("en", "es")}
    assert rows["en"].tolist() == rows["es"].tolist() != list(range(7))
    for language, own in rows.items():
        table = everything.predictions(language)
        assert max(own) < len(table)
        assert run.predictions(language)["label"].to_pylist() == table["label"].take(own).to_pylist()
        assert np.allclose(
            column(run.predictions(language), "logits"), column(table, "logits")[own], atol=1e-5
        )  # exactly these rows
    assert "missing or repeated rows" not in {finding.name for finding in diagnose_run(run, None, None)}
