"""The processes that share one training run, each of them a rank, and their communication.

torchrun starts them and tells each through the environment which rank it is, out of how many, and where they meet
(https://docs.pytorch.org/docs/stable/elastic/run.html). Rank 0 is an ordinary process: it reads, decides and writes.
The others compute what it gives them (`xeval.engine.followers`), so nothing is read, reported or decided twice. A
process on its own is rank 0 of one: it sends nothing.

Decisions travel over gloo, as do gradients between processors; gradients between GPUs travel over nccl.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from xeval.support.errors import XevalError
from xeval.support.termination import RankLost
from xeval.support.text import one_line

_MEETING = timedelta(minutes=5)  # time for all ranks to start
_WORKING = timedelta(days=365)  # rank 0 may wait long for a folder; a rank's death is noticed immediately
_BUCKET = 2**24  # numbers to add up at a time


class Ranks:
    """This process as number `rank` of `size`.

    All ranks call every method but `share` at the same time and in the same order. These methods raise RankLost if
    another rank is gone.
    """

    def __init__(self, rank: int = 0, size: int = 1, group: Any = None) -> None:
        self.rank, self.size, self._group = rank, size, group  # the group communicates over gloo
        self._group_of_gpus: Any = None  # over nccl, made on first use

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def give(self, value: Any = None) -> Any:
        """Return on every rank the value that rank 0 passes."""
        if self.size == 1:
            return value
        objects = [value if self.leads else None]
        with _noticing_a_loss():
            dist.broadcast_object_list(objects, src=0, group=self._group)
        return objects[0]

    def give_tensors(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return on every rank the processor tensors that rank 0 passes.

        They are sent one at a time, since together they may take more than half of the memory.
        """
        if self.size == 1:
            return tensors
        shapes = self.give({name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()})
        if not self.leads:
            tensors = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in shapes.items()}
        with _noticing_a_loss():
            for tensor in tensors.values():
                dist.broadcast(tensor, src=0, group=self._group)
        return tensors

    def gather(self, value: Any) -> list[Any]:
        """Return what each rank passes, in the order of ranks; on ranks other than the first, return nothing."""
        if self.size == 1:
            return [value]
        gathered: list[Any] | None = [None] * self.size if self.leads else None
        with _noticing_a_loss():
            dist.gather_object(value, gathered, dst=0, group=self._group)
        return gathered or []

    def most(self, numbers: Sequence[int]) -> list[int]:
        """Return, for each number, the largest that any rank passes."""
        if self.size == 1:
            return list(numbers)
        largest = torch.tensor(numbers, dtype=torch.int32)
        with _noticing_a_loss():
            dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=self._group)
        agreed: list[int] = largest.tolist()
        return agreed

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each of the float32 `tensors`, all on one device, by its sum over the ranks."""
        if self.size == 1:
            return
        group = self._group_of(tensors[0].device)
        for bucket in _buckets(tensors):
            # An embedding may be most of a model, so a tensor that fills a bucket is not copied.
            flat = torch.cat([each.reshape(-1) for each in bucket]) if len(bucket) > 1 else bucket[0].contiguous()
            with _noticing_a_loss():
                dist.all_reduce(flat, group=group)
            if flat is bucket[0]:
                continue
            flat = flat.reshape(-1)
            sums = flat.split([tensor.numel() for tensor in bucket])
            torch._foreach_copy_(bucket, [each.view_as(tensor) for each, tensor in zip(sums, bucket, strict=True)])

    def share(self, lengths: np.ndarray) -> np.ndarray:
        """Return which of (n,) items with these lengths belong to this rank, in ascending order.

        Every item belongs to one rank. The ranks' numbers of items differ by at most one, and their total lengths are
        similar.
        """
        turns, places = np.divmod(np.arange(len(lengths)), self.size)
        ranks = np.where(turns % 2, self.size - 1 - places, places)  # back and forth over the ranks, longest first
        return np.sort(np.argsort(-lengths, kind="stable")[ranks == self.rank])

    def draw_apart(self, seed: int, step: int) -> None:
        """Let dropout draw different numbers on each rank, and the same ones when training resumes from this step.

        Rank 0 draws what a single process would, from a state that snapshots contain.
        """
        if self.rank:
            drawn = np.random.SeedSequence((seed, step, self.rank)).generate_state(1, np.uint64)
            torch.manual_seed(int(drawn[0]))

    def _group_of(self, device: torch.device) -> Any:
        if device.type != "cuda":
            return self._group
        if self._group_of_gpus is None:
            with _noticing_a_loss():
                self._group_of_gpus = dist.new_group(backend="nccl")
        return self._group_of_gpus


ALONE = Ranks()
_here = {"ranks": ALONE}


def current() -> Ranks:
    """Return this process's place among those that it computes with."""
    return _here["ranks"]


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun has started, until all of them reach the end of this block.

    Raise XevalError if they do not meet.
    """
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        dist.init_process_group("gloo", timeout=_MEETING)
        ranks = Ranks(rank, size, dist.new_group(backend="gloo", timeout=_WORKING))
    except (KeyError, ValueError, RuntimeError) as error:
        raise XevalError(
            f"ranks: RANK and WORLD_SIZE are set, but the processes did not meet ({one_line(error)[:200]}); start them"
            " with torchrun, or unset these two"
        ) from error
    _here["ranks"] = ranks
    try:
        yield ranks
    finally:
        _here["ranks"] = ALONE
    dist.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """Return this rank's device if rank 0's is `device`: of a machine's GPUs, the one with the rank's local number."""
    if device.type != "cuda":
        return device
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", current().rank)))
    torch.cuda.set_device(own)
    return own


def refuse_device(device: torch.device) -> None:
    """Raise XevalError if this machine has fewer GPUs than ranks, or if all ranks were given the same GPU."""
    if current().size == 1 or device.type != "cuda":
        return
    if device.index is not None:
        raise XevalError(
            f"device: {device} is one GPU, but each rank uses the GPU of its own number; use --device cuda"
        )
    n_gpus, n_ranks = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", current().size))
    if n_gpus < n_ranks:
        raise XevalError(f"device: {n_ranks} ranks need a GPU each, this machine has {n_gpus}; lower --nproc-per-node")


@contextmanager
def _noticing_a_loss() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # how torch reports a lost connection in these calls
        raise RankLost from error


def _buckets(tensors: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and sum(each.numel() for each in bucket) + tensor.numel() > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
