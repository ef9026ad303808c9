"""`xeval compare`: is B better than A on the same test rows, and where?"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from xeval.cli.options import Results, TasksDirs
from xeval.cli.screen import screen, write
from xeval.definitions.registry import all_tasks

_WHAT = "folder of a run, a model or results, or a model's name in --results; :key=value chooses among its runs"


class Format(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    json = "json"


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"First side: {_WHAT}.")],
    b: Annotated[
        str | None, typer.Argument(metavar="B", show_default=False, help="Second side, named in the same way.")
    ] = None,
    results: Results = Path("results"),
    selection: Annotated[
        bool,
        typer.Option(
            "--selection",
            metavar="",
            help="Without B: compare A's checkpoints by English dev, last and oracle, after run --every-checkpoint.",
        ),
    ] = False,
    retention: Annotated[
        bool,
        typer.Option(
            "--retention", metavar="", help="Show what the student B keeps of its teacher A, language by language."
        ),
    ] = False,
    flips: Annotated[
        str | None, typer.Option("--flips", metavar="LANGUAGE", help="Show the rows that only one side gets right.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="XEVAL_DATA",
            metavar="DIR",
            help="Local copy of the data, so that --flips shows the sentences.",
        ),
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.terminal,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="SEED", help="Seed of the resampling; recorded.")
    ] = None,
    tasks_dir: TasksDirs = None,
) -> None:
    """Compare B with A on the same test rows: differences with intervals, tests, and a conclusion."""
    # They load pyarrow and scipy, which --help need not wait for.
    from xeval.judging.comparison.compare import compare as compare_runs
    from xeval.judging.comparison.flips import flipped_rows
    from xeval.judging.comparison.named_runs import find_runs
    from xeval.judging.comparison.paired_runs import pair
    from xeval.judging.comparison.resampling import SEED
    from xeval.judging.comparison.retention import retention as kept
    from xeval.judging.comparison.selection import compare_selection, load_selection
    from xeval.report.comparison import retention as retention_report
    from xeval.report.comparison import runs as comparison_report
    from xeval.report.comparison import selection as selection_report

    if retention and b is None:
        raise typer.BadParameter("--retention: wanted a student B as well as the teacher A")
    if selection and b is not None:
        raise typer.BadParameter("--selection compares the checkpoints of A with each other; leave out B")
    if not selection and b is None:
        raise typer.BadParameter("Missing argument 'B'; --selection needs none")
    seed = SEED if seed is None else seed
    runs = find_runs(a, results)
    comparison: Any
    show: Any  # both kinds of comparison are shown alike
    if b is None:
        chosen = load_selection(runs)
        paired, comparison, show = chosen.pair, compare_selection(chosen, seed), selection_report
    else:
        students = find_runs(b, results)
        paired = pair(runs, students)
        if retention:
            comparison, show = kept(paired, runs, students, seed), retention_report
        else:
            comparison, show = compare_runs(paired, seed), comparison_report
    shown = None
    if flips is not None:
        shown = flipped_rows(paired, flips, all_tasks(tasks_dir or []).get(paired.task), data)
    if output_format is Format.json:
        write(show.as_json(comparison, shown))
    elif output_format is Format.markdown:
        write(show.markdown(comparison, shown))
    else:
        show.show(comparison, shown, screen())
