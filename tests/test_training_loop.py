"""The training loop matches its definition and the plain loop of the tutorials, step for step."""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import (
    ARCHITECTURES,
    KIND,
    LABELS,
    tiny_tokenizer,
    without_dropout,
)
from tests.helpers.encoder_types import TYPES, tiny_checkpoint
from tests.helpers.tiny_training import (
    CPU,
    MAX_LENGTH,
    PAIRS,
    into,
    model_of,
    plain_losses,
    recipe,
    same,
    train,
    weights,
)
from xeval.data.model_files import find_checkpoint
from xeval.definitions.recipe import Recipe
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.loading import load_pretrained, load_tokenizer
from xeval.engine.training import fine_tune
from xeval.kinds.rows import Rows

# ── the loop against its definition ──


def slow_fine_tune(model, pairs: Rows, recipe: Recipe, seed: int, n_steps: int) -> list[float]:
    """Fine-tuning by its definition: every number written out, every batch padded to the full length.

    AdamW (Loshchilov and Hutter 2019, Algorithm 2).
    """
    beta1, beta2, epsilon = recipe.adam_beta1, recipe.adam_beta2, recipe.adam_epsilon
    tokenizer, step, losses = tiny_tokenizer(model.config.model_type), 0, []
    first, second = ({name: torch.zeros_like(p) for name, p in model.named_parameters()} for _ in range(2))
    n_warmup = recipe.warmup_steps or math.ceil(recipe.warmup_share * n_steps)
    model.train()
    for epoch in range(1000):
        order = np.random.default_rng((seed, epoch)).permutation(len(pairs)).tolist()
        while order and step < n_steps:
            rows, order = order[: recipe.batch_size], order[recipe.batch_size :]
            inputs = tokenizer(
                [pairs.texts["premise"][row] for row in rows],
                [pairs.texts["hypothesis"][row] for row in rows],
                truncation=True,
                max_length=recipe.max_length,
                padding="max_length",
                return_tensors="pt",
            )
            log_shares = torch.log_softmax(model(**inputs).logits, dim=-1)
            loss = -sum(log_shares[place, pairs.gold[row]] for place, row in enumerate(rows)) / len(rows)
            names, parameters = zip(*model.named_parameters(), strict=True)
            gradients = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
            norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))
            shrink = min(1.0, recipe.max_grad_norm / norm)
            rise, fall = step / max(1, n_warmup), (n_steps - step) / max(1, n_steps - n_warmup)
            rate = recipe.learning_rate * (rise if step < n_warmup else fall)
            step += 1
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    gradient = gradients[name] * shrink
                    exempt = name.endswith(".bias") or "layernorm" in name.lower().replace("_", "")
                    parameter *= 1 - rate * (0.0 if exempt else recipe.weight_decay)
                    first[name] = beta1 * first[name] + (1 - beta1) * gradient
                    second[name] = beta2 * second[name] + (1 - beta2) * gradient**2
                    mean, spread = first[name] / (1 - beta1**step), second[name] / (1 - beta2**step)
                    parameter -= rate * mean / (spread.sqrt() + epsilon)
            losses.append(float(loss.detach()))
        if step == n_steps:
            return losses
    raise AssertionError("too many epochs")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"warmup_share": 0.4, "weight_decay": 0.1},
        {"max_grad_norm": 0.05, "epochs": 1.4},
        {"max_steps": 4},
        {"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-5, "warmup_steps": 2},
        {"max_steps": 4, "warmup_steps": 4},
    ],
    ids=[
        "plain",
        "warm-up and decay",
        "hard clipping, part of an epoch",
        "max_steps",
        "Adam's own numbers",
        "warm-up only",
    ],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_matches_its_definition(architecture, values):
    """In float64: Adam divides a gradient by its own size, which would blow up the rounding noise of float32."""
    chosen = recipe(**values)
    fast, slow = (model_of(architecture, **without_dropout(architecture)).double() for _ in range(2))
    losses: list[float] = []
    outcome = train(fast, chosen, seed=7, on_step=into(losses))
    expected = slow_fine_tune(slow, PAIRS, chosen, seed=7, n_steps=outcome.n_steps)
    assert outcome.n_steps > 3
    np.testing.assert_allclose(losses, expected, atol=1e-6)
    for name, parameter in slow.named_parameters():
        np.testing.assert_allclose(fast.state_dict()[name], parameter.detach(), rtol=0, atol=1e-6, err_msg=name)


def test_training_changes_every_weight():
    model = model_of()
    before = weights(model)
    train(model, recipe())
    still = [name for name in before if torch.equal(before[name], model.state_dict()[name])]
    assert [name for name in still if "position_ids" not in name] == []


def test_a_tiny_encoder_learns_rows_by_heart():
    model, losses = model_of(**without_dropout("bert")), []
    train(model, recipe(epochs=60.0, learning_rate=1e-2), on_step=into(losses))
    assert np.mean(losses[-3:]) < 0.2 < math.log(len(LABELS)) < np.mean(losses[:3]) + 0.5


# ── the loop against the plain one ──


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_float32_losses_match_the_plain_loop(architecture):
    chosen = recipe(max_steps=50, learning_rate=1e-4)
    losses: list[float] = []
    model = model_of(architecture, **without_dropout(architecture))
    train(model, chosen, seed=2, on_step=into(losses))
    expected = plain_losses(model_of(architecture, **without_dropout(architecture)), chosen, seed=2, n_steps=50)
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-4)


def test_parallel_trainings_match_sequential_ones():
    """torch's random state belongs to the process, and dropout draws from it in each step."""
    alone, at_once = ({seed: model_of() for seed in (1, 2)} for _ in range(2))
    chosen, both_begin = recipe(max_steps=12), Barrier(2)
    for seed, model in alone.items():
        train(model, chosen, seed)

    def train_at_once(seed: int) -> None:
        both_begin.wait()
        train(at_once[seed], chosen, seed)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(train_at_once, at_once))
    assert not same(weights(alone[1]), weights(alone[2]))
    assert all(same(weights(alone[seed]), weights(at_once[seed])) for seed in alone)


@pytest.mark.parametrize("model_type", sorted(TYPES))
def test_biases_and_layer_norms_have_no_weight_decay(tmp_path, monkeypatch, model_type):
    checkpoint = find_checkpoint(str(tiny_checkpoint(tmp_path, model_type)))
    model = load_pretrained(checkpoint, KIND, seed=3)
    decay_of: dict[str, float] = {}
    step = torch.optim.AdamW.step

    def noting(self, *args, **kwargs):
        names = {parameter: name for name, parameter in model.named_parameters()}
        for group in self.param_groups:
            decay_of.update({names[parameter]: group["weight_decay"] for parameter in group["params"]})
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", noting)
    pairs = encode(KIND, load_tokenizer(checkpoint, MAX_LENGTH), PAIRS, MAX_LENGTH)
    fine_tune(KIND, model, pairs, recipe(max_steps=1, weight_decay=0.1), 1e-3, 0, CPU, None)
    expected = {name: 0.0 if re.search("bias|norm", name.lower()) else 0.1 for name, _ in model.named_parameters()}
    assert decay_of == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_clipped_gradients_have_the_norm_that_the_recipe_allows(dtype):
    """With a large epsilon, AdamW's first update is the gradient times the learning rate."""
    chosen = recipe(
        max_steps=1, learning_rate=1.0, warmup_share=0.0, weight_decay=0.0, adam_epsilon=1.0, max_grad_norm=1e-3
    )
    model = model_of(**without_dropout("bert"))
    before = weights(model)
    pairs = encode(KIND, tiny_tokenizer("bert"), PAIRS, MAX_LENGTH)
    compute = Compute(torch.device("cpu"), dtype)
    fine_tune(KIND, model, pairs, chosen, chosen.learning_rate, 0, compute, lambda: 0.5)
    updates = [model.state_dict()[name] - weight for name, weight in before.items()]
    norm = math.sqrt(sum(float(update.double().square().sum()) for update in updates))
    assert norm == pytest.approx(1e-3, rel=0.01)
