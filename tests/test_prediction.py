"""Prediction when memory is short: smaller batches, the same logits."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from tests.helpers.checkpoints import (
    KIND,
    LABELS,
    labelled_pairs,
    make_pairs,
    tiny_config,
    tiny_model,
    tiny_tokenizer,
)
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.masked_lm import Masking, pieces_of, pseudo_log_likelihoods
from xeval.engine.prediction import mean_loss, predict, predict_logits
from xeval.engine.remembered import remember
from xeval.support.errors import PredictionError, TrainingError

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
    with pytest.raises(PredictionError, match=r"^out of memory with a single sequence; [^\n]+$"):
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


def limit(model: torch.nn.Module, n_tokens: int) -> None:
    """Let the encoder of `model` run out of memory on larger batches."""

    def check(encoder, inputs, options):
        if (inputs[0] if inputs else options["input_ids"]).numel() > n_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model.base_model.register_forward_pre_hook(check, with_kwargs=True)


def test_remembered_states_are_computed_in_batches_that_fit():
    model, told = tiny_model("bert", len(tiny_tokenizer("bert"))), list[int]()
    whole = remember(model, PAIRS, KIND.reads, CPU).states
    limit(model, 600)
    states = remember(model, PAIRS, KIND.reads, CPU, told.append).states
    np.testing.assert_allclose(states.numpy(), whole.numpy(), rtol=0, atol=1e-5)
    assert sum(told) == len(PAIRS)
    limit(model, 3)
    with pytest.raises(TrainingError, match=r"^out of memory with the encoder's states; [^\n]+$"):
        remember(model, PAIRS, KIND.reads, CPU)


def test_masked_pieces_are_predicted_in_batches_that_fit():
    tokenizer, told = tiny_tokenizer("bert"), list[int]()
    model = AutoModelForMaskedLM.from_config(tiny_config("bert", len(tokenizer)))
    pieces = pieces_of(tokenizer, [" ".join(pair[:2]) for pair in make_pairs("en", 8)], spaces_between_words=True)
    ask = model, pieces, 4, Masking.piece, CPU
    whole = pseudo_log_likelihoods(*ask)
    limit(model, 600)
    np.testing.assert_allclose(pseudo_log_likelihoods(*ask, told.append), whole, rtol=1e-5)
    assert sum(told) == pieces.is_text.sum()
    limit(model, 3)
    with pytest.raises(PredictionError, match=r"^out of memory with a single sequence; [^\n]+$"):
        pseudo_log_likelihoods(*ask)
