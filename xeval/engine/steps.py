"""Optimizer steps: gradients of a batch, clipping, AdamW. On a GPU, steps are queued and replayed as CUDA graphs.

The host is the bottleneck there: launching the kernels of a step takes it longer than the GPU needs to run them. A
graph (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs) launches all of them at once, and losses stay
on the device until they are asked for.
"""

import gc
from collections.abc import Callable

import numpy as np
import torch
from transformers import PreTrainedModel

from xeval.definitions.recipe import Recipe
from xeval.engine.devices import Compute, is_out_of_memory
from xeval.engine.fast_path.forward import can_pack, logits_in, logits_of
from xeval.engine.fast_path.half_products import HalfWeights
from xeval.engine.fast_path.resident import ResidentPairs
from xeval.engine.ranks import ALONE, Ranks
from xeval.engine.remembered import Remembered
from xeval.engine.training_progress import Progress
from xeval.kinds.kind import Kind
from xeval.support.errors import TrainingError
from xeval.support.text import one_line

QUEUED_STEPS = 50  # maximum number of steps before their losses are read
MOST_GRAPHS = 40
_CLIP_EPSILON = 1e-6  # as in torch.nn.utils.clip_grad_norm_


class Steps:
    """Takes optimizer steps on `progress`."""

    def __init__(
        self,
        kind: Kind,
        progress: Progress,
        recipe: Recipe,
        compute: Compute,
        half_weights: HalfWeights | None = None,
        say: Callable[[str], None] = lambda line: None,
        ranks: Ranks = ALONE,
    ) -> None:
        self._kind, self._progress, self._recipe, self._compute, self._say = kind, progress, recipe, compute, say
        self._half_weights, self._ranks = half_weights, ranks
        self._taken: list[tuple[torch.Tensor, float]] = []  # loss and learning rate of each step not yet read
        self._parameters = list(progress.model.parameters())
        if half_weights is not None:
            half_weights.refresh()  # the weights may have been restored from a snapshot
        self._graphs: _Graphs | None = None
        is_remembered = isinstance(progress.vocabulary.pairs, Remembered)
        if compute.device.type != "cuda" or not can_pack(progress.model) or is_remembered:
            return
        if ranks.size > 1:
            say("several ranks train without CUDA graphs, which compute whole batches only")
        else:
            batch_size = recipe.batch_size * kind.sequences_together
            self._graphs = _Graphs(kind, progress, batch_size, compute)

    def take(self, rows: np.ndarray) -> None:
        """Take one step on `rows`. Its loss can be read with `taken`."""
        progress = self._progress
        loss = self._replay(rows)
        if loss is None:
            loss = self._gradients(rows)
            self._update_within_memory()
        progress.optimizer.zero_grad(set_to_none=True)
        learning_rate = float(progress.schedule.get_last_lr()[0])
        progress.vocabulary.decay_unused(learning_rate, self._recipe.weight_decay)
        progress.schedule.step()
        progress.outcome.count_step(len(rows) // self._kind.sequences_together)
        self._taken.append((loss, learning_rate))

    @property
    def must_read(self) -> bool:
        """Whether `taken` must be called before the next step: on a processor, after each step."""
        return len(self._taken) >= (QUEUED_STEPS if self._compute.device.type == "cuda" else 1)

    def taken(self) -> list[tuple[float, float]]:
        """Return the mean loss and the learning rate of each step since the last call."""
        if not self._taken:
            return []
        losses, learning_rates = zip(*self._taken, strict=True)
        self._taken.clear()
        return list(zip(torch.stack(losses).tolist(), learning_rates, strict=True))

    def update(self) -> None:
        """Clip the gradients, update the weights, and refresh the bfloat16 copies of the weights."""
        optimizer = self._progress.optimizer
        if self._compute.device.type == "cuda" or self._compute.dtype == torch.bfloat16:
            # Fused AdamW can divide gradients as it reads them, which GradScaler uses: clipping needs no extra pass.
            gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
            scale = ((_norm(gradients) + _CLIP_EPSILON) / self._recipe.max_grad_norm).clamp(min=1.0)
            setattr(optimizer, "grad_scale", scale)  # noqa: B010 - not in the optimizer's type
        else:  # the weights of float32 stay those of earlier versions, bit for bit
            torch.nn.utils.clip_grad_norm_(self._parameters, self._recipe.max_grad_norm)
        optimizer.step()
        if self._half_weights is not None:
            self._half_weights.refresh()

    def _update_within_memory(self) -> None:
        """Call `update`. Raise TrainingError if the optimizer's state does not fit into memory.

        Smaller batches would not help then.
        """
        try:
            self.update()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or self._ranks.size > 1:  # the others would wait for a rank that goes on
                raise
            raise TrainingError(
                f"out of memory at step {self._progress.outcome.step + 1}, for the optimizer's two moments of each"
                " trained weight; use a smaller model, --adaptation lora or --device cpu"
            ) from error

    def _replay(self, rows: np.ndarray) -> torch.Tensor | None:
        """Take a step with a graph and return its loss, or None if the step must be taken without a graph."""
        if self._graphs is None:
            return None
        try:
            return self._graphs.step(rows, self.update)
        except RuntimeError as error:  # running out of memory is one
            self._say(f"training continues without CUDA graphs, more slowly: {one_line(error)[:200]}")
            self._graphs = None
            self._progress.optimizer.zero_grad(set_to_none=True)
            self._compute.free_memory()
            return None

    def _gradients(self, rows: np.ndarray) -> torch.Tensor:
        """Put the gradients of the mean loss over `rows` into the model and return that loss.

        If a batch does not fit into memory, it and all later ones are computed in twice as many parts as before. The
        sum of the parts' losses is divided by the total number of losses, so the effective batch stays the same. Of
        several ranks, all split their shares as soon as a part does not fit on one of them.
        """
        outcome, ranks, together = self._progress.outcome, self._ranks, self._kind.sequences_together
        most_rows = -(-len(rows) // (together * ranks.size))  # largest share of a rank
        own = self._share(rows).reshape(-1, together)  # a part must not divide these groups
        while True:
            reason: Exception | None = None
            try:
                n_parts = min(outcome.n_parts, len(own))
                parts = [part.ravel() for part in np.array_split(own, n_parts)] if n_parts else []
                if ranks.size == 1 and n_parts == 1:
                    return backward(self._kind, *self._outputs(rows))
                sums = self._in_parts(parts)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = error.with_traceback(None)  # the traceback's frames hold memory
            [is_too_large] = ranks.most([reason is not None])
            if not is_too_large:
                return self._mean(sums)
            if outcome.n_parts >= most_rows:
                raise TrainingError(
                    f"out of memory at step {outcome.step + 1} with a single pair; lower max_length or use a"
                    " smaller model"
                ) from reason
            self._progress.optimizer.zero_grad(set_to_none=True)
            self._graphs = None  # graphs hold memory and compute whole batches only
            outcome.n_parts *= 2
            self._compute.free_memory()

    def _share(self, rows: np.ndarray) -> np.ndarray:
        """Return the sequences of a batch that this rank computes. All sequences of a row go to one rank."""
        if self._ranks.size == 1:
            return rows
        of_rows = rows.reshape(-1, self._kind.sequences_together)  # (B, sequences of a row)
        lengths = self._progress.vocabulary.pairs.lengths[of_rows].sum(axis=1)
        share: np.ndarray = of_rows[self._ranks.share(lengths)].ravel()
        return share

    def _in_parts(self, parts: list[np.ndarray]) -> torch.Tensor:
        """Put the gradients of the summed loss into the model; return (2,) float32: the sum, and the number of
        losses."""
        total, n = torch.zeros((), device=self._compute.device), torch.zeros((), device=self._compute.device)
        for rows in parts:
            outputs, targets = self._outputs(rows)
            loss, n_of_part = self._kind.loss(outputs.float(), targets)
            loss.backward()
            total, n = total + loss.detach(), n + n_of_part
        return torch.stack([total, n])

    def _mean(self, sums: torch.Tensor) -> torch.Tensor:
        """Turn the gradients into those of the mean loss over the whole batch and return it; `sums` are this rank's."""
        if self._ranks.size > 1:
            trained = [parameter for parameter in self._parameters if parameter.requires_grad]
            # A rank without rows has no gradients. The optimizer skips parameters that no rank has a gradient for.
            are_there = self._ranks.most([parameter.grad is not None for parameter in trained])
            trained = [parameter for parameter, is_there in zip(trained, are_there, strict=True) if is_there]
            for parameter in trained:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self._ranks.add_up([sums, *(parameter.grad for parameter in trained if parameter.grad is not None)])
        total, n = sums[0], sums[1]
        torch._foreach_div_([parameter.grad for parameter in self._parameters if parameter.grad is not None], n)
        return total / n

    def _outputs(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the model's outputs for `rows`, (B, C) or (tokens, C), and their targets."""
        encoded, compute = self._progress.vocabulary.pairs, self._compute
        targets = torch.from_numpy(encoded.targets_of(rows)).to(compute.device)
        with compute.autocast():
            return logits_of(self._progress.model, encoded, rows, compute), targets


def _norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Return the norm of all `gradients` together, (); on a processor, scalar products are twice as fast as norms."""
    if gradients[0].is_cuda:
        return torch.nn.utils.get_total_norm(gradients)
    flat = (gradient.flatten() for gradient in gradients)
    return torch.stack([torch.dot(each, each) for each in flat]).sum().sqrt()


class _Graphs:
    """Steps on a CUDA device as graphs, one for each batch size that occurs a second time."""

    def __init__(self, kind: Kind, progress: Progress, batch_size: int, compute: Compute) -> None:
        gc.collect()  # collecting a graph of an earlier training during a recording would spoil the recording
        self._kind, self._model, self._optimizer = kind, progress.model, progress.optimizer
        self._compute = compute
        self._pairs = ResidentPairs(progress.vocabulary.pairs, progress.model.config, batch_size, compute.device)
        self._rate = torch.zeros((), device=compute.device)  # the learning rate that recorded AdamW reads
        self._pinned = torch.zeros((QUEUED_STEPS, batch_size), dtype=torch.int64, pin_memory=True)
        self._n_replayed = 0
        self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream(compute.device)
        self._seen: set[tuple[int, int]] = set()
        self._recorded: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]] = {}

    def step(self, rows: np.ndarray, update: Callable[[], None]) -> torch.Tensor | None:
        """Take a step, with `update` applying the gradients, and return its loss.

        Take no step and return None for the first batch of its size, and for new sizes once there are MOST_GRAPHS
        graphs.
        """
        size = len(rows), self._pairs.n_tokens(rows)
        if size not in self._seen:
            self._seen.add(size)  # the caller now takes this step without a graph, which warms up its kernels
            return None
        if size not in self._recorded:
            if len(self._recorded) == MOST_GRAPHS:
                return None
            self._recorded[size] = self._record(*size, update)
        graph, graph_rows, loss = self._recorded[size]
        # Losses are read, and so all copies completed, before a slot is used again.
        slot = self._pinned[self._n_replayed % QUEUED_STEPS, : len(rows)]
        slot.numpy()[:] = rows
        graph_rows.copy_(slot, non_blocking=True)
        self._rate.fill_(float(self._optimizer.param_groups[0]["lr"]))
        graph.replay()
        self._n_replayed += 1
        return loss.clone()  # the next replay overwrites it

    def _record(
        self, n_rows: int, n_tokens: int, update: Callable[[], None]
    ) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]:
        """Return a graph, its input rows, (n_rows,) int64, and the loss that it computes."""
        device = self._compute.device
        graph, rows = torch.cuda.CUDAGraph(), torch.zeros(n_rows, dtype=torch.int64, device=device)
        # A stream of another GPU, which may be the current one, would record nothing. torch restores the current stream
        # only after a recording that succeeds.
        usual_stream = torch.cuda.stream(torch.cuda.current_stream(device))
        groups = self._optimizer.param_groups
        rates = [group["lr"] for group in groups]
        try:
            for group in groups:
                group["lr"] = self._rate
            with usual_stream, torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                loss = step_on_device(self._kind, self._model, self._pairs, rows, n_tokens, self._compute)
                update()
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate
        return graph, rows, loss


def step_on_device(
    kind: Kind,
    model: PreTrainedModel,
    pairs: ResidentPairs,
    rows: torch.Tensor,
    n_tokens: int,
    compute: Compute,
) -> torch.Tensor:
    """Add the gradients of the mean loss over `rows`, (B,) int64, to the model's gradients and return that loss."""
    with compute.autocast():
        inputs, sequences, targets = pairs.lay_out(rows, n_tokens)
        logits = logits_in(model(**inputs, sequences=sequences))
        logits = logits[0] if kind.reads == "every token" else logits[sequences.places]  # (n_tokens, C) or (B, C)
    return backward(kind, logits, targets)


def backward(kind: Kind, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Add the gradients of the mean loss to the model's gradients and return that loss."""
    total, n = kind.loss(outputs.float(), targets)
    loss = total / n
    loss.backward()
    return loss.detach()
