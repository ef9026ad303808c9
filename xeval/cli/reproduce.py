"""`xeval reproduce`: run every model of a published table, then compare."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from xeval.cli.execution import engine_of, execute_and_show, is_shared_out, logging_options
from xeval.cli.options import (
    Bundle,
    CellTolerance,
    Data,
    Device,
    DryRun,
    Dtype,
    HowToShow,
    LogTo,
    MaxEval,
    MaxTrain,
    MeanTolerance,
    On,
    OutcomeFormat,
    Quiet,
    Results,
    Seeds,
    Where,
    numbers,
)
from xeval.cli.outcome import show_outcome
from xeval.cli.outlook import announce, refuse_records_of_plan
from xeval.cli.screen import loading
from xeval.data.bundle import using
from xeval.definitions.registry import get_reference
from xeval.judging.verdict import Tolerance
from xeval.support.text import one_line


def reproduce(
    reference: Annotated[str, typer.Argument(metavar="TABLE", help="Name or path of a published table.")],
    seed: Seeds = None,
    data: Data = None,
    bundle: Bundle = None,
    results: Results = Path("results"),
    max_train: MaxTrain = None,
    max_eval: MaxEval = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    on: On = Where.local,
    log_to: LogTo = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    output_format: HowToShow = OutcomeFormat.terminal,
    tolerance: CellTolerance = Tolerance.cell,
    mean_tolerance: MeanTolerance = Tolerance.mean,
) -> None:
    """Run the models of a published table on its languages, each with the recipe named in the table's file.

    Prints the plan first, like xeval run. Without --seed, uses the fewest seeds that give the table's rows an even
    chance of being called reproduced if they are true, or three if no number up to 10 does.

    Exits with 1 if a mean or a cell is shown not to be reproduced; an undecided verdict exits with 0.
    """
    refuse_records_of_plan(dry_run, output_format)
    seeds = numbers(seed)
    from xeval.support.progress import reporter

    options: dict[str, Any] = {
        "seeds": seeds,
        "data": data,
        "results": results,
        "max_train": max_train,
        "max_eval": max_eval,
        "device": device,
        "dtype": dtype,
        "reporter": reporter(quiet),
    }
    within = Tolerance(tolerance, mean_tolerance)
    if bundle is None:  # a bundle may have tables of its own
        get_reference(reference)  # refuses an unknown name before torch loads
    with loading(quiet):
        from xeval.runs.outlook import outlook_of_table

        elsewhere = on is not Where.local
        here = options | {"device": "auto"} if elsewhere else options
        outlook = outlook_of_table(reference, bundle=bundle, **here)
        shared_out = is_shared_out(on, device)
        if shared_out:
            engine = engine_of(on, device, results, quiet)
        logging = logging_options(log_to, shared_out)
    with using(bundle):
        announce(outlook, options["reporter"], dry_run)
    if shared_out:
        from xeval.runs.plan import plan_table

        plan = plan_table(reference, bundle=bundle, elsewhere=elsewhere, **options)
        strays = execute_and_show(plan, engine, quiet, output_format, within)
    else:
        from xeval.runs import grid

        with using(bundle):
            runs = grid.reproduce_grid(reference, **options, **logging)
            strays = show_outcome(runs, reference, output_format, results, within)
    for sentence in strays:
        print(f"xeval: {one_line(sentence)}", file=sys.stderr)
    if strays:
        raise typer.Exit(1)
