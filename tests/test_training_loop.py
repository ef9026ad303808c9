"""The training loop gives what its definition, and the plain loop of the tutorials, give step for step."""

import math

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import (
    ARCHITECTURES,
    LABELS,
    tiny_tokenizer,
    without_dropout,
)
from tests.helpers.tiny_training import PAIRS, model_of, plain_losses, recipe, train, weights
from xeval.definitions.recipe import Recipe
from xeval.kinds.pairs import LabelledPairs

# ── the loop against its definition ──


def slow_fine_tune(model, pairs: LabelledPairs, recipe: Recipe, seed: int, n_steps: int) -> list[float]:
    """Fine-tuning by its definition: every number written out, every batch padded to the full length.

    AdamW (Loshchilov and Hutter 2019, Algorithm 2) with betas 0.9 and 0.999, epsilon 1e-8.
    """
    tokenizer, step, losses = tiny_tokenizer(model.config.model_type), 0, []
    first, second = ({name: torch.zeros_like(p) for name, p in model.named_parameters()} for _ in range(2))
    n_warmup = math.ceil(recipe.warmup_share * n_steps)
    model.train()
    for epoch in range(1000):
        order = np.random.default_rng((seed, epoch)).permutation(len(pairs)).tolist()
        while order and step < n_steps:
            rows, order = order[: recipe.batch_size], order[recipe.batch_size :]
            inputs = tokenizer(
                [pairs.premises[row] for row in rows],
                [pairs.hypotheses[row] for row in rows],
                truncation=True,
                max_length=recipe.max_length,
                padding="max_length",
                return_tensors="pt",
            )
            log_shares = torch.log_softmax(model(**inputs).logits, dim=-1)
            loss = -sum(log_shares[place, pairs.labels[row]] for place, row in enumerate(rows)) / len(rows)
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
                    first[name] = 0.9 * first[name] + 0.1 * gradient
                    second[name] = 0.999 * second[name] + 0.001 * gradient**2
                    mean, spread = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
                    parameter -= rate * mean / (spread.sqrt() + 1e-8)
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
    ],
    ids=["plain", "warm-up and decay", "hard clipping, part of an epoch", "max_steps"],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_is_adamw_with_linear_schedule_and_clipping_as_defined(architecture, values):
    """In float64: Adam divides a gradient by its own size, so in float32 rounding noise would be blown up."""
    chosen = recipe(**values)
    fast, slow = (model_of(architecture, **without_dropout(architecture)).double() for _ in range(2))
    losses: list[float] = []
    outcome = train(fast, chosen, seed=7, on_step=losses.append)
    expected = slow_fine_tune(slow, PAIRS, chosen, seed=7, n_steps=outcome.n_steps)
    assert outcome.n_steps > 3
    np.testing.assert_allclose(losses, expected, atol=1e-6)
    for name, parameter in slow.named_parameters():
        np.testing.assert_allclose(fast.state_dict()[name], parameter.detach(), rtol=0, atol=1e-6, err_msg=name)


def test_training_moves_every_weight_of_encoder_and_head():
    model = model_of()
    before = weights(model)
    train(model, recipe())
    still = [name for name in before if torch.equal(before[name], model.state_dict()[name])]
    assert [name for name in still if "position_ids" not in name] == []


def test_a_tiny_encoder_learns_rows_by_heart():
    model, losses = model_of(**without_dropout("bert")), []
    train(model, recipe(epochs=60.0, learning_rate=1e-2), on_step=losses.append)
    assert np.mean(losses[-3:]) < 0.2 < math.log(len(LABELS)) < np.mean(losses[:3]) + 0.5


# ── the loop against the plain one ──


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fifty_steps_in_float32_have_the_losses_of_the_plain_loop(architecture):
    chosen = recipe(max_steps=50, learning_rate=1e-4)
    losses: list[float] = []
    train(model_of(architecture, **without_dropout(architecture)), chosen, seed=2, on_step=losses.append)
    expected = plain_losses(model_of(architecture, **without_dropout(architecture)), chosen, seed=2, n_steps=50)
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-4)
