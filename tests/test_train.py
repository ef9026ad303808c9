"""Fine-tuning does what the recipe says, step for step, and nothing else."""

import numpy as np
import pytest
import torch

from tests.helpers.tiny_training import PAIRS, into, model_of, recipe, same, train, weights
from xeval.engine.training import count_steps
from xeval.support.errors import TrainingError

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
def test_number_of_steps_follows_the_recipe(values, n_pairs, steps):
    assert count_steps(recipe(**values), n_pairs) == steps


@pytest.mark.parametrize("values", [{"epochs": 1.0}, {"epochs": 1.4}, {"max_steps": 7}])
def test_training_takes_the_announced_number_of_steps(values):
    losses: list[float] = []
    outcome = train(model_of(), recipe(**values), on_step=into(losses))
    assert len(losses) == outcome.n_steps == count_steps(recipe(**values), len(PAIRS))


def test_zero_epochs_leave_the_weights_unchanged():
    model = model_of()
    before = weights(model)
    outcome = train(model, recipe(epochs=0.0, selection="english-dev"))
    assert (outcome.n_steps, outcome.chosen_step, outcome.loss_curve) == (0, 0, [])
    assert same(weights(model), before)


def learning_rates(monkeypatch, **values) -> list[float]:
    """The learning rate of each step actually taken."""
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def noting(self, *args, **kwargs):
        assert len({group["lr"] for group in self.param_groups}) == 1
        rates.append(float(self.param_groups[0]["lr"]))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", noting)
    train(model_of(), recipe(learning_rate=1e-3, **values))
    return rates


def test_rate_falls_linearly_to_zero_without_warm_up(monkeypatch):
    expected = [1e-3 * (5 - step) / 5 for step in range(5)]
    assert learning_rates(monkeypatch, max_steps=5) == pytest.approx(expected)


def test_warm_up_is_linear_over_a_share_of_steps(monkeypatch):
    rates = learning_rates(monkeypatch, max_steps=10, warmup_share=0.35)  # 3.5 steps, rounded up
    assert rates[:5] == pytest.approx([0, 1e-3 / 4, 2e-3 / 4, 3e-3 / 4, 1e-3])
    assert rates[5:] == pytest.approx([1e-3 * left / 6 for left in (5, 4, 3, 2, 1)])


def test_warm_up_is_linear_over_a_number_of_steps(monkeypatch):
    rates = learning_rates(monkeypatch, max_steps=10, warmup_steps=4)
    assert rates[:5] == pytest.approx([0, 1e-3 / 4, 2e-3 / 4, 3e-3 / 4, 1e-3])
    assert rates[5:] == pytest.approx([1e-3 * left / 6 for left in (5, 4, 3, 2, 1)])


def test_short_training_never_reaches_the_full_rate(monkeypatch):
    assert learning_rates(monkeypatch, max_steps=3, warmup_steps=5) == pytest.approx([0, 1e-3 / 5, 2e-3 / 5])


# ── which checkpoint is kept ──


def train_with_scripted_selection(accuracies: list[float], loss=None, **values):
    """Train with scripted selection accuracies, and selection losses from `loss()`.

    Returns the model, the outcome and the weights at each selection.
    """
    model, seen = model_of(), []
    script = iter(accuracies)

    def select() -> float:
        seen.append(weights(model))
        return next(script)

    return model, train(model, recipe(**values), selection=select, selection_loss=loss), seen


def test_english_dev_restores_the_best_checkpoint():
    model, outcome, seen = train_with_scripted_selection([0.4, 0.7, 0.6], epochs=3.0, selection="english-dev")
    assert outcome.selection_curve == [(3, 0.4), (6, 0.7), (9, 0.6)]
    assert outcome.chosen_step == 6
    assert same(weights(model), seen[1]) and not same(seen[1], seen[2])


def test_earlier_of_equally_good_checkpoints_is_kept():
    model, outcome, seen = train_with_scripted_selection([0.4, 0.7, 0.7], epochs=3.0, selection="english-dev")
    assert outcome.chosen_step == 6
    assert same(weights(model), seen[1])


def test_best_checkpoint_may_be_the_last():
    model, outcome, seen = train_with_scripted_selection([0.4, 0.5, 0.7], epochs=3.0, selection="english-dev")
    assert outcome.chosen_step == 9
    assert same(weights(model), seen[2])


def test_selection_last_ignores_accuracies():
    model, outcome, seen = train_with_scripted_selection([0.9, 0.7, 0.1], epochs=3.0, selection="last")
    assert outcome.chosen_step == 9
    assert same(weights(model), seen[2])


def test_selection_by_loss_keeps_the_smallest_loss():
    losses = iter([0.9, 0.5, 0.5, 0.7])
    values = {"epochs": 4.0, "selection": "english-dev-loss"}
    model, outcome, seen = train_with_scripted_selection([0.1, 0.2, 0.3, 0.9], losses.__next__, **values)
    assert outcome.selection_curve == [(3, 0.1), (6, 0.2), (9, 0.3), (12, 0.9)]
    assert outcome.selection_losses == [(3, 0.9), (6, 0.5), (9, 0.5), (12, 0.7)]
    assert outcome.chosen_step == 6 and same(weights(model), seen[1])


def test_patience_watches_loss_in_selection_by_loss():
    losses = iter([0.9, 0.5, 0.6, 0.5])
    values = {"epochs": 9.0, "selection": "english-dev-loss", "patience": 2}
    _, outcome, _ = train_with_scripted_selection([0.1, 0.2, 0.3, 0.4], losses.__next__, **values)
    assert (outcome.n_steps, outcome.chosen_step) == (12, 6)


def test_selection_by_loss_needs_a_loss_function():
    with pytest.raises(ValueError, match="selects by loss"):
        train_with_scripted_selection([0.1], selection="english-dev-loss")


def test_selection_runs_every_n_steps_and_at_the_end():
    _, outcome, _ = train_with_scripted_selection(
        [0.1, 0.2, 0.3], max_steps=5, evaluate_every_steps=2, selection="english-dev"
    )
    assert [step for step, _ in outcome.selection_curve] == [2, 4, 5]


def test_patience_ends_training_without_improvement():
    accuracies = [0.4, 0.6, 0.5, 0.6]  # the fourth only equals the best: no improvement
    model, outcome, seen = train_with_scripted_selection(accuracies, epochs=9.0, patience=2, selection="english-dev")
    assert (outcome.n_steps, outcome.chosen_step) == (12, 6)
    assert same(weights(model), seen[1])


def test_loss_curve_has_means_since_the_previous_point(monkeypatch):
    monkeypatch.setattr("xeval.engine.training.LOSS_CURVE_POINTS", 3)
    losses: list[float] = []
    outcome = train(model_of(), recipe(max_steps=11), on_step=into(losses))
    parts = [(3, losses[0:3]), (6, losses[3:6]), (9, losses[6:9]), (11, losses[9:11])]
    assert outcome.loss_curve == [(step, pytest.approx(np.mean(part))) for step, part in parts]


# ── breakdowns, and repeating a seed ──


def test_nan_loss_is_reported_with_its_step():
    model = model_of()
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    with pytest.raises(TrainingError, match=r"^the loss became nan at step 1; [^\n]+$"):
        train(model, recipe())


def test_later_breakdown_is_reported_with_its_step():
    model, losses = model_of(), []

    def ruin_after_four(loss: float, learning_rate: float) -> None:
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


def test_seed_determines_the_weights_to_the_bit():
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
