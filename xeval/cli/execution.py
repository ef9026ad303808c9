"""Where the runs of a command are executed: in this process, or by others, after which they are shown."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from xeval.cli.options import Logger, OutcomeFormat, Where
from xeval.cli.outcome import show_outcome, show_outcomes, show_suite
from xeval.data.bundle import using
from xeval.definitions.registry import get_reference, get_suite, get_task
from xeval.judging.verdict import Tolerance
from xeval.results.store import StoredRun
from xeval.support.errors import DefinitionError
from xeval.support.text import one_line

if TYPE_CHECKING:
    from xeval.runs.plan import Plan
    from xeval.runs.requests import Engine


def is_shared_out(on: Where, device: str) -> bool:
    """Return whether other processes than this one execute the runs."""
    if on is Where.local:
        from xeval.runs.on_local import local_devices

        return len(local_devices(device)) > 1
    return True


def logging_options(log_to: Sequence[Logger] | None, shared_out: bool) -> dict[str, Any]:
    """Return the option of `run_grid` for the loggers of runs in this process. Empty if none is asked for.

    Raises XevalError if the runs are `shared_out` to other processes, which log nothing, or a package is not installed.
    """
    from xeval.runs.loggers import ready

    if log_to and shared_out:
        raise DefinitionError(
            "log to: runs are distributed to other processes, which log nothing; leave out --log-to, or name one device"
            " with --device and leave out --on"
        )
    return {"callbacks": ready([str(name) for name in log_to])} if log_to else {}


def execute_and_show(
    plan: "Plan",
    engine: "Engine",
    quiet: bool,
    output_format: OutcomeFormat,
    tolerance: Tolerance | None = None,
) -> list[str]:
    """Execute the runs of `plan` with `engine`, and show them.

    Exits with 1 if a run could not be executed or something in it failed. Returns sentences on what is shown not to be
    reproduced of the published table.
    """
    from xeval.runs.plan import run_plan

    with using(plan.bundle):
        table = table_of(plan.subject, plan.tasks_dirs) if plan.noun == "task" else None
    runs, problems = run_plan(plan, engine)
    for problem in problems:
        print(one_line(f"xeval: {problem}"), file=sys.stderr)
    with using(plan.bundle):
        strays = _show(plan, runs, table, output_format, tolerance, quiet)
    if problems:
        raise typer.Exit(1)
    return strays


def _show(
    plan: "Plan",
    runs: list[StoredRun],
    table: str | None,
    output_format: OutcomeFormat,
    tolerance: Tolerance | None,
    quiet: bool,
) -> list[str]:
    """Print the runs of `plan`, each task next to its table; return what is shown not to be reproduced."""
    if plan.noun == "suite":
        show_suite(runs, plan.skipped, plan.subject, output_format, plan.results, plan.tasks_dirs, quiet)
    elif plan.noun == "grid":
        of_suites = {suite: _of_suite(runs, suite) for suite in plan.suites}
        in_suites = {run.record.task for own in of_suites.values() for run in own}
        of_tasks = _by_task([run for run in runs if run.record.task not in in_suites], plan)
        show_outcomes(of_tasks, output_format, plan.results, tolerance, plan.tasks_dirs, of_suites, plan.skipped)
    elif runs:
        reference = plan.subject if plan.noun == "table" else table
        return show_outcome(runs, reference, output_format, plan.results, tolerance, plan.tasks_dirs)
    return []


def _by_task(runs: Sequence[StoredRun], plan: "Plan") -> list[tuple[list[StoredRun], str | None]]:
    """Group `runs`, which belong to no suite, by task, each with its table."""
    names = dict.fromkeys(run.request.task for run in plan.runs)
    tables = {get_task(name, plan.tasks_dirs).name: name for name in names}
    return [
        ([run for run in runs if run.record.task == task], table_of(name, plan.tasks_dirs))
        for task, name in tables.items()
        if any(run.record.task == task for run in runs)
    ]


def _of_suite(runs: Sequence[StoredRun], suite: str) -> list[StoredRun]:
    tasks = {member.task for member in get_suite(suite).tasks}
    return [run for run in runs if run.record.task in tasks]


def table_of(task: str, tasks_dirs: Sequence[Path]) -> str | None:
    """Return the published table to compare runs of `task` with, if any; the task file may be anywhere.

    A missing table is refused here, before anything is trained.
    """
    table = get_task(task, tasks_dirs).default_reference
    if table is not None:
        get_reference(table)
    return table


def engine_of(on: Where, device: str, results: Path, quiet: bool) -> "Engine":
    """Return the engine that executes runs on `on`. Raises XevalError if a package that it needs is not installed."""
    from xeval.support.progress import reporter

    if on is not Where.local and ":" in device:
        raise typer.BadParameter(f"--device {device}: {on} gives each run a GPU, which cannot be chosen; give cuda")
    if on is Where.ray:
        from xeval.runs.on_ray import on_ray

        return on_ray(quiet)
    if on is Where.slurm:
        from xeval.runs.on_slurm import on_slurm

        return on_slurm(results / "slurm", quiet)
    from xeval.runs.on_local import in_this_process, local_devices, on_local

    devices = local_devices(device)
    return on_local(devices, quiet) if len(devices) > 1 else in_this_process(reporter(quiet))
