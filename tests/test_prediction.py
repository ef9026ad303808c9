"""Prediction when memory is short: smaller batches, the same logits."""

import math

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import KIND, LABELS, labelled_pairs, make_pairs, tiny_model, tiny_tokenizer
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.prediction import mean_loss, predict, predict_logits
from xeval.support.errors import PredictionError

CPU = Compute(torch.device("cpu"), torch.float32)
PAIRS = encode(KIND, tiny_tokenizer("bert"), labelled_pairs("en", make_pairs("en", 64)), 48)


def model_with_room_for(n_tokens: int) -> tuple[torch.nn.Module, list[int]]:
    """A model that runs out of memory on larger batches, and the sizes of those that it was given."""
    model, sizes = tiny_model("bert", len(tiny_tokenizer("bert"))), list[int]()
    forward = model.forward

    def limited(**inputs):
        sizes.append(inputs["input_ids"].numel())
        if sizes[-1] > n_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(**inputs)

    model.forward = limited
    return model, sizes


def test_batches_that_do_not_fit_are_made_smaller():
    whole = predict_logits(model_with_room_for(10**9)[0], PAIRS, CPU)
    model, sizes = model_with_room_for(600)
    told: list[int] = []
    np.testing.assert_allclose(predict_logits(model, PAIRS, CPU, told.append), whole, rtol=0, atol=1e-5)
    assert sizes[0] > 600 >= max(sizes[-len(told) :])
    assert sum(told) == len(PAIRS)


def test_single_pair_that_does_not_fit_is_an_error():
    with pytest.raises(PredictionError, match=r"^out of memory with a single pair; [^\n]+$"):
        predict_logits(model_with_room_for(3)[0], PAIRS, CPU)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_nonfinite_outputs_are_refused_and_counted(monkeypatch, broken):
    outputs = np.zeros((len(PAIRS), 3), dtype=np.float32)
    outputs[1, 2] = outputs[3, 0] = outputs[3, 1] = broken
    monkeypatch.setattr("xeval.engine.prediction.predict_logits", lambda *_: outputs)
    model = tiny_model("bert", 99, id2label=dict(enumerate(LABELS)))
    with pytest.raises(PredictionError, match=r"^2 rows have no finite logits$"):
        predict(model, KIND, PAIRS, CPU)


def test_mean_loss_of_predictions_matches_torch():
    outputs = np.random.default_rng(0).normal(size=(len(PAIRS), 3)).astype(np.float32)
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(outputs), torch.from_numpy(PAIRS.targets))
    assert mean_loss(KIND, outputs, PAIRS) == pytest.approx(float(expected), rel=1e-6)
