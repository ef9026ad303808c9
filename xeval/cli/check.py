"""`xeval check`: the gate, which exits with 1 if results are worse than a baseline or cannot be compared with it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Results
from xeval.cli.screen import screen
from xeval.judging.gate.findings import Outcome, Thresholds
from xeval.report import from_folder
from xeval.support.files import write_output

_UNEXPLAINED = "may fall, even if chance cannot explain the drop"


def check(
    baseline: Annotated[Path, typer.Option("--baseline", metavar="FILE", help="File written by `xeval bless`.")],
    results: Results = Path("results"),
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            metavar="POINTS",
            min=0,
            max=100,
            help=f"Points by which a language's score {_UNEXPLAINED}.",
        ),
    ] = Thresholds.cell,
    mean_threshold: Annotated[
        float,
        typer.Option(
            "--mean-threshold",
            metavar="POINTS",
            min=0,
            max=100,
            help=f"Points by which the mean {_UNEXPLAINED}.",
        ),
    ] = Thresholds.mean,
    throughput_threshold: Annotated[
        float,
        typer.Option(
            "--throughput-threshold",
            metavar="SHARE",
            min=0,
            max=1,
            help="Lowest speed allowed, as a share of the blessed speed.",
        ),
    ] = Thresholds.throughput,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML to this file.")] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON to this file.")
    ] = None,
    github: Annotated[
        bool, typer.Option("--github", metavar="", help="Print GitHub annotations and add to $GITHUB_STEP_SUMMARY.")
    ] = False,
) -> None:
    """Fail if results fall below a baseline by more than thresholds and chance allow, or cannot be compared."""
    outcome = from_folder.check(baseline, results, Thresholds(threshold, mean_threshold, throughput_threshold))
    _show(outcome, github)
    if junit is not None:
        from xeval.report.gate import junit as junit_xml

        write_output(junit, junit_xml.render(outcome).encode())
    if json is not None:
        from xeval.report.gate import json as gate_json

        write_output(json, gate_json.render(outcome).encode())
    if github and (summary := os.environ.get("GITHUB_STEP_SUMMARY")):
        from xeval.report.gate import summary as gate_summary
        from xeval.report.gate.github import append_summary

        append_summary(Path(summary), gate_summary.render(outcome))
    if not outcome.passed:
        raise typer.Exit(1)


def _show(outcome: Outcome, github: bool) -> None:
    from xeval.report.gate import github as github_commands
    from xeval.report.gate import terminal as gate_terminal

    if not github:
        gate_terminal.show(outcome, screen())
        return
    with github_commands.commands_stopped():
        gate_terminal.show(outcome, screen())
    print("\n".join(github_commands.annotations(outcome)))
