"""`xeval check-submission`: whether somebody else's results folder can go onto a leaderboard."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Data, TasksDirs
from xeval.cli.screen import say
from xeval.definitions.registry import all_tasks
from xeval.support.text import counted


def check_submission(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The submitted results folder.")],
    data: Data = None,
    tasks_dir: TasksDirs = None,
) -> None:
    """Check a submitted results folder: its files, its names, and its scores against the predictions.

    Prints a line for each problem, and exits with 1 if there is one. If the task's data are available, also compares
    the predictions with its rows.
    """
    from xeval.checks.submission import check  # scipy

    submission = check(folder, all_tasks(tasks_dir or ()), data)
    for problem in submission.problems:
        say(f"✗ {problem}")
    if submission.problems:
        where = f" in {counted(submission.n_runs, 'runs')}" if submission.n_runs else "; no run was checked"
        say(f"{counted(len(submission.problems), 'problems')}{where}")
        raise typer.Exit(1)
    without = (
        f"; not compared with the rows of {', '.join(sorted(submission.without_rows))}"
        if submission.without_rows
        else ""
    )
    say(f"✓ {counted(submission.n_runs, 'runs')}, {counted(submission.n_scores, 'scores')}: nothing wrong{without}")
