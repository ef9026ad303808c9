"""Fine-tuning by a recipe, and the choice of the checkpoint.

The loop does what the recipe says and nothing else: unchanged random batches, AdamW, linear warm-up and decay, clipped
gradients. The choice of the checkpoint sees only what `selection_score` measures, which the pipeline binds to the
training language's selection split.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from xeval.definitions.recipe import Recipe
from xeval.engine.batches import random_batches
from xeval.engine.devices import Compute
from xeval.engine.fast_path.compact_vocabulary import CompactVocabulary
from xeval.engine.fast_path.forward import can_pack, layers_of_one_input, packed
from xeval.engine.fast_path.half_products import HalfWeights, half_products
from xeval.engine.random_numbers import drawn_from
from xeval.engine.ranks import ALONE, Ranks
from xeval.engine.snapshots import Snapshot, Snapshots
from xeval.engine.steps import Steps
from xeval.engine.training_progress import Choice, Outcome, Progress
from xeval.kinds.encoded import Encoded
from xeval.kinds.kind import Kind
from xeval.support.errors import TrainingError, XevalError
from xeval.support.termination import Terminated, postponed

LOSS_CURVE_POINTS = 100


def count_steps(recipe: Recipe, n_pairs: int) -> int:
    """Return how many optimizer steps the recipe asks for on `n_pairs` training pairs."""
    ends = [recipe.max_steps] if recipe.max_steps is not None else []
    if recipe.epochs is not None:
        ends.append(math.ceil(recipe.epochs * math.ceil(n_pairs / recipe.batch_size)))
    return min(ends)


def fine_tune(  # noqa: PLR0913  what to train, how, and callbacks
    kind: Kind,
    model: PreTrainedModel,
    pairs: Encoded,
    recipe: Recipe,
    learning_rate: float,
    seed: int,
    compute: Compute,
    selection_score: Callable[[], float] | None,
    on_step: Callable[[float, float], None] = lambda loss, learning_rate: None,
    snapshots: Snapshots | None = None,
    on_resume: Callable[[int], None] = lambda step: None,
    at_selection: Callable[[int], Iterable[object]] = lambda step: (),
    say: Callable[[str], None] = lambda line: None,
    selection_loss: Callable[[], float] | None = None,
    ranks: Ranks = ALONE,
) -> Outcome:
    """Fine-tune `model` in place and leave the chosen checkpoint's weights in it.

    Parameters without gradients stay as they are. If the states of `pairs` are remembered, only the head is computed.
    `on_step` receives the loss and the learning rate of each step.

    Without `selection_score`, for tasks that have no rows to select on, the last checkpoint is chosen. If the recipe
    selects by loss, `selection_loss` is called after each measurement of `selection_score`. After each measurement,
    `at_selection` receives the step, while `model` has its whole vocabulary. What it returns is iterated part by part,
    so that SIGTERM ends a long evaluation between two parts.

    With `snapshots`, training resumes from the newest one, passes its step to `on_resume`, and saves new ones. On one
    thread of a processor, the weights equal those of an uninterrupted training bit for bit.

    Other `ranks`, if there are any, call this function with the same model, rows and recipe, and compute their shares
    of each batch. Only the first measures, reports and saves.

    Raise TrainingError if the loss is not a finite number or if not even one pair fits into memory. Raise Terminated on
    SIGTERM, after saving unless `at_selection` was running.
    """
    model.train()
    n_rows = len(pairs) // kind.sequences_together
    outcome = Outcome(count_steps(recipe, n_rows))
    choice = Choice(model, keep_best=recipe.selection != "last" and ranks.leads)
    selection_loss = _loss_to_select_by(recipe, selection_loss)
    select_every = recipe.evaluate_every_steps or math.ceil(n_rows / recipe.batch_size)
    point_every = max(1, outcome.n_steps // LOSS_CURVE_POINTS)
    keep_all = not can_pack(model) or not model.get_input_embeddings().weight.requires_grad
    with (
        drawn_from(seed),
        packed(model, kind.reads, pairs),
        compute.matmuls(),
        CompactVocabulary(model, pairs, keep_all) as vocabulary,
        _half_products(kind, model, compute, recipe) as half_weights,
        postponed() as asked,
    ):
        optimizer, schedule = _optimizer(model, recipe, learning_rate, outcome.n_steps)
        progress = Progress(model, vocabulary, optimizer, schedule, choice, outcome)
        if (snapshot := _newest(snapshots, ranks)) is not None:
            progress.restore(snapshot)
            on_resume(snapshot.step)
        steps = Steps(kind, progress, recipe, compute, half_weights, say, ranks)
        for rows in _batches(progress, recipe, seed, kind.sequences_together):
            ranks.draw_apart(seed, outcome.step)
            steps.take(rows)
            step, is_last = outcome.step, outcome.step == outcome.n_steps
            is_point, is_selection = step % point_every == 0 or is_last, step % select_every == 0 or is_last
            if steps.must_read or is_point or is_selection:
                _read_losses(steps, outcome, on_step)
            if is_point:
                outcome.add_loss_point()
            if is_selection:
                _select(progress, selection_score, selection_loss, at_selection, asked, ranks)
                if recipe.patience and choice.stale >= recipe.patience:
                    outcome.n_steps = step
            is_asked, is_due = ranks.most([asked(), snapshots is not None and snapshots.is_due()])
            if is_asked or is_due:
                _read_losses(steps, outcome, on_step)  # on all ranks, so that a NaN ends all of them
                _save(snapshots, progress)
            if is_asked:
                ranks.give()  # so that the others wait until rank 0 has saved
                raise Terminated
    outcome.chosen_step = choice.settle()
    return outcome


def _loss_to_select_by(recipe: Recipe, selection_loss: Callable[[], float] | None) -> Callable[[], float] | None:
    if recipe.selection != "english-dev-loss":
        return None
    if selection_loss is None:
        raise ValueError(f"recipe {recipe.name} selects by loss, but nothing measures it: give selection_loss")
    return selection_loss


def _half_products(
    kind: Kind, model: PreTrainedModel, compute: Compute, recipe: Recipe
) -> AbstractContextManager[HalfWeights | None]:
    """Use half products where they are faster: in bfloat16, if most weights are trained."""
    if compute.device.type in ("cpu", "cuda") and compute.dtype == torch.bfloat16 and recipe.adaptation == "full":
        return half_products(model, layers_of_one_input(model, kind.reads))
    return nullcontext()


def _read_losses(steps: Steps, outcome: Outcome, on_step: Callable[[float, float], None]) -> None:
    """Record the losses of the steps so far. Raise TrainingError for the first that is not a finite number."""
    taken = steps.taken()
    for step, (loss, learning_rate) in enumerate(taken, outcome.step - len(taken) + 1):
        if not math.isfinite(loss):
            raise TrainingError(f"the loss became {loss} at step {step}; lower the learning rate or use another seed")
        outcome.losses.append(loss)
        on_step(loss, learning_rate)


def _save(snapshots: Snapshots | None, progress: Progress) -> None:
    if snapshots is not None:
        snapshots.save(progress.snapshot())


def _newest(snapshots: Snapshots | None, ranks: Ranks) -> Snapshot | None:
    """Return the snapshot to resume from.

    Only rank 0 gets the best weights; other ranks seed their own random numbers.
    """
    snapshot = snapshots.newest() if snapshots is not None else None
    if ranks.size == 1 or ranks.give(snapshot is None):
        return snapshot
    step, values = ranks.give((snapshot.step, snapshot.values) if snapshot is not None else None)
    tensors = snapshot.tensors if snapshot is not None else {}
    needed = {name: tensor for name, tensor in tensors.items() if not name.startswith("best.")}
    copies = ranks.give_tensors(needed)
    return snapshot or Snapshot(step, copies, values)


@dataclass(frozen=True)
class Measured:
    """What rank 0 has measured at a selection; the other ranks use the same figures."""

    score: float
    loss: float | None = None


def _select(
    progress: Progress,
    selection_score: Callable[[], float] | None,
    selection_loss: Callable[[], float] | None,
    at_selection: Callable[[int], Iterable[object]],
    asked: Callable[[], bool],
    ranks: Ranks,
) -> None:
    """Measure the selection score of the whole model as it is now, then let `at_selection` evaluate it."""
    if selection_score is None:
        progress.choice.take_last(progress.outcome.step)
        return
    try:
        with progress.vocabulary.expanded():
            measured = _measure(progress, selection_score, selection_loss)
            _evaluate_besides(progress.outcome, at_selection, asked)
    except (XevalError, Terminated):
        _tell(ranks, None)
        raise
    _tell(ranks, measured)


def _tell(ranks: Ranks, measured: Measured | None) -> None:
    """Tell the other ranks, which have computed their shares of predictions until now."""
    if ranks.leads:
        ranks.give(measured)


def _measure(
    progress: Progress, selection_score: Callable[[], float], selection_loss: Callable[[], float] | None
) -> Measured:
    outcome, score = progress.outcome, selection_score()
    outcome.selection_curve.append((outcome.step, score))
    if selection_loss is None:
        progress.choice.see(outcome.step, score)
        return Measured(score)
    loss = selection_loss()
    outcome.selection_losses.append((outcome.step, loss))
    progress.choice.see(outcome.step, -loss)
    return Measured(score, loss)


def _evaluate_besides(
    outcome: Outcome, at_selection: Callable[[int], Iterable[object]], asked: Callable[[], bool]
) -> None:
    started_s = time.monotonic()
    for _ in at_selection(outcome.step):
        if asked():  # do not save: a training run resumed from here would skip the rest of the evaluation
            raise Terminated
    outcome.aside_wall_s += time.monotonic() - started_s


def _batches(progress: Progress, recipe: Recipe, seed: int, together: int = 1) -> Iterator[np.ndarray]:
    """Yield the sequences of each batch, from the present step of `progress` to the last step.

    Each is (B,), or (B · `together`,) where that many sequences of a row must be in one batch.
    """
    outcome, n_pairs = progress.outcome, len(progress.vocabulary.pairs) // together
    epoch, n_done = divmod(outcome.step, math.ceil(n_pairs / recipe.batch_size))
    while outcome.step < outcome.n_steps:
        for rows in islice(random_batches(n_pairs, recipe.batch_size, seed, epoch), n_done, None):
            if outcome.step == outcome.n_steps:
                break
            yield (rows[:, None] * together + np.arange(together)).ravel()
        epoch, n_done = epoch + 1, 0


def _optimizer(
    model: PreTrainedModel, recipe: Recipe, learning_rate: float, n_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return AdamW, without decay on biases and layer norms, and its schedule: linear warm-up and decay to zero."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    # T5's and MPNet's biases of relative positions are tables.
    decayed = [parameter for name, parameter in trained if parameter.ndim > 1 and "bias" not in name]
    plain = [parameter for name, parameter in trained if parameter.ndim <= 1 or "bias" in name]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    is_cuda = decayed[0].is_cuda  # a CUDA graph may then record the optimizer's steps
    betas, epsilon = (recipe.adam_beta1, recipe.adam_beta2), recipe.adam_epsilon
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=epsilon, fused=True, capturable=is_cuda)
    return optimizer, get_linear_schedule_with_warmup(optimizer, recipe.count_warmup_steps(n_steps), n_steps)
