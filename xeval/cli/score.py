"""`xeval score`: predictions computed elsewhere → a run like any other."""

from pathlib import Path
from typing import Annotated, Any

import typer

from xeval.cli.options import (
    Bundle,
    Data,
    HowToShow,
    Languages,
    OutcomeFormat,
    Quiet,
    Results,
    TasksDirs,
    TestSplit,
    words,
)
from xeval.cli.outcome import show_outcome, show_suite
from xeval.cli.screen import loading, screen
from xeval.data.bundle import using
from xeval.definitions.registry import check_names, get_task, is_suite
from xeval.definitions.toml import Printed
from xeval.judging.forensics import definitions
from xeval.report.definitions import show

MOST_DECIMALS = 10


def score(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Name or path of a task or suite.")],
    predictions: Annotated[
        Path,
        typer.Option(
            "--predictions",
            "-p",
            metavar="PATH",
            help="File, or folder with a file for each language; for a suite, a folder of such folders.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="Model that made them: alias or hub id for verdicts, or any name."
        ),
    ],
    language: Languages = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="SEED", help="Which of several training runs made them.")
    ] = 0,
    data: Data = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="PATH", help="The right answers, in the form of predictions, instead of --data."
        ),
    ] = None,
    bundle: Bundle = None,
    results: Results = Path("results"),
    test_split: TestSplit = None,
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="SCORE",
            help="Published number, in %: show which metric over which languages gives it.",
        ),
    ] = None,
    tasks_dir: TasksDirs = None,
    quiet: Quiet = False,
    output_format: HowToShow = OutcomeFormat.terminal,
) -> None:
    """Score predictions computed elsewhere, and compare them with the published table.

    The language of a file is in its name (test-de.tsv) or in a column named language. Rows are matched by id, by number
    from 0, or by order if there are as many predictions as rows. For a suite, the folder holds a folder for each task,
    like a submission to XTREME; exits with 1 if one is missing or cannot be scored.
    """
    languages, published = words(language), _printed(explain)
    from xeval.support.progress import reporter

    options: dict[str, Any] = {
        "model": model,
        "seed": seed,
        "languages": languages,
        "data": data,
        "labels": labels,
        "results": results,
        "test_split": test_split,
        "tasks_dirs": tasks_dir or (),
        "reporter": reporter(quiet),
    }
    with using(bundle):
        if is_suite(task, tasks_dir or ()):
            if published is not None:
                raise typer.BadParameter(f"--explain: wanted one task, got the suite {task}")
            with loading(quiet):
                from xeval.runs.suite import score_suite

            outcome = score_suite(task, predictions, **options)
            runs, skipped = outcome.runs, outcome.skipped
            show_suite(runs, skipped, task, output_format, results, tasks_dir or (), quiet, "scored")
            return
        check_names(task, languages=languages, tasks_dirs=tasks_dir or ())
        with loading(quiet):
            from xeval.runs.score_given import score_given

        run = score_given(task, predictions, **options)
        definition = get_task(task, tasks_dir or ())
        show_outcome([run], definition.default_reference, output_format, results, tasks_dirs=tasks_dir or ())
        if published is not None:
            show(definitions([run], definition), published, screen())


def _printed(explain: str | None) -> Printed | None:
    """Parse the published number to explain, as it is printed."""
    if explain is None:
        return None
    try:
        published = Printed(explain)
        inside = 0 <= published <= 100 and published.decimals < MOST_DECIMALS
    except (ValueError, ArithmeticError):
        inside = False
    if not inside:
        raise typer.BadParameter(f"--explain: wanted a number in %, as in 73.8, got {explain!r}")
    return published
