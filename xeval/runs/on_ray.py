"""Runs on a Ray cluster: a task for each run, with a GPU if the cluster has any, started again if a machine is lost.

https://docs.ray.io/en/latest/ray-core/walkthrough.html
"""

import io
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from xeval.runs.progress_table import ProgressTable
from xeval.runs.ray_worker import Mailbox, work
from xeval.runs.requests import Engine, Outcome, RunRequest
from xeval.support.errors import XevalError
from xeval.support.files import in_home
from xeval.support.text import counted, one_line

MOST_LOSSES = 10  # times that a run is started again after its process or machine was lost
HEARD_EVERY_S = 0.5
ANSWERS_WITHIN_S = 10.0
MOST_OF_A_NOTE = 200  # characters
_PLAIN = "\x1b[0m"  # which ends a colour in Ray's output
# Variables that a worker takes over from the process that starts the grid, unless its own machine sets them. Requests
# have what XEVAL_DATA and XEVAL_TASKS say.
_SHARED_FOLDERS = ("XEVAL_CACHE", "HF_HOME")
_SHARED = ("HF_ENDPOINT", "HF_HUB_OFFLINE")


def on_ray(quiet: bool = False) -> Engine:
    """Return an engine that uses the cluster at RAY_ADDRESS, or one running on this machine, or else starts one here.

    Raises XevalError if Ray is not installed, or there is no cluster at RAY_ADDRESS.
    """
    ray = _ray()

    def engine(requests: Sequence[RunRequest]) -> list[Outcome]:
        _connect(ray)
        try:
            with ProgressTable(requests, quiet) as table, redirect_stdout(_Notes(table)):
                table.say(_in_words(ray))
                return _Driver(ray, requests, table).outcomes_of_all()
        except ray.exceptions.RayError as error:
            raise XevalError(
                f"Ray: the part of the cluster on this machine was lost ({type(error).__name__}); finished work is"
                " kept, and the same command resumes from there"
            ) from error
        finally:
            ray.shutdown()

    return engine


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise XevalError("--on ray needs Ray, which is not installed: pip install ray") from error
    return ray


def _connect(ray: Any) -> None:
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _refuse_where_nobody_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would send statistics to its developers
    on_sigterm = signal.getsignal(signal.SIGTERM)  # which Ray replaces
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        which = f"the cluster at RAY_ADDRESS={address}" if address else "a cluster on this machine"
        raise XevalError(
            f"Ray: {which} cannot be used: {one_line(error)}; if it has a token, export RAY_AUTH_MODE=token and"
            " RAY_AUTH_TOKEN here too"
        ) from error
    signal.signal(signal.SIGTERM, on_sigterm)


def _refuse_where_nobody_answers(address: str) -> None:
    """Raise XevalError if no cluster answers at `address`; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if address in ("auto", "local"):
        return
    if not port.isdecimal() or "/" in host:
        raise XevalError(f"RAY_ADDRESS: wanted HOST:PORT of the cluster's head, as in head:6379, got {address!r}")
    try:
        socket.create_connection((host, int(port)), ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise XevalError(
            f"Ray: no cluster answers at RAY_ADDRESS={address}: {one_line(error)}; start one there with ray start"
            f" --head --port={port}, or unset RAY_ADDRESS"
        ) from error


class _Notes(io.TextIOBase):
    """Stands in for standard output, so that Ray's notes on lost nodes, shortened, go to the progress table instead."""

    def __init__(self, table: ProgressTable) -> None:
        self._table = table

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if "(raylet)" in line:
                self._table.say(f"Ray: {line.partition('(raylet)')[2].removeprefix(_PLAIN).strip()[:MOST_OF_A_NOTE]}")
        return len(text)


def _in_words(ray: Any) -> str:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    resources = ray.cluster_resources()
    has = ", ".join(f"{resources.get(key, 0):g} {key}s" for key in ("GPU", "CPU"))
    return f"Ray cluster at {ray.get_runtime_context().gcs_address}: {counted(len(nodes), 'machines')}, {has}"


def _environment() -> dict[str, str]:
    """Return the variables for the workers, with folders in full, since a worker starts in another one."""
    folders = {name: os.environ.get(name) for name in _SHARED_FOLDERS}
    in_full = {name: str(in_home(folder).absolute()) for name, folder in folders.items() if folder}
    return in_full | {name: os.environ[name] for name in _SHARED if name in os.environ}


class _Driver:
    """Gives runs to the cluster until all runs have ended."""

    def __init__(self, ray: Any, requests: Sequence[RunRequest], table: ProgressTable) -> None:
        self._ray, self._requests, self._table = ray, requests, table
        self._mailbox = _start_mailbox(ray)
        self._starts: dict[int, int] = {}

    def outcomes_of_all(self) -> list[Outcome]:
        task = self._ray.remote(num_cpus=1, max_retries=MOST_LOSSES, retry_exceptions=False)(work)
        has_gpus = bool(self._ray.cluster_resources().get("GPU"))
        environment = _environment()
        numbers = {
            task.options(num_gpus=int(has_gpus and request.device != "cpu")).remote(
                number, request.model_dump_json(), environment, self._mailbox
            ): number
            for number, request in enumerate(self._requests)
        }
        outcomes: dict[int, Outcome] = {}
        while numbers:
            ready, _ = self._ray.wait(list(numbers), num_returns=1, timeout=HEARD_EVERY_S)
            self._hear()
            for reference in ready:
                number = numbers.pop(reference)
                outcomes[number] = self._outcome(reference)
                self._table.end(number, outcomes[number])
        return [outcomes[number] for number in range(len(self._requests))]

    def _outcome(self, reference: Any) -> Outcome:
        try:
            return Outcome.model_validate_json(self._ray.get(reference))
        except self._ray.exceptions.RayError as error:
            why = one_line(str(error).strip().splitlines()[-1]) if str(error).strip() else type(error).__name__
            return Outcome(problem=f"Ray abandoned it ({type(error).__name__}): {why}")

    def _hear(self) -> None:
        """Handle the messages that the runs have sent."""
        for number, kind, text in self._ray.get(self._mailbox.take.remote()):
            if kind != "starts":
                self._table.tell(number, kind, text)
                continue
            self._starts[number] = self._starts.get(number, 0) + 1
            if self._starts[number] > 1:
                self._table.lose(number, "its process or its machine was lost")
            self._table.start(number, text)


def _start_mailbox(ray: Any) -> Any:
    """Start the mailbox on this machine, so that it is lost only together with the driver."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
