"""What a run writes to disk and prints while it works."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from world import (
    LABELS,
    MAX_LENGTH,
    Notes,
    predictions_of,
    record_of,
    sha256,
    weights_file,
)

import xeval.data.corpus
import xeval.engine.snapshots
import xeval.engine.steps
import xeval.engine.training
import xeval.support.files
from tests.helpers import tiny


def test_every_row_of_every_language_is_counted_once(finished):
    record = record_of(finished)
    assert record.status == "complete" and record.failure is None
    assert sorted(record.scores) == sorted(tiny.LANGUAGES)
    for language, score in record.scores.items():
        table = predictions_of(finished, language).to_pydict()
        gold = [LABELS.index(label) for *_, label in tiny.mini_rows()["test", language]]
        assert table["row"] == list(range(12))
        assert table["label"] == gold
        assert table["prediction"] == [int(np.argmax(logits)) for logits in table["logits"]]
        n_correct = sum(got == wanted for got, wanted in zip(table["prediction"], gold, strict=True))
        assert (score.n_rows, score.totals["correct"], score.value) == (12, n_correct, n_correct / 12)
        assert score.ci95[0] <= score.value <= score.ci95[1]


def test_saved_logits_are_those_of_the_kept_weights(finished):
    model = AutoModelForSequenceClassification.from_pretrained(weights_file(finished, record_of(finished)).parent)
    tokenizer = AutoTokenizer.from_pretrained(finished.model)
    for language in tiny.LANGUAGES:
        rows = tiny.mini_rows()["test", language]
        logits = predictions_of(finished, language)["logits"].to_pylist()
        for (premise, hypothesis, _), got in zip(rows, logits, strict=True):
            inputs = tokenizer(premise, hypothesis, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
            with torch.no_grad():
                np.testing.assert_allclose(got, model(**inputs).logits[0].numpy(), rtol=0, atol=1e-5)


def test_the_record_says_how_it_was_trained(finished):
    training = record_of(finished).training
    assert (training.n_steps, training.effective_batch_size, training.selection) == (8, 7, "english-dev")
    steps, losses = zip(*training.loss_curve, strict=True)
    assert steps == tuple(range(1, 9)) and all(np.isfinite(losses)) and min(losses) > 0
    accuracies = {point.step: point.value for point in training.selection_curve}
    assert list(accuracies) == [4, 8]
    assert all((12 * accuracy).is_integer() for accuracy in accuracies.values())
    assert training.chosen_step == max(accuracies, key=accuracies.get)  # the first of the best
    assert training.weights_sha256 == sha256(weights_file(finished, record_of(finished)))


def test_selection_by_loss_on_part_of_the_rows(empty):
    """The recorded losses are those of plain transformers on the first rows alone."""
    values = {"selection": "english-dev-loss", "selection_rows": 7, "evaluate_every_steps": 1, "learning_rate": 2e-2}
    record = empty.run(languages=["en"], overrides=values)
    curve = record.training.selection_curve
    assert all((7 * point.value).is_integer() for point in curve) and len(curve) == 8
    losses = {point.step: point.loss for point in curve}
    assert record.training.chosen_step == min(losses, key=losses.get)
    model = AutoModelForSequenceClassification.from_pretrained(weights_file(empty, record).parent)
    tokenizer = AutoTokenizer.from_pretrained(empty.model)
    surprises = []
    for premise, hypothesis, label in tiny.mini_rows()["selection", "en"][:7]:
        inputs = tokenizer(premise, hypothesis, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        gold = torch.tensor([LABELS.index(label)])
        with torch.no_grad():
            surprises.append(float(model(**inputs, labels=gold).loss))
    assert np.mean(surprises) == pytest.approx(min(losses.values()), abs=1e-5)


def test_selection_by_accuracy_records_no_losses(finished):
    assert {point.loss for point in record_of(finished).training.selection_curve} == {None}


@pytest.mark.parametrize(
    ("of_the_recipe", "given"),
    [("warmup_share = 0.5", {"warmup_steps": 2}), ("warmup_steps = 2", {"warmup_share": 0.5})],
)
def test_given_warm_up_replaces_the_recipes(empty, of_the_recipe, given):
    path = empty.folder / "brief.toml"
    path.write_text(f"{path.read_text()}{of_the_recipe}\n")
    values = empty.run(languages=["en"], overrides=given).recipe.values
    assert {key: value for key, value in values.items() if key.startswith("warmup") and value} == given


def test_the_record_says_what_went_in(finished):
    record = record_of(finished)
    assert (record.task, record.training_language, record.seed) == ("mini-pairs", "en", 3)
    assert {split: sorted(hashes) for split, hashes in record.data.sha256.items()} == {
        "train": ["en"],
        "selection": ["en"],
        "test": ["en", "es", "zh"],
    }
    assert record.data.train_rows == {"found": 24, "expected": 24, "used": 24}
    assert (record.recipe.name, record.recipe.overrides) == ("brief", {})
    assert record.recipe.values["learning_rate"] == 2e-3 and record.recipe.values["batch_size"] == 7
    assert (record.limits.max_train, record.limits.max_eval) == (None, None)
    assert ([place.device for place in record.environments], record.dtype) == (["cpu"], "float32")
    encoder = AutoModelForSequenceClassification.from_pretrained(weights_file(finished, record).parent).base_model
    assert record.model.n_parameters == sum(parameter.numel() for parameter in encoder.parameters())
    assert (record.model.architecture, record.model.origin, record.model.revision) == ("bert", "local", None)


def test_record_times_each_phase_and_counts_its_pairs(finished):
    timing = record_of(finished).timing
    assert {phase: entry.rows for phase, entry in timing.items()} == {
        "train": 48,
        "evaluate/en": 12,
        "evaluate/es": 12,
        "evaluate/zh": 12,
    }
    assert all(0 < entry.wall_s < 600 for entry in timing.values())


@pytest.mark.parametrize(
    ("overrides", "n_steps", "n_pairs"),
    [
        ({"epochs": 1.5}, 6, 24 + 14),
        ({"epochs": 3, "max_steps": 5}, 5, 24 + 7),
        ({"epochs": None, "max_steps": 4}, 4, 24),
    ],
)
def test_timed_pairs_are_those_trained_on(empty, overrides, n_steps, n_pairs):
    record = empty.run(languages=["en"], overrides=overrides)
    assert (record.training.n_steps, record.timing["train"].rows) == (n_steps, n_pairs)
    assert record.recipe.overrides == overrides


def test_effective_batch_size_is_printed_before_training(empty, monkeypatch):
    notes, told = Notes(), []
    logits_of = xeval.engine.steps.logits_of
    monkeypatch.setattr(
        "xeval.engine.steps.logits_of", lambda *args: (told.append(len(notes.lines)), logits_of(*args))[1]
    )
    empty.run(languages=["en"], reporter=notes)
    assert any("effective batch size 7 pairs" in line for line in notes.lines[: told[0]])


def test_models_and_seeds_run_in_the_requested_order(empty, checkpoint_of):
    models = [checkpoint_of("xlm-roberta"), checkpoint_of("distilbert")]
    records = empty.run_all(models=list(map(str, models)), seeds=[2, 1], languages=["es"])
    asked_for = [(model.name, seed) for model in models for seed in (2, 1)]
    assert [(record.model.id, record.seed) for record in records] == asked_for
    assert [record.model.architecture for record in records] == ["xlm-roberta"] * 2 + ["distilbert"] * 2
    assert len({record.training.weights_sha256 for record in records}) == 4
    assert len(empty.folders()) == 4
