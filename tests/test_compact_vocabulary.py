"""Training only the used rows of the embedding gives the same weights as training all of them."""

import copy
import math

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import (
    ARCHITECTURES,
    KIND,
    labelled_pairs,
    make_pairs,
    tiny_model,
    tiny_tokenizer,
    without_dropout,
)
from tests.helpers.tiny_training import into
from xeval.definitions.recipe import Recipe
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.fast_path.compact_vocabulary import CompactVocabulary
from xeval.engine.prediction import predict_logits
from xeval.engine.training import fine_tune
from xeval.support.errors import TrainingError

CPU = Compute(torch.device("cpu"), torch.float32)


def recipe(**values) -> Recipe:
    defaults = {"name": "r", "description": "d", "learning_rate": 1e-2, "batch_size": 8, "max_length": 48}
    return Recipe(**(defaults | {"epochs": 4.0, "selection": "last"} | values))


def rows(architecture: str, language: str = "en"):
    return encode(KIND, tiny_tokenizer(architecture), labelled_pairs(language, make_pairs(language, 22), "train"), 48)


def model_of(architecture: str, **config) -> torch.nn.Module:
    return tiny_model(architecture, len(tiny_tokenizer(architecture)), **config)


def train(model: torch.nn.Module, chosen: Recipe, select=lambda: 0.5, **also) -> list[float]:
    losses: list[float] = []
    pairs = rows(model.config.model_type)
    fine_tune(KIND, model, pairs, chosen, chosen.learning_rate, 3, CPU, select, into(losses), **also)
    return losses


def train_all_rows(monkeypatch, model: torch.nn.Module, *args) -> list[float]:
    with monkeypatch.context() as patch:
        patch.setattr("xeval.engine.training.can_pack", lambda model: False)
        return train(model, *args)


def unused(model: torch.nn.Module) -> np.ndarray:
    """Return the ids that no training pair has."""
    return np.setdiff1d(np.arange(model.config.vocab_size), rows(model.config.model_type).input_ids)


@pytest.mark.parametrize(
    "values",
    [{}, {"weight_decay": 0.1, "warmup_share": 0.3}, {"max_grad_norm": 0.05}],
    ids=["no decay", "decay", "hard clipping"],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_are_those_of_training_every_row(architecture, values, monkeypatch):
    """Over twelve real steps, at every selection on the way, in float64 so that Adam does not amplify rounding."""
    compact, full = (model_of(architecture, **without_dropout(architecture)).double() for _ in range(2))
    seen: dict[torch.nn.Module, list[dict[str, torch.Tensor]]] = {compact: [], full: []}
    chosen = recipe(evaluate_every_steps=5, **values)

    def keep(model: torch.nn.Module):
        seen[model].append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return 0.5

    assert len(unused(full)) > 100
    losses = train(compact, chosen, lambda: keep(compact))
    np.testing.assert_allclose(losses, train_all_rows(monkeypatch, full, chosen, lambda: keep(full)), atol=1e-9)
    assert len(seen[full]) == 3
    for got, expected in zip([*seen[compact], compact.state_dict()], [*seen[full], full.state_dict()], strict=True):
        for name, tensor in expected.items():
            torch.testing.assert_close(got[name], tensor, rtol=0, atol=1e-9, msg=name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_unused_rows_stay_identical_without_decay(architecture):
    model = model_of(architecture)
    before = model.get_input_embeddings().weight.detach().clone()
    train(model, recipe())
    after = model.get_input_embeddings().weight
    assert torch.equal(after[unused(model)], before[unused(model)])
    used = np.unique(rows(architecture).input_ids)
    assert not torch.isclose(after[used], before[used]).all(1).any()


def test_unused_rows_shrink_by_weight_decay_at_each_step():
    model, rates = model_of("bert"), [1e-2 * (12 - step) / 12 for step in range(12)]
    before = model.get_input_embeddings().weight.detach().clone()
    train(model, recipe(weight_decay=0.1))
    factor = math.prod(1 - rate * 0.1 for rate in rates)
    ids = unused(model)
    torch.testing.assert_close(model.get_input_embeddings().weight[ids], before[ids] * factor, rtol=1e-6, atol=0)


def test_optimizer_has_moments_for_used_rows_only(monkeypatch):
    model, sizes = model_of("bert"), set()
    step = torch.optim.AdamW.step

    def note(self, *args, **kwargs):
        done = step(self, *args, **kwargs)
        sizes.update(len(moments["exp_avg"]) for moments in self.state.values() if moments["exp_avg"].ndim > 1)
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    train(model, recipe())
    n_used = len(np.union1d(rows("bert").input_ids, [0]))  # padding's row is kept
    assert n_used in sizes and model.config.vocab_size not in sizes


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_selection_sees_the_whole_vocabulary(architecture):
    """Its rows have pieces that training lacks, here those of another script."""
    model, other = model_of(architecture), rows(architecture, "ar")
    assert np.isin(other.input_ids, unused(model)).any()
    logits = []

    def select() -> float:
        logits.append(predict_logits(model, other, CPU))
        return 0.5

    train(model, recipe(evaluate_every_steps=6), select)
    assert len(logits) == 2
    np.testing.assert_array_equal(logits[-1], predict_logits(model, other, CPU))


def test_failed_training_restores_the_whole_vocabulary():
    model = model_of("bert")
    embedding = model.get_input_embeddings()
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    with pytest.raises(TrainingError):
        train(model, recipe())
    assert model.get_input_embeddings() is embedding


def test_training_resumes_from_weights_and_moments_alone():
    """To the bit: six steps in a row equal three, a save, and three more by another model and optimizer."""

    def steps(model, vocabulary, optimizer, n_steps: int) -> None:
        for step in range(n_steps):
            ids = torch.from_numpy(vocabulary.pairs.input_ids[step : step + 9])[None]
            model(input_ids=ids).logits.square().sum().backward()
            optimizer.step()
            vocabulary.decay_unused(1e-2, 0.1)
            optimizer.zero_grad()

    def start(weights: dict, moments: dict | None):
        model = model_of("bert", **without_dropout("bert"))
        model.load_state_dict(weights)
        vocabulary = CompactVocabulary(model, rows("bert")).__enter__()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1, fused=True)
        if moments:
            optimizer.load_state_dict(moments)
        return model, vocabulary, optimizer

    def save(model, vocabulary, optimizer) -> tuple[dict, dict]:
        with vocabulary.expanded():
            weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return weights, copy.deepcopy(optimizer.state_dict())  # as a file would be

    at_once = start(model_of("bert").state_dict(), None)
    steps(*at_once, 3)
    halfway = save(*at_once)
    resumed = start(*halfway)
    steps(*at_once, 3)
    steps(*resumed, 3)
    expected, got = save(*at_once)[0], save(*resumed)[0]
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert not torch.equal(halfway[0]["classifier.weight"], expected["classifier.weight"])
