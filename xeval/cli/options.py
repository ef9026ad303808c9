"""Options that several commands share, and the shapes of their values."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option("--results", help="Folder of records and predictions.", show_default=True)]
Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="XEVAL_DATA", help="Local copy of the data: hub, XNLI-1.0 or XTREME layout."),
]
Bundle = Annotated[
    Path | None, typer.Option("--bundle", help="File that xeval bundle made; nothing is fetched, no network is needed.")
]
Languages = Annotated[list[str] | None, typer.Option("--language", "-l", help="Codes, as in es,zh; default: all.")]
RecipeName = Annotated[str | None, typer.Option("--recipe", help="Recipe name or path; default: the task's.")]
ReferenceName = Annotated[
    str | None, typer.Option("--reference", help="Published table, by name or path; default: the task's.")
]
Seeds = Annotated[list[str] | None, typer.Option("--seed", help="Seed; repeat it or separate by commas.")]
MaxTrain = Annotated[int | None, typer.Option("--max-train", help="Train on the first so many rows.")]
MaxEval = Annotated[int | None, typer.Option("--max-eval", help="Evaluate the first so many rows of each language.")]
TestSplit = Annotated[
    str | None,
    typer.Option("--test-split", help="Evaluate on this split instead, for instance dev; no verdicts then."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32 or bfloat16.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
TasksDirs = Annotated[
    list[Path] | None, typer.Option("--tasks-dir", help="Folder with further task files (also XEVAL_TASKS).")
]


class OutcomeFormat(StrEnum):
    terminal = "terminal"
    json = "json"


HowToShow = Annotated[OutcomeFormat, typer.Option("--format", help="A table, or the records as JSON.")]


def words(values: list[str] | None) -> list[str]:
    """The values of an option that may be repeated, comma-separated, or both."""
    return [word.strip() for value in values or [] for word in value.split(",") if word.strip()]


def numbers(values: list[str] | None) -> list[int]:
    """The same for whole numbers from 0."""
    for word in words(values):
        if not word.isdecimal():
            raise typer.BadParameter(f"--seed: wanted whole numbers, got {word!r}")
    return [int(word) for word in words(values)]
