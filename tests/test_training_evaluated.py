"""Evaluating checkpoints during a training does not change the training."""

import os
import signal

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import KIND, labelled_pairs, make_pairs, tiny_model, tiny_tokenizer
from xeval.definitions.recipe import Recipe
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.prediction import predict_logits
from xeval.engine.snapshots import Snapshots
from xeval.engine.training import fine_tune
from xeval.runs.candidates import weights_sha256
from xeval.support import termination

CPU = Compute(torch.device("cpu"), torch.float32)
PAIRS = encode(KIND, tiny_tokenizer("bert"), labelled_pairs("en", make_pairs("en", 22), "train"), 48)


def train(at_selection=lambda model, step: (), folder=None, **values):
    chosen = Recipe(
        name="r",
        description="d",
        learning_rate=1e-3,
        batch_size=8,
        epochs=2.0,
        max_length=48,
        **({"selection": "english-dev", "evaluate_every_steps": 2, "weight_decay": 0.1} | values),
    )
    model = tiny_model("bert", len(tiny_tokenizer("bert")))
    assert model.config.hidden_dropout_prob > 0
    accuracies = iter([0.5, 0.7, 0.6])
    outcome = fine_tune(
        KIND,
        model,
        PAIRS,
        chosen,
        1e-3,
        3,
        CPU,
        lambda: next(accuracies),
        snapshots=Snapshots(folder) if folder else None,
        at_selection=lambda step: at_selection(model, step),
    )
    return outcome, model


@pytest.mark.parametrize("selection", ["english-dev", "last"])
def test_evaluation_leaves_the_weights_bit_identical(selection):
    """Dropout stays on and draws the same random numbers."""
    plain, model = train(selection=selection)
    seen = []

    def predict(same_model, step):
        assert same_model.training
        seen.append((step, weights_sha256(same_model)))
        yield predict_logits(same_model, PAIRS, CPU)
        assert same_model.training

    watched, other = train(predict, selection=selection)
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert (plain.loss_curve, plain.selection_curve) == (watched.loss_curve, watched.selection_curve)
    assert [step for step, _ in seen] == [2, 4, 6] == [step for step, _ in plain.selection_curve]
    assert dict(seen)[watched.chosen_step] == weights_sha256(other)
    assert len({sha256 for _, sha256 in seen}) == 3


def test_evaluation_time_is_counted_separately(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("xeval.engine.training.time.monotonic", lambda: now[0])

    def take_ten_seconds(model, step):
        now[0] += 10.0
        yield

    assert train(take_ten_seconds)[0].aside_wall_s == 30.0


def test_sigterm_stops_between_languages(tmp_path):
    done, before = [], signal.getsignal(signal.SIGTERM)

    def evaluate(model, step):
        for language in ("en", "es", "zh"):
            done.append((step, language))
            if (step, language) == (4, "es"):
                os.kill(os.getpid(), signal.SIGTERM)
            yield language

    termination.listen()
    try:
        with pytest.raises(termination.Terminated):
            train(evaluate, tmp_path)
    finally:
        termination.listen()
        signal.signal(signal.SIGTERM, before)
    assert done == [(2, "en"), (2, "es"), (2, "zh"), (4, "en"), (4, "es")]
    assert Snapshots(tmp_path).newest() is None


def test_weights_hash_changes_with_one_bit_or_the_order():
    model = tiny_model("bert", len(tiny_tokenizer("bert")))
    first, second = (layer.output.dense.bias for layer in model.bert.encoder.layer)
    above_one = float(np.nextafter(np.float32(1), np.float32(2)))
    seen = []
    for values in ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, above_one, 0.0), (0.0, 1.0, 0.0)):
        with torch.no_grad():
            first[0], first[1], second[0] = values
        seen.append(weights_sha256(model))
    assert len(set(seen)) == 4 and seen[-1] == seen[0]
