"""`xeval plan`: what a grid of runs will take, and what its verdicts can show."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xeval.cli.grid_options import GridOptions, with_grid_options
from xeval.cli.outlook import Compared, compared_with, folded
from xeval.cli.screen import loading
from xeval.data.bundle import using
from xeval.definitions.model_name import ModelName
from xeval.judging.verdict import Tolerance
from xeval.support.text import counted, duration, numbered, one_line, size

if TYPE_CHECKING:
    from xeval.runs.plan import Plan, PlannedRun
    from xeval.runs.requests import RunRequest

_OTHER_SEEDS = (1, 3, 5, 10, 20)  # numbers of seeds whose chances of a verdict are shown, besides the plan's own


@with_grid_options
def plan(
    context: typer.Context,
    grid: GridOptions,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan to this file, for run --plan.")
    ] = None,
) -> None:
    """Estimate what the same `xeval run` command would need: runs, hours, memory, disk, and what verdicts can show.

    Trains nothing, except for a few seconds with each model whose speed on this machine is not yet known.
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
        print(folded(line))
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
    largest = max(forecasts, key=lambda known: known.memory_bytes)
    what, more = "weights", "its batches need more on top of that"
    if largest.is_training and largest.trains_all_weights:
        what = "weights, gradients and the optimizer's two moments"
    elif largest.is_training:
        more = "the part that is trained and the batches need more on top of that"
    yield f"Memory: at least {size(largest.memory_bytes)} a run, for {what}; {more}."
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
    rows = list(_rows(plan))
    if not rows:
        yield "Verdicts: none, since no published row is about these models, trained and evaluated like this."
        return
    trained = [(table, row) for table, row in rows if row.task.of_kind.trains]
    if trained:
        within = f"±{Tolerance.mean} points on the mean, ±{Tolerance.cell} in a language"
        yield (
            "Verdicts: if a published row were exactly right, this many of 100 such grids would call it reproduced"
            f" ({within}). Nearly all the others would leave it undecided, and a few would call it not reproduced."
        )
    for table, row in trained:
        yield from _table_of_power(row, table)
    untrained = dict.fromkeys(table for table, row in rows if not row.task.of_kind.trains)
    if untrained:
        yield f"Verdicts on {', '.join(untrained)}: nothing is trained, so one run shows whether a row is reproduced."


def _rows(plan: "Plan") -> Iterator[tuple[str, Compared]]:
    """Yield the published rows on which the runs can give a verdict in a language, each after its table's name."""
    groups: dict[str, list[RunRequest]] = {}
    for run in plan.runs:
        groups.setdefault(run.request.model_copy(update={"seed": None}).model_dump_json(), []).append(run.request)
    for seeds in groups.values():
        with using(seeds[0].bundle):
            rows = _rows_of(seeds[0], len(seeds), plan.subject if plan.noun == "table" else None)
        yield from rows


def _rows_of(request: "RunRequest", n_seeds: int, table: str | None) -> list[tuple[str, Compared]]:
    from xeval.runs.grid import define

    defined = define(
        request.task,
        [(request.model, request.recipe)],
        languages=request.languages,
        train_language=request.train_language,
        overrides=dict(request.overrides),
        train=request.train,
        tasks_dirs=request.tasks_dirs,
    )
    table = table or defined.task.default_reference
    recipe, model = defined.changed[request.recipe], ModelName.parse(request.model)
    rows = compared_with(model, defined.task, recipe, defined.languages, n_seeds, table)
    return [(str(table), row) for row in rows if row.n_languages]


def _table_of_power(compared: Compared, table: str) -> Iterator[str]:
    from xeval.judging.power import power_of

    row, task = compared.row, compared.task
    powers = power_of(row, task, sorted({*_OTHER_SEEDS, compared.n_seeds}))
    of_task = "" if table == task.name else f", task {task.name}"
    part = "" if compared.is_whole else f", {compared.n_languages} of its {counted(len(row.cells), 'languages')}"
    yield f"  {row.name} in the table {table}{of_task}; planned: {counted(compared.n_seeds, 'seeds')}{part}"
    yield "    seeds      " + "".join(f"{power.n_seeds:>7}" for power in powers)
    if compared.is_whole:  # else there is no verdict on the mean
        yield "    mean       " + "".join(f"{_of_100(power.mean):>7}" for power in powers)
    yield "    a language " + "".join(f"{_of_100(power.cell):>7}" for power in powers)


def _of_100(share: float) -> str:
    return "none" if share == 0 else "<1" if share < 0.01 else f"{100 * share:.0f}"
