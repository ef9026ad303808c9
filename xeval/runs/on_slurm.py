"""Runs on a Slurm cluster: one job array, whose jobs save and go back to the queue before their time is up.

Partition, time limit, GPUs and the like are set in Slurm's own way: sbatch reads SBATCH_PARTITION, SBATCH_TIMELIMIT,
SBATCH_GPUS and others from the environment (https://slurm.schedmd.com/sbatch.html#SECTION_INPUT-ENVIRONMENT-VARIABLES).
submitit writes the job script (https://github.com/facebookincubator/submitit).
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from xeval.runs.progress_table import ProgressTable
from xeval.runs.requests import Engine, Outcome, RunRequest, attempt
from xeval.support.errors import XevalError
from xeval.support.files import write_atomically
from xeval.support.progress import Lines
from xeval.support.termination import Terminated, listen
from xeval.support.text import counted, one_line

SAVED_BEFORE_S = 120  # how long before its time is up a job is warned, so that its training is saved
ASKED_EVERY_S = 5.0
# Checks in a row that find neither the job in the queue nor its outcome, in more than a minute: NFS may say for 60 s
# that a file which another machine has written is not there (acdirmax in nfs(5)).
GONE_AFTER = 15
_READ_OF_LOG = 4_096  # bytes, from its end


def on_slurm(folder: Path, quiet: bool = False, every_s: float = ASKED_EVERY_S) -> Engine:
    """Return an engine that executes runs as a job array. Logs and outcomes go below `folder`, which all nodes share.

    If this command is interrupted, the jobs go on. Raises XevalError if submitit is not installed, or if Slurm is not
    there or refuses the jobs.
    """
    submitit = _submitit()

    def engine(requests: Sequence[RunRequest]) -> list[Outcome]:
        own = folder / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
        ids = _submit(submitit, requests, own)
        array = ids[0].partition("_")[0]
        with ProgressTable(requests, quiet) as table:
            table.say(f"Slurm job {array}, {counted(len(ids), 'runs')}; logs by run in {own}")
            try:
                return _Array(ids, own, table).outcomes_of_all(every_s)
            except (KeyboardInterrupt, Terminated):
                table.say(f"Slurm job {array} continues without this command; scancel {array} ends it")
                raise

    return engine


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise XevalError("--on slurm needs submitit, which is not installed: pip install submitit") from error
    return submitit


def _submit(submitit: Any, requests: Sequence[RunRequest], folder: Path) -> list[str]:
    """Submit a job for each of `requests`, and return the jobs' ids."""
    try:
        executor = submitit.SlurmExecutor(folder=folder)
    except RuntimeError as error:
        raise XevalError(
            "Slurm: no srun here; run this command where jobs are submitted, or leave out --on slurm"
        ) from error
    executor.update_parameters(
        job_name="xeval",
        time=None,  # the partition's, or SBATCH_TIMELIMIT
        signal_delay_s=SAVED_BEFORE_S,
        array_parallelism=len(requests),
        additional_parameters={"requeue": True},
    )
    outcomes = [str(_outcome_path(folder, number)) for number in range(len(requests))]
    try:
        jobs = executor.map_array(_Work(), [request.model_dump_json() for request in requests], outcomes)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError, OSError) as error:
        raise XevalError(f"Slurm: the jobs were not accepted: {one_line(error)}") from error
    return [str(job.job_id) for job in jobs]


def _outcome_path(folder: Path, number: int) -> Path:
    return folder / f"outcome-{number}.json"


class _Work:
    """The work of a job. submitit calls it again, with the same arguments, when the job comes back from the queue.

    submitit's own way of saving, a method called between any two instructions, comes too soon for a training run, which
    saves at the end of a step. Therefore this class handles Slurm's signals itself.
    """

    def __call__(self, request: str, outcome_path: str) -> None:
        time_is_up: list[int] = []

        def on_time(number: int, frame: object) -> None:
            time_is_up.append(number)
            signal.raise_signal(signal.SIGTERM)

        listen()
        signal.signal(signal.SIGUSR2, on_time)
        try:
            outcome = attempt(RunRequest.model_validate_json(request), Lines())
        except Terminated:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # requeueing sends it again
            if time_is_up:
                _requeue()
            sys.exit(143)  # cancelled, or put back by Slurm itself: before pre-emption, or by scontrol requeue
        write_atomically(Path(outcome_path), outcome.model_dump_json().encode())


def _requeue() -> None:
    array, own = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ["SLURM_JOB_ID"]
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else own
    print(f"its time is nearly up: saved, and job {job} goes back to the queue", file=sys.stderr, flush=True)
    subprocess.run(["scontrol", "requeue", job], check=False)


class _Array:
    """The jobs of an array, polled until each has left an outcome or will leave none."""

    def __init__(self, ids: Sequence[str], folder: Path, table: ProgressTable) -> None:
        self._ids, self._folder, self._table = ids, folder, table
        self._running: set[int] = set()
        self._absent: Counter[int] = Counter()
        self._outcomes: dict[int, Outcome] = {}

    def outcomes_of_all(self, every_s: float) -> list[Outcome]:
        while len(self._outcomes) < len(self._ids):
            states = _states(self._ids[0].partition("_")[0])
            if states is not None:
                for number in sorted(set(range(len(self._ids))) - self._outcomes.keys()):
                    self._look_at(number, *states.get(self._ids[number], ("", "")))
            if len(self._outcomes) < len(self._ids):
                time.sleep(every_s)
        return [self._outcomes[number] for number in range(len(self._ids))]

    def _look_at(self, number: int, state: str, node: str) -> None:
        path = _outcome_path(self._folder, number)
        if path.exists():
            self._end(number, Outcome.model_validate_json(path.read_bytes()))
        elif state == "RUNNING":
            if number not in self._running:
                self._running.add(number)
                self._table.start(number, node)
            self._table.tell(number, "does", self._last_line(number))
        elif state == "PENDING" and number in self._running:
            self._running.discard(number)
            self._table.lose(number, "Slurm put it back into the queue")
        self._absent[number] = 0 if state else self._absent[number] + 1
        if self._absent[number] == GONE_AFTER and number not in self._outcomes:
            why = f"Slurm ended job {self._ids[number]} before it was done; {self._log(number)} may say why"
            self._end(number, Outcome(problem=why))

    def _end(self, number: int, outcome: Outcome) -> None:
        self._outcomes[number] = outcome
        self._table.end(number, outcome)

    def _log(self, number: int) -> Path:
        return self._folder / f"{self._ids[number]}_0_log.err"

    def _last_line(self, number: int) -> str:
        try:
            with self._log(number).open("rb") as file:
                file.seek(max(0, self._log(number).stat().st_size - _READ_OF_LOG))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return "starts"
        return lines[-1] if lines else "starts"


def _states(array: str) -> dict[str, tuple[str, str]] | None:
    """Return state and node of the jobs in the queue, by id; None if Slurm does not answer."""
    words = ["squeue", "--noheader", "--array", "--format=%i|%T|%N", f"--jobs={array}"]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    if process.returncode and "Invalid job id" not in process.stderr:  # Slurm's answer when all of them have ended
        return None
    lines = [line.split("|") for line in process.stdout.splitlines() if line.count("|") == 2]
    return {job: (state, node) for job, state, node in lines}
