"""`xeval bundle`: everything that reproducing a published table reads, in one file for machines without a network."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Quiet
from xeval.cli.screen import loading
from xeval.definitions.registry import check_names, get_reference


def bundle(
    reference: Annotated[str, typer.Argument(metavar="TABLE", help="Name or path of a published table.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write.")] = Path("bundle.tar"),
    quiet: Quiet = False,
) -> None:
    """Pack a published table, its task, recipes, data and models into one file, each at a pinned commit."""
    table = get_reference(reference)
    check_names(table.task, [row.model for row in table.rows])
    with loading(quiet):
        from xeval.runs.make_bundle import make_bundle

    contents = make_bundle(reference, output, draws_bars=not quiet and sys.stderr.isatty())
    for repository in contents.repositories:
        print(f"{repository.kind:7}  {repository.commit}  {repository.id}")
    print(f"{output}: {output.stat().st_size / 1e6:,.1f} MB; data and models in it keep their own licences")
    print(f"To use it without a network: xeval reproduce {contents.reference} --bundle {shlex.quote(str(output))}")
