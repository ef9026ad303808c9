"""`xeval rank`: many models on the same test rows: which ones differ, and which ranks each can have."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Languages, Results, words
from xeval.cli.screen import screen, write
from xeval.report import from_folder
from xeval.support.errors import XevalError


class Format(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    html = "html"
    csv = "csv"
    json = "json"


_BY_SUFFIX = {".md": Format.markdown, ".html": Format.html, ".csv": Format.csv, ".json": Format.json}


def rank(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Folders of runs or models' names in --results, as in compare; default: all models of the task.",
        ),
    ] = None,
    results: Results = Path("results"),
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Task; default: the only one in the folder.")
    ] = None,
    language: Languages = None,
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="Default: by the extension of --output, or the terminal without it."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write; default: standard output.")
    ] = None,
) -> None:
    """Rank models scored on the same rows: which ones differ, the ranks each can have, and what would settle the rest.

    Two models differ if the choice of test rows and seeds does not explain their difference, at 5 % for all pairs
    together.
    """
    from xeval.report.comparison import ranking as shown

    chosen = output_format or _format_of(output)
    ranking = from_folder.rank(models or (), results=results, task=task, languages=words(language))
    if chosen is Format.terminal:
        return shown.show(ranking, screen())
    writers = {
        Format.markdown: shown.markdown,
        Format.html: shown.html,
        Format.csv: shown.as_csv,
        Format.json: shown.as_json,
    }
    text = writers[chosen](ranking)
    write(text, output)


def _format_of(output: Path | None) -> Format:
    if output is None:
        return Format.terminal
    if output.suffix.lower() not in _BY_SUFFIX:
        known = ", ".join(_BY_SUFFIX)
        raise XevalError(f"{output}: wanted a name that ends in {known}, got {output.suffix!r}; or add --format")
    return _BY_SUFFIX[output.suffix.lower()]
