"""`xeval plan`: what a grid of runs will take, and what its verdicts can show."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xeval.cli.grid_options import GridOptions, with_grid_options
from xeval.cli.outlook import WIDTH, folded
from xeval.cli.screen import loading
from xeval.data.bundle import using
from xeval.definitions.model_name import ModelName
from xeval.definitions.reference import ReferenceRow
from xeval.definitions.registry import get_reference, get_task
from xeval.definitions.task import Task
from xeval.judging.verdict import Tolerance
from xeval.support.text import counted, duration, numbered, one_line, size

if TYPE_CHECKING:
    from xeval.runs.plan import Plan, PlannedRun

_OTHER_SEEDS = (1, 3, 5, 10, 20)  # numbers of seeds whose chances of a verdict are shown, besides the plan's own


@with_grid_options
def plan(
    context: typer.Context,
    grid: GridOptions,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the plan to this file, for run --plan.")
    ] = None,
) -> None:
    """Estimate what the same `xeval run` command would need: runs, hours, memory, disk, and what verdicts can show.

    Trains nothing, except for seconds on a model whose speed on this machine is not yet known.
    """
    file = grid.grid(context)
    task, models = grid.check() if file is None else (str(grid.task), [])
    with loading(grid.quiet):
        from xeval.runs.plan import plan_file, plan_grid, write_plan

    if file is not None:
        with using(grid.bundle):
            of_file = grid.of_file(file)
        new_plan = plan_file(task, of_file, bundle=grid.bundle, measures=True)
    else:
        options = grid.of_library()
        new_plan = plan_grid(task, models, recipe=grid.recipe, bundle=grid.bundle, measures=True, **options)
    for line in _in_words(new_plan):
        print(folded(line) if len(line) > WIDTH else line)
    if output is not None:
        write_plan(new_plan, output)
        print(f"To run it: xeval run --plan {shlex.quote(str(output))}")


def _in_words(plan: "Plan") -> Iterator[str]:
    """Yield the lines of the plan, which are still to be folded."""
    n_finished = sum(run.is_finished for run in plan.runs)
    finished = f"{n_finished} finished, {len(plan.runs) - n_finished} to do" if n_finished else "none of them finished"
    yield f"{counted(len(plan.runs), 'runs')}, {finished}:"
    for what, seeds in _by_configuration(plan).items():
        yield f"  {what}: {numbered('seeds', seeds)}" if seeds else f"  {what}"
    for task, reason in plan.skipped.items():
        yield one_line(f"{task} is left out: {reason}")
    to_do = [run for run in plan.runs if not run.is_finished]
    if to_do:
        yield from _costs(to_do)
    yield from _verdicts(plan)


def _by_configuration(plan: "Plan") -> dict[str, list[int]]:
    seeds: dict[str, list[int]] = {}
    for run in plan.runs:
        own = seeds.setdefault(run.request.model_copy(update={"seed": None}).in_words, [])
        own += [run.request.seed] if run.request.seed is not None else []
    return seeds


def _costs(runs: Sequence["PlannedRun"]) -> Iterator[str]:
    """Yield lines on the time, memory and disk of the runs left to do."""
    from xeval.support.cache import cache_home, free_bytes

    forecasts = [run.forecast for run in runs]
    seconds = [known.seconds or 0.0 for known in forecasts]
    where = "; ".join(dict.fromkeys(known.hardware for known in forecasts))
    how = " and ".join(sorted({known.speed.measured_by for known in forecasts if known.speed is not None}))
    longest = f", {duration(max(seconds))} of that for the longest run" if len(runs) > 1 else ""
    yield f"Time: {duration(sum(seconds))} on one device like this one ({where}){longest}; based on {how}."
    is_training = any(known.is_training for known in forecasts)
    what = "weights, gradients and the optimizer's two moments" if is_training else "weights"
    more = "its batches need more on top of that"
    yield f"Memory: at least {size(max(known.memory_bytes for known in forecasts))} a run, for {what}; {more}."
    results, cache = Path(runs[0].request.results), cache_home()
    yield f"Disk: {size(sum(known.predictions_bytes for known in forecasts))} of predictions in {results}" + (
        f"; in {cache}, which has {size(free_bytes(cache))} free, {size(sum(k.weights_bytes for k in forecasts))} of"
        f" fine-tuned weights and, while a run trains, up to {size(max(k.snapshots_bytes for k in forecasts))} for"
        " resuming it after an interruption."
        if is_training
        else "."
    )


def _verdicts(plan: "Plan") -> Iterator[str]:
    """Yield lines on how often this number of seeds, and others, would call a true published row reproduced."""
    requests = [run.request for run in plan.runs]
    if any(request.max_train or request.max_eval or request.test_split for request in requests):
        yield "Verdicts: none, since these runs use only part of the rows, or another split."
        return
    has_rows = False
    seeds = Counter((request.task, request.model, request.recipe) for request in requests)
    for (name, model, _), n_seeds in seeds.items():
        task = get_task(name, plan.tasks_dirs)
        table = plan.subject if plan.is_table else task.default_reference
        for row in _rows_of(model, table):
            if not has_rows:
                within = f"±{Tolerance.mean} points on the mean, ±{Tolerance.cell} in a language"
                yield (
                    "Verdicts: if a published row is exactly true of these training runs, this many of 100 such grids"
                    f" call it reproduced ({within}); nearly all the others leave it undecided, and a few call it not"
                    " reproduced."
                )
                has_rows = True
            yield from _table_of_power(row, task, str(table), n_seeds)
    if not has_rows:
        yield "Verdicts: none, since no published row is about these models."


def _rows_of(model: str, table: str | None) -> list[ReferenceRow]:
    name = ModelName.parse(model)
    published = name.published_as or (name.id if name.origin != "local" else None)
    rows = get_reference(table).rows if table is not None else ()
    return [row for row in rows if row.model == published and row.protocol == "zero-shot"]


def _table_of_power(row: ReferenceRow, task: Task, table: str, n_seeds: int) -> Iterator[str]:
    from xeval.judging.power import power_of

    powers = power_of(row, task, sorted({*_OTHER_SEEDS, n_seeds}))
    of_task = "" if table == task.name else f", task {task.name}"
    yield f"  {row.name} in the table {table}{of_task}; planned: {counted(n_seeds, 'seeds')}"
    yield "    seeds      " + "".join(f"{power.n_seeds:>7}" for power in powers)
    for what, shares in (
        ("mean", [power.mean for power in powers]),
        ("a language", [power.cell for power in powers]),
    ):
        yield f"    {what:11}" + "".join(f"{_of_100(share):>7}" for share in shares)


def _of_100(share: float) -> str:
    return "none" if share == 0 else "<1" if share < 0.01 else f"{100 * share:.0f}"
