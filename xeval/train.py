"""English fine-tuning by a recipe, and the choice of the checkpoint.

The loop is the recipe's and nothing else: unchanged random batches, AdamW, linear warm-up and decay, clipped
gradients. The choice of the checkpoint sees only what `selection_accuracy` measures, which the pipeline binds to the
training language's selection split.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from xeval.batches import collate, random_batches
from xeval.devices import Compute
from xeval.errors import TrainingError
from xeval.pair_classification import EncodedPairs
from xeval.schema import Recipe

LOSS_CURVE_POINTS = 100


@dataclass
class Outcome:
    """What happened while training; the chosen weights are in the model when `fine_tune` returns."""

    n_steps: int
    n_pairs: int = 0  # seen while training, each as often as it was
    loss_curve: list[tuple[int, float]] = field(default_factory=list)
    selection_curve: list[tuple[int, float]] = field(default_factory=list)
    chosen_step: int = 0


def count_steps(recipe: Recipe, n_pairs: int) -> int:
    """Optimizer steps that the recipe asks for on `n_pairs` training pairs."""
    ends = [recipe.max_steps] if recipe.max_steps is not None else []
    if recipe.epochs is not None:
        ends.append(math.ceil(recipe.epochs * math.ceil(n_pairs / recipe.batch_size)))
    return min(ends)


def fine_tune(
    model: PreTrainedModel,
    pairs: EncodedPairs,
    recipe: Recipe,
    learning_rate: float,
    seed: int,
    compute: Compute,
    selection_accuracy: Callable[[], float],
    on_step: Callable[[float], None] = lambda loss: None,
) -> Outcome:
    """Fine-tune `model` in place and leave the chosen checkpoint's weights in it.

    Raises TrainingError when the loss is no finite number.
    """
    torch.manual_seed(seed)
    model.train()
    outcome = Outcome(count_steps(recipe, len(pairs)))
    optimizer, schedule = _optimizer(model, recipe, learning_rate, outcome.n_steps)
    choice = _Choice(model, keep_best=recipe.selection == "english-dev")
    steps_per_epoch = math.ceil(len(pairs) / recipe.batch_size)
    select_every = recipe.evaluate_every_steps or steps_per_epoch
    point_every = max(1, outcome.n_steps // LOSS_CURVE_POINTS)
    losses: list[float] = []
    steps = _steps(model, pairs, recipe, seed, compute, optimizer, schedule, outcome.n_steps)
    for step, (loss, n_pairs) in enumerate(steps, start=1):
        if not math.isfinite(loss):
            raise TrainingError(f"the loss became {loss} at step {step}; lower the learning rate or use another seed")
        losses.append(loss)
        outcome.n_pairs += n_pairs
        on_step(loss)
        if step % point_every == 0 or step == outcome.n_steps:
            outcome.loss_curve.append((step, sum(losses) / len(losses)))
            losses.clear()
        if step % select_every == 0 or step == outcome.n_steps:
            outcome.selection_curve.append((step, selection_accuracy()))
            choice.see(step, outcome.selection_curve[-1][1])
            if recipe.patience and choice.stale >= recipe.patience:
                outcome.n_steps = step
                break
    outcome.chosen_step = choice.settle()
    return outcome


def _steps(
    model: PreTrainedModel,
    pairs: EncodedPairs,
    recipe: Recipe,
    seed: int,
    compute: Compute,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    n_steps: int,
) -> Iterator[tuple[float, int]]:
    """Take one optimizer step after the other, yielding its loss and number of pairs."""
    takes_type_ids = getattr(model.config, "type_vocab_size", 0) > 1
    labels = torch.from_numpy(pairs.labels)
    step, epoch = 0, 0
    while step < n_steps:
        for rows in random_batches(len(pairs), recipe.batch_size, seed, epoch):
            if step == n_steps:
                break
            inputs = collate(pairs, rows, model.config.pad_token_id or 0, takes_type_ids, compute.device)
            with compute.autocast():
                logits = model(**inputs).logits  # (B, C)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[rows].to(compute.device))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            yield loss.item(), len(rows)
        epoch += 1


def _optimizer(
    model: PreTrainedModel, recipe: Recipe, learning_rate: float, n_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW without decay on biases and layer norms; linear warm-up, then linear decay to zero."""
    decayed = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim > 1]
    plain = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)
    n_warmup = math.ceil(recipe.warmup_share * n_steps)

    def factor(step: int) -> float:
        if step < n_warmup:
            return step / max(1, n_warmup)
        return max(0.0, (n_steps - step) / max(1, n_steps - n_warmup))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class _Choice:
    """Remembers the weights of the best selection accuracy seen; of two equal ones the earlier."""

    def __init__(self, model: PreTrainedModel, keep_best: bool) -> None:
        self._model, self._keep_best = model, keep_best
        self._weights: dict[str, torch.Tensor] | None = None
        self._best_accuracy, self._best_step, self._last_step = -1.0, 0, 0
        self.stale = 0  # selections since the best one

    def see(self, step: int, accuracy: float) -> None:
        self._last_step = step
        if accuracy <= self._best_accuracy:
            self.stale += 1
            return
        self._best_accuracy, self._best_step, self.stale = accuracy, step, 0
        if self._keep_best:
            self._weights = {name: tensor.detach().cpu().clone() for name, tensor in self._model.state_dict().items()}

    def settle(self) -> int:
        """Put the chosen weights into the model and return their step."""
        if not self._keep_best:
            return self._last_step
        if self._best_step != self._last_step and self._weights is not None:
            self._model.load_state_dict(self._weights)
        return self._best_step
