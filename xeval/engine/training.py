"""English fine-tuning by a recipe, and the choice of the checkpoint.

The loop is the recipe's and nothing else: unchanged random batches, AdamW, linear warm-up and decay, clipped
gradients. The choice of the checkpoint sees only what `selection_accuracy` measures, which the pipeline binds to the
training language's selection split.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.definitions.schema import Recipe
from xeval.engine.batches import random_batches
from xeval.engine.devices import Compute
from xeval.engine.fast_path.compact_vocabulary import CompactVocabulary
from xeval.engine.fast_path.forward import can_pack, logits_of, packed
from xeval.engine.snapshots import Checkpoints
from xeval.engine.training_progress import Choice, Outcome, Progress
from xeval.kinds.pairs import EncodedPairs
from xeval.support.errors import TrainingError
from xeval.support.termination import Terminated, postponed

LOSS_CURVE_POINTS = 100


def count_steps(recipe: Recipe, n_pairs: int) -> int:
    """Optimizer steps that the recipe asks for on `n_pairs` training pairs."""
    ends = [recipe.max_steps] if recipe.max_steps is not None else []
    if recipe.epochs is not None:
        ends.append(math.ceil(recipe.epochs * math.ceil(n_pairs / recipe.batch_size)))
    return min(ends)


def fine_tune(  # noqa: PLR0913  what is trained, how, and whom to tell
    model: PreTrainedModel,
    pairs: EncodedPairs,
    recipe: Recipe,
    learning_rate: float,
    seed: int,
    compute: Compute,
    selection_accuracy: Callable[[], float],
    on_step: Callable[[float], None] = lambda loss: None,
    checkpoints: Checkpoints | None = None,
    on_resume: Callable[[int], None] = lambda step: None,
    at_selection: Callable[[int], Iterable[object]] = lambda step: (),
) -> Outcome:
    """Fine-tune `model` in place and leave the chosen checkpoint's weights in it.

    After each measurement of `selection_accuracy`, `at_selection` is given the step, while `model` is whole. What it
    returns is gone through one by one, so that SIGTERM ends a long evaluation between two parts of it.
    With `checkpoints` it goes on from the newest of them, tells `on_resume` from which step, and keeps new ones: on one
    thread of a processor, the weights are the same to the bit as without the interruption.
    Raises TrainingError when the loss is no finite number or when not even one pair fits into memory, and Terminated
    on SIGTERM, after saving unless `at_selection` was going on.
    """
    torch.manual_seed(seed)
    model.train()
    outcome = Outcome(count_steps(recipe, len(pairs)))
    choice = Choice(model, keep_best=recipe.selection == "english-dev")
    select_every = recipe.evaluate_every_steps or math.ceil(len(pairs) / recipe.batch_size)
    point_every = max(1, outcome.n_steps // LOSS_CURVE_POINTS)
    keep_all = not can_pack(model)
    with (
        packed(model),
        compute.matmuls(),
        CompactVocabulary(model, pairs, keep_all) as vocabulary,
        postponed() as asked,
    ):
        optimizer, schedule = _optimizer(model, recipe, learning_rate, outcome.n_steps)
        progress = Progress(model, vocabulary, optimizer, schedule, choice, outcome)
        if checkpoints is not None and (found := checkpoints.newest()) is not None:
            progress.restore(found)
            on_resume(found.step)
        for loss in _steps(progress, recipe, seed, compute):
            step = outcome.step
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss became {loss} at step {step}; lower the learning rate or use another seed"
                )
            on_step(loss)
            if step % point_every == 0 or step == outcome.n_steps:
                outcome.add_loss_point()
            if step % select_every == 0 or step == outcome.n_steps:
                _select(progress, selection_accuracy, at_selection, asked)
                if recipe.patience and choice.stale >= recipe.patience:
                    outcome.n_steps = step
                    break
            if checkpoints is not None and (checkpoints.is_due() or asked()):
                checkpoints.save(progress.snapshot())
            if asked():
                raise Terminated
    outcome.chosen_step = choice.settle()
    return outcome


def _select(
    progress: Progress,
    selection_accuracy: Callable[[], float],
    at_selection: Callable[[int], Iterable[object]],
    asked: Callable[[], bool],
) -> None:
    """Measure the selection accuracy of the whole model as it is now, and let this checkpoint be evaluated besides."""
    outcome = progress.outcome
    with progress.vocabulary.expanded():
        accuracy = selection_accuracy()
        outcome.selection_curve.append((outcome.step, accuracy))
        progress.choice.see(outcome.step, accuracy)
        started_s = time.monotonic()
        for _ in at_selection(outcome.step):
            if asked():  # nothing is saved, since a training that goes on from here would leave the rest out
                raise Terminated
        outcome.aside_wall_s += time.monotonic() - started_s


def _steps(progress: Progress, recipe: Recipe, seed: int, compute: Compute) -> Iterator[float]:
    """Take one optimizer step after the other from where `progress` is, yielding the mean loss of its pairs."""
    outcome, optimizer, schedule = progress.outcome, progress.optimizer, progress.schedule
    n_pairs = len(progress.vocabulary.pairs)
    epoch, n_done = divmod(outcome.step, math.ceil(n_pairs / recipe.batch_size))
    while outcome.step < outcome.n_steps:
        for rows in islice(random_batches(n_pairs, recipe.batch_size, seed, epoch), n_done, None):
            if outcome.step == outcome.n_steps:
                break
            loss = _gradients(progress, rows, compute)
            torch.nn.utils.clip_grad_norm_(progress.model.parameters(), recipe.max_grad_norm)
            optimizer.step()
            progress.vocabulary.decay_unused(float(schedule.get_last_lr()[0]), recipe.weight_decay)
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            outcome.count(loss, len(rows))
            yield loss
        epoch, n_done = epoch + 1, 0


def _gradients(progress: Progress, rows: np.ndarray, compute: Compute) -> float:
    """Put the gradients of the mean loss over `rows` into the model and return that loss.

    A batch that does not fit into memory is computed in twice as many parts as before, and so are those after it; each
    part counts by its number of pairs, so the effective batch is the same.
    """
    while True:
        try:
            parts = np.array_split(rows, min(progress.outcome.n_parts, len(rows)))
            return sum(_part_of_gradients(progress, part, len(part) / len(rows), compute) for part in parts)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if progress.outcome.n_parts >= len(rows):
                raise TrainingError(
                    f"out of memory at step {progress.outcome.step + 1} with a single pair; lower max_length or use a"
                    " smaller model"
                ) from error
        progress.optimizer.zero_grad(set_to_none=True)
        progress.outcome.n_parts *= 2
        if compute.device.type == "cuda":
            torch.cuda.empty_cache()


def _part_of_gradients(progress: Progress, rows: np.ndarray, share: float, compute: Compute) -> float:
    pairs = progress.vocabulary.pairs
    labels = torch.from_numpy(pairs.labels[rows]).to(compute.device)
    with compute.autocast():
        logits = logits_of(progress.model, pairs, rows, compute)  # (B, C)
    loss = torch.nn.functional.cross_entropy(logits.float(), labels) * share
    loss.backward()
    return loss.item()


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a type for it on accelerators; its allocator for processors only has these words."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


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
