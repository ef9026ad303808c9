"""`xeval site`: results folders → a leaderboard of static pages."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import TasksDirs
from xeval.definitions.registry import all_references, all_tasks
from xeval.results.named_models import runs_in
from xeval.support.text import counted, one_line


def site(
    results: Annotated[list[Path], typer.Argument(metavar="DIR", help="One or more results folders.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder for the pages: new, empty, or with an earlier leaderboard."
        ),
    ],
    tasks_dir: TasksDirs = None,
) -> None:
    """Write a leaderboard of tasks, models and languages as static pages that need no server.

    Writes an overview page, a page for each model and a page for each language.
    """
    runs = [run for folder in results for run in runs_in(folder)]
    from xeval.report.site import boards, pages  # scipy

    built = boards.build(runs, all_tasks(tasks_dir or ()), all_references())
    n_pages = pages.write(built, output)
    print(one_line(f"{counted(built.n_runs, 'runs')} on {counted(n_pages, 'pages')}: {output / pages.INDEX}"))
