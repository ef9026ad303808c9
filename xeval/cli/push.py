"""`xeval push`: a model's results to its repository on the hub, as a pull request."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xeval.cli.options import ReferenceName, Results, TasksDirs

if TYPE_CHECKING:
    from xeval.report.push import Change, Push


def push(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name in --results.")],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="ORGANISATION/NAME", help="Repository; default: the model's own."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Task; default: every task that the model has runs on.")
    ] = None,
    reference: ReferenceName = None,
    yes: Annotated[
        bool, typer.Option("--yes", metavar="", help="Push; without this option, only show what would be pushed.")
    ] = False,
    on_main: Annotated[
        bool, typer.Option("--main", metavar="", help="Commit to the branch main instead of opening a pull request.")
    ] = False,
    results: Results = Path("results"),
    tasks_dir: TasksDirs = None,
) -> None:
    """Push a model's results to its repository on the hub: records, `.eval_results` and a section of its card.

    Without --yes, only lists the files and shows what would change in them.
    """
    from xeval.data.hub import show_bars
    from xeval.report import push as pushing
    from xeval.results.named_models import runs_in

    show_bars(False)  # files are small, and bars would clutter what is printed
    planned = pushing.plan(runs_in(results, task, model), to, reference, tasks_dir or ())
    _show(planned)
    way = "a commit on main" if on_main else "a pull request"
    if not planned.changes:
        print("nothing to push: the repository has all of it already")
    elif yes:
        print(f"pushed as {way}: {planned.send(on_main)}")
    else:
        print(f"nothing was pushed; --yes pushes this as {way}")


def _show(planned: "Push") -> None:
    from xeval.report.push import FOLDER
    from xeval.support.text import legible, one_line

    for change in planned.changes:
        if not change.path.startswith(f"{FOLDER}/"):
            print(*map(legible, _difference(change)), sep="\n", end="\n\n")
    print(one_line(f"{planned.repo_id} at {planned.parent[:12]}: {planned.message}"))
    for change in planned.changes:
        state = "new" if change.before is None else "changed"
        print(one_line(f"{state} {change.path}: {len(change.after):,} bytes"))
    for note in planned.notes:
        print(one_line(note))


def _difference(change: "Change") -> list[str]:
    from difflib import unified_diff

    before, after = ((text or b"").decode(errors="replace").splitlines() for text in (change.before, change.after))
    old = "(nothing)" if change.before is None else f"{change.path} (now)"
    return list(unified_diff(before, after, old, change.path, lineterm=""))
