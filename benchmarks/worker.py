"""A contender in a separate process, which waits while others are measured, so that each one's memory can be told."""

import multiprocessing
import resource
from multiprocessing.connection import Connection
from typing import Any


class Worker:
    def __init__(self, kind: str, *arguments: Any) -> None:
        """Start a contender of `kind`, one of `race.NAMES`; the other arguments are those that all contenders take."""
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, kind, arguments), daemon=True)
        self._process.start()

    def wait(self) -> None:
        """Wait until the contender is ready."""
        self._receive()

    def ask(self, what: str) -> Any:
        """Return what a method of the contender returns, or its "peak_flops" or "peak_memory_bytes"."""
        self._connection.send(what)
        return self._receive()

    def _receive(self) -> Any:
        answer = self._connection.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def end(self) -> None:
        self._connection.send(None)
        self._process.join()


def _serve(connection: Connection, kind: str, arguments: tuple[Any, ...]) -> None:
    try:
        contender = _contender(kind, *arguments)
        connection.send("ready")
        while (what := connection.recv()) is not None:
            connection.send(_answer(contender, what))
    except Exception as error:
        connection.send(error)


def _contender(kind: str, architecture: str, size: Any) -> Any:
    from benchmarks import ours, trainer

    trainers = {
        "defaults": trainer.Defaults,
        "tf32": trainer.TensorFloat32,
        "grouped": trainer.Grouped,
        "flags": trainer.Flags,
    }
    if kind in trainers:
        return trainers[kind](architecture, size)
    return ours.Ours(architecture, kind, size)


def _answer(contender: Any, what: str) -> Any:
    import torch

    from benchmarks.arithmetic import gemm_peak

    if what == "peak_flops":
        return gemm_peak(contender.dtype)
    if what == "peak_memory_bytes":
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return getattr(contender, what)()
