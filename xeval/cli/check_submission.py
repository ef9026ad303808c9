"""`xeval check-submission`: whether a results folder of somebody else can go onto a leaderboard."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Data, TasksDirs
from xeval.cli.screen import say
from xeval.definitions.registry import all_tasks
from xeval.support.text import counted


def check_submission(
    folder: Annotated[Path, typer.Argument(help="The results folder that was handed in.")],
    data: Data = None,
    tasks_dir: TasksDirs = None,
) -> None:
    """Check a results folder that somebody hands in: its files, its names, and its scores from the predictions.

    A line for each problem; exits with 1 if there is one. With the task's data at hand, predictions are compared with
    its rows too.
    """
    from xeval.checks.submission import check  # scipy

    submission = check(folder, all_tasks(tasks_dir or ()), data)
    for problem in submission.problems:
        say(f"✗ {problem}")
    if submission.problems:
        say(f"{counted(len(submission.problems), 'problems')} in {counted(submission.n_runs, 'runs')}")
        raise typer.Exit(1)
    without = (
        f"; not compared with the rows of {', '.join(sorted(submission.without_rows))}"
        if submission.without_rows
        else ""
    )
    say(f"✓ {counted(submission.n_runs, 'runs')}, {counted(submission.n_scores, 'scores')}: nothing wrong{without}")
