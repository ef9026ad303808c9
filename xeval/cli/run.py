"""`xeval run`: fine-tune on the task's training language, evaluate in every language, print the matrix."""

from pathlib import Path
from typing import Annotated, Any

import typer

from xeval.cli.grid import engine_of, is_shared_out, make, table_of
from xeval.cli.options import (
    Bundle,
    Data,
    Device,
    Dtype,
    EveryCheckpoint,
    HowToShow,
    KeepWeights,
    Languages,
    MaxEval,
    MaxTrain,
    Model,
    NoTrain,
    On,
    OutcomeFormat,
    Quiet,
    RecipeName,
    Results,
    Seeds,
    Sweep,
    TaskOrSuite,
    TasksDirs,
    TestSplit,
    TrainLanguage,
    Where,
    numbers,
    values_to_try,
    words,
)
from xeval.cli.outcome import show_outcome
from xeval.cli.recipe_values import with_recipe_values
from xeval.cli.screen import loading
from xeval.cli.suite import show_suite
from xeval.data.bundle import using
from xeval.definitions.registry import check_names, is_suite

_BESIDE_A_PLAN = {"plan", "on", "quiet", "output_format"}


@with_recipe_values
def run(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(help=TaskOrSuite, show_default=False)] = None,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help=Model)] = None,
    language: Languages = None,
    train_language: TrainLanguage = None,
    seed: Seeds = None,
    recipe: RecipeName = None,
    sweep: Sweep = None,
    no_train: NoTrain = False,
    seeds_of: Annotated[
        str | None,
        typer.Option(
            "--seeds-of",
            metavar="NAME",
            help="With --no-train: the models are seeds of one training, called NAME; --seed numbers them.",
        ),
    ] = None,
    every_checkpoint: EveryCheckpoint = False,
    keep_weights: KeepWeights = False,
    data: Data = None,
    bundle: Bundle = None,
    results: Results = Path("results"),
    max_train: MaxTrain = None,
    max_eval: MaxEval = None,
    test_split: TestSplit = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tasks_dir: TasksDirs = None,
    on: On = Where.local,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Make the runs of this file, which xeval plan wrote, and no others.")
    ] = None,
    quiet: Quiet = False,
    output_format: HowToShow = OutcomeFormat.terminal,
    overrides: dict[str, Any] | None = None,
) -> None:
    """Fine-tune models on a task's training language and evaluate them in all its languages.

    For a suite, on each of its tasks that there are rows for; exits with 1 if there are tasks without.
    """
    if plan is not None:
        _refuse_beside_a_plan(context)
        from xeval.runs.plan import read_plan  # takes seconds: torch and transformers

        read = read_plan(plan)
        make(read, engine_of(on, read.runs[0].request.device, read.results, quiet), quiet, output_format)
        return
    if task is None or not model:
        missing = "TASK" if task is None else "--model"
        raise typer.BadParameter(f"{missing} is missing; wanted a task and a model, as in xeval run xnli --model mbert")
    languages, seeds, to_try = words(language), numbers(seed), values_to_try(sweep)
    from xeval.support.progress import reporter

    options: dict[str, Any] = {
        "languages": languages,
        "train_language": train_language,
        "seeds": seeds,
        "overrides": overrides or {},
        "sweep": to_try,
        "train": not no_train,
        "every_checkpoint": every_checkpoint,
        "keep_weights": keep_weights,
        "seeds_of": seeds_of,
        "data": data,
        "results": results,
        "max_train": max_train,
        "max_eval": max_eval,
        "test_split": test_split,
        "device": device,
        "dtype": dtype,
        "tasks_dirs": tasks_dir or (),
        "reporter": reporter(quiet),
    }
    takes_turns = on is Where.local and bool(sweep or seeds_of or no_train)
    if bundle is None:  # which may have names of its own
        check_names(task, model, languages, recipe, tasks_dir or ())
    with loading(quiet):
        shared_out = is_shared_out(on, device)
    if shared_out and not takes_turns:
        from xeval.runs.plan import plan_grid

        engine, elsewhere = engine_of(on, device, results, quiet), on is not Where.local
        made = plan_grid(task, model, recipe=recipe, bundle=bundle, elsewhere=elsewhere, **options)
        make(made, engine, quiet, output_format)
        return
    with using(bundle):
        from xeval.runs import grid

        if is_suite(task, tasks_dir or ()):
            from xeval.runs.suite import run_suite

            outcome = run_suite(task, model, recipe=recipe, **options)
            return show_suite(outcome.runs, outcome.skipped, task, output_format, results, tasks_dir or (), quiet)
        table = table_of(task, tasks_dir or ())
        runs = grid.run_grid(task, [(name, recipe) for name in model], **options)
        show_outcome(runs, table, output_format, results, tasks_dirs=tasks_dir or ())


def _refuse_beside_a_plan(context: typer.Context) -> None:
    """A plan has the values of all other options."""
    for name in context.params.keys() - _BESIDE_A_PLAN:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "TASK" if name == "task" else f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"{option}: --plan says what is run, and how; leave out one of the two")
