"""Fine-tuning does what the recipe says, step for step, and nothing else."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from checkpoints import (
    ARCHITECTURES,
    LABELS,
    labelled_pairs,
    make_pairs,
    tiny_model,
    tiny_tokenizer,
    without_dropout,
)

from xeval.devices import Compute
from xeval.encode import encode
from xeval.errors import TrainingError
from xeval.pair_classification import LabelledPairs
from xeval.schema import Recipe
from xeval.train import count_steps, fine_tune

CPU = Compute(torch.device("cpu"), torch.float32)
PAIRS = labelled_pairs("en", make_pairs("en", 22), "train")
MAX_LENGTH = 48


def recipe(**values) -> Recipe:
    """Three batches per epoch of the 22 pairs, the last of them with 6."""
    defaults = {
        "name": "r",
        "description": "d",
        "learning_rate": 1e-3,
        "batch_size": 8,
        "max_length": MAX_LENGTH,
    }
    ends = {} if "max_steps" in values else {"epochs": 2.0}
    return Recipe(**(defaults | ends | {"selection": "last"} | values))


def model_of(architecture: str = "bert", **config) -> torch.nn.Module:
    return tiny_model(architecture, len(tiny_tokenizer(architecture)), **config)


def train(model, chosen: Recipe, seed: int = 0, selection: Callable[[], float] = lambda: 0.5, **also):
    pairs = encode(tiny_tokenizer(model.config.model_type), PAIRS, MAX_LENGTH)
    return fine_tune(model, pairs, chosen, chosen.learning_rate, seed, CPU, selection, **also)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(some[name], others[name]) for name in some)


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


# ── how many steps, and at what rate ──


@pytest.mark.parametrize(
    ("values", "n_pairs", "steps"),
    [
        ({"epochs": 1.0}, 16, 2),
        ({"epochs": 1.0}, 17, 3),  # the last batch of an epoch may be smaller, and counts
        ({"epochs": 3.0}, 17, 9),
        ({"epochs": 0.5}, 32, 2),
        ({"epochs": 1.5}, 17, 5),  # 4.5, rounded up
        ({"epochs": 0.0}, 17, 0),
        ({"max_steps": 7}, 17, 7),
        ({"max_steps": 7, "epochs": 1.0}, 17, 3),  # the earlier of the two
        ({"max_steps": 7, "epochs": 9.0}, 17, 7),
        ({"epochs": 2.0, "batch_size": 32}, 392_702, 24_544),  # hf-2019 on all of MultiNLI
    ],
)
def test_the_number_of_steps_follows_from_epochs_batch_size_and_max_steps(values, n_pairs, steps):
    assert count_steps(recipe(**values), n_pairs) == steps


@pytest.mark.parametrize("values", [{"epochs": 1.0}, {"epochs": 1.4}, {"max_steps": 7}])
def test_training_takes_exactly_the_steps_that_were_announced(values):
    losses: list[float] = []
    outcome = train(model_of(), recipe(**values), on_step=losses.append)
    assert len(losses) == outcome.n_steps == count_steps(recipe(**values), len(PAIRS))


def test_no_epochs_leave_the_weights_alone():
    model = model_of()
    before = weights(model)
    outcome = train(model, recipe(epochs=0.0, selection="english-dev"))
    assert (outcome.n_steps, outcome.chosen_step, outcome.loss_curve) == (0, 0, [])
    assert same(weights(model), before)


def learning_rates(monkeypatch, **values) -> list[float]:
    """The learning rate of each step that was really taken."""
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def noting(self, *args, **kwargs):
        assert len({group["lr"] for group in self.param_groups}) == 1
        rates.append(float(self.param_groups[0]["lr"]))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", noting)
    train(model_of(), recipe(learning_rate=1e-3, **values))
    return rates


def test_without_warm_up_the_rate_falls_linearly_from_the_recipes_to_zero(monkeypatch):
    expected = [1e-3 * (5 - step) / 5 for step in range(5)]
    assert learning_rates(monkeypatch, max_steps=5) == pytest.approx(expected)


def test_warm_up_rises_linearly_over_its_share_of_the_steps(monkeypatch):
    rates = learning_rates(monkeypatch, max_steps=10, warmup_share=0.35)  # 3.5 steps, rounded up
    assert rates[:5] == pytest.approx([0, 1e-3 / 4, 2e-3 / 4, 3e-3 / 4, 1e-3])
    assert rates[5:] == pytest.approx([1e-3 * left / 6 for left in (5, 4, 3, 2, 1)])


# ── which checkpoint is kept ──


def train_with_scripted_selection(accuracies: list[float], **values):
    """Train with these as the selection's accuracies; gives model, outcome, and the weights at each selection."""
    model, seen = model_of(), []
    script = iter(accuracies)

    def select() -> float:
        seen.append(weights(model))
        return next(script)

    return model, train(model, recipe(**values), selection=select), seen


def test_english_dev_selection_puts_the_best_checkpoint_back():
    model, outcome, seen = train_with_scripted_selection([0.4, 0.7, 0.6], epochs=3.0, selection="english-dev")
    assert outcome.selection_curve == [(3, 0.4), (6, 0.7), (9, 0.6)]
    assert outcome.chosen_step == 6
    assert same(weights(model), seen[1]) and not same(seen[1], seen[2])


def test_of_two_equally_good_checkpoints_the_earlier_is_kept():
    model, outcome, seen = train_with_scripted_selection([0.4, 0.7, 0.7], epochs=3.0, selection="english-dev")
    assert outcome.chosen_step == 6
    assert same(weights(model), seen[1])


def test_the_best_checkpoint_is_kept_when_it_is_the_last():
    model, outcome, seen = train_with_scripted_selection([0.4, 0.5, 0.7], epochs=3.0, selection="english-dev")
    assert outcome.chosen_step == 9
    assert same(weights(model), seen[2])


def test_selecting_the_last_checkpoint_keeps_it_whatever_the_accuracies():
    model, outcome, seen = train_with_scripted_selection([0.9, 0.7, 0.1], epochs=3.0, selection="last")
    assert outcome.chosen_step == 9
    assert same(weights(model), seen[2])


def test_selection_takes_place_every_so_many_steps_and_at_the_end():
    _, outcome, _ = train_with_scripted_selection(
        [0.1, 0.2, 0.3], max_steps=5, evaluate_every_steps=2, selection="english-dev"
    )
    assert [step for step, _ in outcome.selection_curve] == [2, 4, 5]


def test_patience_ends_training_after_so_many_selections_without_improvement():
    accuracies = [0.4, 0.6, 0.5, 0.6]  # the fourth only equals the best: no improvement
    model, outcome, seen = train_with_scripted_selection(accuracies, epochs=9.0, patience=2, selection="english-dev")
    assert (outcome.n_steps, outcome.chosen_step) == (12, 6)
    assert same(weights(model), seen[1])


def test_the_loss_curve_is_the_mean_loss_since_the_point_before(monkeypatch):
    monkeypatch.setattr("xeval.train.LOSS_CURVE_POINTS", 3)
    losses: list[float] = []
    outcome = train(model_of(), recipe(max_steps=11), on_step=losses.append)
    parts = [(3, losses[0:3]), (6, losses[3:6]), (9, losses[6:9]), (11, losses[9:11])]
    assert outcome.loss_curve == [(step, pytest.approx(np.mean(part))) for step, part in parts]


# ── when it breaks down, and again from the same seed ──


def test_a_loss_that_is_no_number_is_reported_with_its_step():
    model = model_of()
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    with pytest.raises(TrainingError, match=r"^the loss became nan at step 1; [^\n]+$"):
        train(model, recipe())


def test_a_loss_that_blows_up_later_is_reported_with_the_step_at_which_it_did():
    model, losses = model_of(), []

    def ruin_after_four(loss: float) -> None:
        losses.append(loss)
        if len(losses) == 4:
            with torch.no_grad():
                model.classifier.weight.fill_(float("inf"))

    with pytest.raises(TrainingError, match="at step 5;"):
        train(model, recipe(), on_step=ruin_after_four)


def trained_weights(seed: int) -> dict[str, torch.Tensor]:
    model = model_of()
    assert model.config.hidden_dropout_prob > 0
    train(model, recipe(), seed=seed)
    return weights(model)


def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_seed_others():
    torch.manual_seed(99)
    first = trained_weights(seed=5)
    torch.rand(10)
    assert same(trained_weights(seed=5), first)
    assert not same(trained_weights(seed=6), first)


def test_selection_does_not_disturb_training():
    """Evaluating draws no random numbers and leaves dropout on."""
    model, often = model_of(), model_of()
    train(model, recipe(evaluate_every_steps=100))

    def evaluate() -> float:
        assert often.training
        return 0.5

    train(often, recipe(evaluate_every_steps=1), selection=evaluate)
    assert same(weights(model), weights(often))


# ── the loop against the plain one ──


def plain_losses(model, chosen: Recipe, seed: int, n_steps: int) -> list[float]:
    """The usual loop: padded batches, torch's AdamW over all parameters, clipping, linear decay."""
    tokenizer, losses = tiny_tokenizer(model.config.model_type), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=chosen.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (n_steps - step) / n_steps)
    model.train()
    for step in range(n_steps):
        epoch, start = divmod(step, math.ceil(len(PAIRS) / chosen.batch_size))
        order = np.random.default_rng((seed, epoch)).permutation(len(PAIRS)).tolist()
        rows = order[start * chosen.batch_size : (start + 1) * chosen.batch_size]
        texts = [[column[row] for row in rows] for column in (PAIRS.premises, PAIRS.hypotheses)]
        inputs = tokenizer(*texts, truncation=True, max_length=MAX_LENGTH, padding="max_length", return_tensors="pt")
        loss = model(**inputs, labels=torch.from_numpy(PAIRS.labels[rows])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), chosen.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fifty_steps_in_float32_have_the_losses_of_the_plain_loop(architecture):
    chosen = recipe(max_steps=50, learning_rate=1e-4)
    losses: list[float] = []
    train(model_of(architecture, **without_dropout(architecture)), chosen, seed=2, on_step=losses.append)
    expected = plain_losses(model_of(architecture, **without_dropout(architecture)), chosen, seed=2, n_steps=50)
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-4)
