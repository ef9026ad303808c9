"""Runs on several devices of this machine: one process for each device, which executes one run after the other."""

import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Literal

import torch

from xeval.engine import ranks
from xeval.runs.progress_table import Kind, ProgressTable, Sender
from xeval.runs.requests import Engine, Outcome, RunRequest, attempt
from xeval.support.countdown import count_down
from xeval.support.freed_memory import keep_freed_memory
from xeval.support.progress import Reporter
from xeval.support.termination import Terminated, listen

MOST_LOSSES = 3  # times that a run is started again after its process was lost
_SPAWN = get_context("spawn")  # a forked process cannot use CUDA


def local_devices(device: str) -> list[str]:
    """Return what --device means on this machine: every GPU for auto and cuda, if there are several.

    Processes that torchrun has started share all GPUs in each run, so that one run is executed at a time.
    """
    if device in ("auto", "cuda") and ranks.current().size == 1 and torch.cuda.device_count() > 1:
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [device]


def in_this_process(reporter: Reporter) -> Engine:
    """Return an engine that executes one run after the other in this process."""

    def engine(requests: Sequence[RunRequest]) -> list[Outcome]:
        one_by_one = count_down(requests, [1] * len(requests), lambda request: request.in_words, reporter.say)
        return [attempt(request, reporter) for request in one_by_one]

    return engine


def on_local(devices: Sequence[str], quiet: bool = False) -> Engine:
    """Return an engine that executes as many runs at once as there are `devices`, each in a process of its own.

    A run whose process is killed is started again, up to MOST_LOSSES times. SIGTERM and Ctrl-C are passed on to the
    processes, which save their work.
    """

    def engine(requests: Sequence[RunRequest]) -> list[Outcome]:
        with ProgressTable(requests, quiet) as table:
            return _Supervisor(devices, requests, table).outcomes_of_all()

    return engine


@dataclass
class _Worker:
    device: str
    process: BaseProcess
    connection: Connection
    number: int | None = None  # of the run that it executes; None while it waits
    is_spent: bool = False  # its process has died, or had a CUDA error, after which it cannot use the GPU again


class _Supervisor:
    """Gives runs to processes until all runs have ended."""

    def __init__(self, devices: Sequence[str], requests: Sequence[RunRequest], table: ProgressTable) -> None:
        self._devices, self._requests, self._table = devices, requests, table
        self._waiting = deque(range(len(requests)))
        self._losses: Counter[int] = Counter()
        self._outcomes: dict[int, Outcome] = {}
        self._workers: list[_Worker] = []

    def outcomes_of_all(self) -> list[Outcome]:
        n_workers = min(len(self._devices), len(self._requests))
        try:
            self._workers = [_start(device, n_workers) for device in self._devices[:n_workers]]
            while len(self._outcomes) < len(self._requests):
                self._give_out()
                busy = {id(worker.connection): worker for worker in self._workers if worker.number is not None}
                for ready in wait([worker.connection for worker in busy.values()]):
                    self._hear(busy[id(ready)])
        except BaseException:
            for worker in self._workers:
                worker.process.terminate()
            raise
        finally:
            for worker in self._workers:
                worker.connection.close()  # a process that waits for a run then exits
                worker.process.join()
        return [self._outcomes[number] for number in range(len(self._requests))]

    def _give_out(self) -> None:
        for worker in list(self._workers):
            if worker.number is None and self._waiting:
                if worker.is_spent:
                    worker = self._renewed(worker)
                worker.number = self._waiting.popleft()
                self._table.start(worker.number, worker.device)
                with suppress(OSError):  # it has died, which `_hear` will notice
                    worker.connection.send(self._requests[worker.number].model_dump_json())

    def _hear(self, worker: _Worker) -> None:
        """Handle a message from `worker`, or its death."""
        assert worker.number is not None  # it is busy
        try:
            kind, text = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker, worker.number)
            return
        if kind == "ends":
            outcome = Outcome.model_validate_json(text)
            self._end(worker.number, outcome)
            worker.number, worker.is_spent = None, outcome.is_unexpected
        else:
            self._table.tell(worker.number, kind, text)

    def _renewed(self, worker: _Worker) -> _Worker:
        """Put a worker with a new process in the place of `worker`, which waits or is dead, and return it."""
        worker.connection.close()  # a process that waits for a run then exits
        worker.process.join()
        another = _start(worker.device, len(self._workers))
        self._workers[self._workers.index(worker)] = another
        return another

    def _replace(self, worker: _Worker, number: int) -> None:
        worker.process.join()
        self._losses[number] += 1
        why = f"its process on {worker.device} was ended by {_ended_by(worker.process.exitcode or 0)}"
        if self._losses[number] <= MOST_LOSSES:
            self._waiting.appendleft(number)
            self._table.lose(number, why)
        else:
            self._end(
                number, Outcome(problem=f"{why}, {self._losses[number]} times; the machine may be short of memory")
            )
        worker.number, worker.is_spent = None, True

    def _end(self, number: int, outcome: Outcome) -> None:
        self._outcomes[number] = outcome
        self._table.end(number, outcome)


def _ended_by(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code >= 0 else signal.Signals(-exit_code).name


def _start(device: str, n_workers: int) -> _Worker:
    own_end, worker_end = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_work, args=(worker_end, device, n_workers), daemon=True)
    process.start()
    worker_end.close()
    return _Worker(device, process, own_end)


def _work(connection: Connection, device: str, n_workers: int) -> None:
    """Execute the runs that come through `connection`, in a process of its own, until it is closed."""
    listen()
    keep_freed_memory()
    _share_processors(n_workers)

    def send(kind: Kind | Literal["ends"], text: str) -> None:
        with suppress(OSError):  # the parent process has died; the current run is finished anyway
            connection.send((kind, text))

    try:
        while True:
            request = RunRequest.model_validate_json(connection.recv())
            outcome = attempt(request.model_copy(update={"device": device}), Sender(send))
            send("ends", outcome.model_dump_json())
    except (EOFError, OSError):
        return
    except Terminated:
        sys.exit(143)
    except KeyboardInterrupt:
        sys.exit(130)


def _share_processors(n_workers: int) -> None:
    """Limit the threads of this process, so that all processes together have one for each core."""
    if "OMP_NUM_THREADS" not in os.environ:
        # torch's own number respects the cores that a scheduler gives this process, which may not be all of them.
        torch.set_num_threads(max(1, torch.get_num_threads() // n_workers))
