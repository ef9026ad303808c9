"""`xeval bless`: make results the baseline for later ones."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Results
from xeval.results.named_models import runs_in
from xeval.support.text import counted, numbered, one_decimal


def bless(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Baseline file to write, as TOML.")],
    results: Results = Path("results"),
) -> None:
    """Write a baseline of all runs in a results folder, for you to review and commit; `xeval check` reads it."""
    from xeval.judging.gate import baseline
    from xeval.judging.gate.bless import bless as make_baseline

    blessed = make_baseline(runs_in(results))
    baseline.write(output, blessed)
    for configuration in blessed.configurations:
        seeds = numbered("seeds", configuration.seeds) if configuration.trained else "without training"
        print(
            f"{configuration.name}: mean {one_decimal(configuration.mean_percent)} % over"
            f" {counted(len(configuration.languages), 'languages')}, {seeds}"
        )
    print(
        f"Blessed in {output}: review it, commit it, and compare later runs with: xeval check --baseline"
        f" {shlex.quote(str(output))}"
    )
