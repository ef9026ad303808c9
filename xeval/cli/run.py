"""`xeval run`: fine-tune on the task's training language, evaluate in every language, print the matrix."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from xeval.cli.execution import engine_of, execute_and_show, is_shared_out, logging_options, table_of
from xeval.cli.grid_options import GridOptions, refuse_beside, with_grid_options
from xeval.cli.options import DryRun, HowToShow, Logger, LogTo, On, OutcomeFormat, Sweep, Where, values_to_try
from xeval.cli.outcome import show_outcome, show_outcomes, show_suite
from xeval.cli.outlook import announce, announce_plan, refuse_records_of_plan
from xeval.cli.screen import loading
from xeval.data.bundle import using
from xeval.definitions.grid import Grid
from xeval.definitions.registry import is_suite

_BESIDE_A_PLAN = {"plan", "on", "dry_run", "quiet", "output_format"}


@with_grid_options
def run(
    context: typer.Context,
    grid: GridOptions,
    sweep: Sweep = None,
    seeds_of: Annotated[
        str | None,
        typer.Option(
            "--seeds-of",
            metavar="NAME",
            help="With --no-train: treat the models as seeds of one configuration called NAME, numbered by --seed.",
        ),
    ] = None,
    on: On = Where.local,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Run exactly the runs in this file, which xeval plan wrote."),
    ] = None,
    log_to: LogTo = None,
    dry_run: DryRun = False,
    output_format: HowToShow = OutcomeFormat.terminal,
) -> None:
    """Fine-tune models on a task's training language and evaluate them in all its languages.

    Prints the plan first: the number of runs, the downloads, the hours if known, and the verdicts that this many seeds
    can reach. For a suite, runs every task that has rows, and exits with 1 if a task has none.
    """
    refuse_records_of_plan(dry_run, output_format)
    if plan is not None:
        refuse_beside(context, _BESIDE_A_PLAN, "--plan defines what to run")
        _run_plan(plan, on, grid.quiet, dry_run, output_format)
        return
    if (file := grid.grid(context)) is not None:
        _run_file(file, grid, on, log_to, dry_run, output_format)
        return
    task, models = grid.check()
    options = grid.of_library() | {"sweep": values_to_try(sweep), "seeds_of": seeds_of}
    elsewhere = on is not Where.local
    takes_turns = not elsewhere and bool(sweep or seeds_of or grid.no_train)
    with loading(grid.quiet):
        from xeval.runs.outlook import outlook_of_grid
        from xeval.runs.plan import plan_grid, refuse_what_no_plan_has

        shared_out = is_shared_out(on, grid.device) and not takes_turns
        if shared_out:
            refuse_what_no_plan_has(options)
            engine = engine_of(on, grid.device, grid.results, grid.quiet)
        logging = logging_options(log_to, shared_out)
        here = options | {"device": "auto"} if elsewhere else options
        outlook = outlook_of_grid(task, models, recipe=grid.recipe, bundle=grid.bundle, **here)
    with using(grid.bundle):
        announce(outlook, options["reporter"], dry_run)
    if shared_out:
        new_plan = plan_grid(task, models, recipe=grid.recipe, bundle=grid.bundle, elsewhere=elsewhere, **options)
        execute_and_show(new_plan, engine, grid.quiet, output_format)
        return
    with using(grid.bundle):
        _run_here(task, models, grid, options | logging, output_format)


def _run_here(
    task: str, models: list[str], grid: GridOptions, options: dict[str, Any], output_format: OutcomeFormat
) -> None:
    """Execute the runs in this process, and show them."""
    from xeval.runs.grid import run_grid

    folders = grid.tasks_dir or ()
    if is_suite(task, folders):
        from xeval.runs.suite import run_suite

        outcome = run_suite(task, models, recipes=[grid.recipe] if grid.recipe else [], **options)
        show_suite(outcome.runs, outcome.skipped, task, output_format, grid.results, folders, grid.quiet)
        return
    table = table_of(task, folders)
    runs = run_grid(task, [(name, grid.recipe) for name in models], **options)
    show_outcome(runs, table, output_format, grid.results, tasks_dirs=folders)


def _run_file(
    file: Grid,
    grid: GridOptions,
    on: Where,
    log_to: list[Logger] | None,
    dry_run: bool,
    output_format: OutcomeFormat,
) -> None:
    """Execute the runs of a grid's file."""
    with loading(grid.quiet):
        from xeval.runs.outlook import outlook_of_file
        from xeval.runs.plan import plan_file, refuse_what_no_plan_has
        from xeval.runs.suite import run_file

        elsewhere, folders = on is not Where.local, grid.tasks_dir or ()
        shared_out = is_shared_out(on, grid.device) and (elsewhere or (file.train and not file.sweep))
        if shared_out:
            refuse_what_no_plan_has({"sweep": file.sweep})
            engine = engine_of(on, grid.device, grid.results, grid.quiet)
        logging = logging_options(log_to, shared_out)
    with using(grid.bundle):
        of_file = grid.of_file(file)
        here = replace(grid, device="auto").of_file(file) if elsewhere else of_file
        announce(outlook_of_file(here, bundle=grid.bundle), grid.reporter(), dry_run)
    if shared_out:
        new_plan = plan_file(str(grid.task), of_file, bundle=grid.bundle, elsewhere=elsewhere)
        execute_and_show(new_plan, engine, grid.quiet, output_format)
        return
    with using(grid.bundle):
        tables = {task: table_of(task, folders) for task in of_file.tasks}
        runs, skipped = run_file(of_file.with_options(logging), grid.reporter())
        of_tasks = [(runs[task], table) for task, table in tables.items()]
        of_suites = {suite: runs[suite] for suite in of_file.suites}
        show_outcomes(of_tasks, output_format, grid.results, None, folders, of_suites, skipped)


def _run_plan(path: Path, on: Where, quiet: bool, dry_run: bool, output_format: OutcomeFormat) -> None:
    with loading(quiet):
        from xeval.runs.plan import read_plan
    from xeval.support.progress import reporter

    plan = read_plan(path)
    announce_plan(plan, reporter(quiet), dry_run)
    engine = engine_of(on, plan.runs[0].request.device, plan.results, quiet)
    execute_and_show(plan, engine, quiet, output_format)
