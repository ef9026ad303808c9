"""`xeval bless`: make results the baseline that later ones are checked against."""

from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Results, TasksDirs
from xeval.cli.runs import runs_in
from xeval.definitions.registry import all_tasks


def bless(
    output: Annotated[Path, typer.Option("--output", "-o", help="The baseline file to write, as TOML.")],
    results: Results = Path("results"),
    tasks_dir: TasksDirs = None,
) -> None:
    """Write a baseline of all runs in a results folder, to be reviewed and committed; `xeval check` reads it."""
    from xeval.judging.gate import baseline
    from xeval.judging.gate.bless import bless as make_baseline

    records = [record for _, record in runs_in(results)]
    n_labels = {task.name: len(task.labels) for task in all_tasks(tasks_dir or []).values()}
    blessed = make_baseline(records, n_labels)
    baseline.write(output, blessed)
    for configuration in blessed.configurations:
        print(
            f"{configuration.name}: mean {configuration.mean_percent:.1f} % over {len(configuration.languages)}"
            f" languages, seeds {', '.join(map(str, configuration.seeds))}"
        )
    print(f"Blessed in {output}: review it, commit it, and compare later runs with: xeval check --baseline {output}")
