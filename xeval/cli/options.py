"""Options that several commands share, and how their values are parsed."""

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Subject = Annotated[
    str | None,
    typer.Argument(
        metavar="TASK",
        help="Name or path of a task or suite, or path of a grid file.",
        show_default=False,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Alias, hub id (id@revision pins it), folder, or NAME=FOLDER; repeatable.",
    ),
]
Results = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Folder of records and predictions.", show_default=True)
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="XEVAL_DATA",
        metavar="DIR",
        help="Local copy of the data, in the hub, XNLI-1.0 or XTREME layout.",
    ),
]
Bundle = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="FILE", help="File made by xeval bundle; nothing is fetched and no network is needed."
    ),
]
Languages = Annotated[
    list[str] | None,
    typer.Option("--language", "-l", metavar="LANGUAGES", help="Language codes, such as es,zh; default: all."),
]
LanguagesToRun = Annotated[
    list[str] | None,
    typer.Option(
        "--language",
        "-l",
        metavar="LANGUAGES",
        help="Language codes, such as es,zh; the training language is added, but not in a suite. Default: all.",
    ),
]
RecipeName = Annotated[
    str | None, typer.Option("--recipe", metavar="RECIPE", help="Recipe name or path; default: the task's.")
]
ReferenceName = Annotated[
    str | None,
    typer.Option("--reference", metavar="TABLE", help="Published table, by name or path; default: the task's."),
]
TrainLanguage = Annotated[
    str | None,
    typer.Option(
        "--train-language", metavar="LANGUAGE", help="Train on this language, if the task has training rows in it."
    ),
]
Seeds = Annotated[
    list[str] | None, typer.Option("--seed", metavar="SEEDS", help="Seeds, such as 1,2,3 or 1-5; repeatable.")
]
MaxTrain = Annotated[int | None, typer.Option("--max-train", metavar="N", help="Use only the first N training rows.")]
MaxEval = Annotated[
    int | None,
    typer.Option("--max-eval", metavar="N", help="Evaluate only N test rows of each language, drawn evenly."),
]
TestSplit = Annotated[
    str | None,
    typer.Option(
        "--test-split", metavar="SPLIT", help="Evaluate on this split instead, such as dev; gives no verdicts."
    ),
]
Sweep = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="KEY=VALUE,VALUE",
        help="Try these recipe values and choose on the training language's dev rows; repeat to try all combinations.",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[str, typer.Option("--dtype", metavar="DTYPE", help="auto, float32 or bfloat16.")]
EveryCheckpoint = Annotated[
    bool,
    typer.Option(
        "--every-checkpoint",
        metavar="",
        help="Also evaluate the checkpoints that are not chosen, for compare --selection.",
    ),
]
KeepWeights = Annotated[
    bool,
    typer.Option(
        "--keep-weights", metavar="", help="Keep fine-tuned weights in the run's folder, so they travel with it."
    ),
]
NoTrain = Annotated[bool, typer.Option("--no-train", metavar="", help="Evaluate a fine-tuned checkpoint as it is.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", metavar="", help="Print the plan and stop: nothing is fetched or trained.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Show no progress on standard error.")]
TasksDirs = Annotated[
    list[Path] | None,
    typer.Option("--tasks-dir", metavar="DIR", help="Folder with further task files (also XEVAL_TASKS); repeatable."),
]

_POINTS = "Points of difference allowed"
CellTolerance = Annotated[
    float, typer.Option("--tolerance", min=0.01, max=100, metavar="POINTS", help=f"{_POINTS} in a language.")
]
MeanTolerance = Annotated[
    float, typer.Option("--mean-tolerance", min=0.01, max=100, metavar="POINTS", help=f"{_POINTS} in the mean.")
]

_MOST_DIGITS, _MOST_SEEDS = 19, 1_000


class Where(StrEnum):
    local = "local"
    ray = "ray"
    slurm = "slurm"


class Logger(StrEnum):
    tensorboard = "tensorboard"
    wandb = "wandb"
    trackio = "trackio"


LogTo = Annotated[
    list[Logger] | None,
    typer.Option(
        "--log-to", metavar="LOGGER", help="Also log steps and scores with tensorboard, wandb or trackio; repeatable."
    ),
]
On = Annotated[
    Where,
    typer.Option(
        "--on",
        help="Where to run: local, one run on each GPU of this machine; ray, a Ray cluster; slurm, a job array.",
    ),
]


class OutcomeFormat(StrEnum):
    terminal = "terminal"
    json = "json"


HowToShow = Annotated[OutcomeFormat, typer.Option("--format", help="A table, or the records as JSON.")]


def words(values: list[str] | None) -> list[str]:
    """Split the values of an option that may be repeated, comma-separated, or both."""
    return [word.strip() for value in values or [] for word in value.split(",") if word.strip()]


def numbers(values: list[str] | None) -> list[int]:
    """Split the values of --seed in the same way into whole numbers from 0; 1-5 stands for five of them."""
    seeds = list[int]()
    for word in words(values):
        ends = word.split("-")
        if not 1 <= len(ends) <= 2 or not all(end.isdecimal() and len(end) <= _MOST_DIGITS for end in ends):
            raise typer.BadParameter(f"--seed: wanted whole numbers, as in 1,2,3 or 1-5, got {word!r}")
        first, last = int(ends[0]), int(ends[-1])
        if not first <= last < first + _MOST_SEEDS:
            raise typer.BadParameter(f"--seed: wanted at most {_MOST_SEEDS:,} seeds in ascending order, got {word!r}")
        seeds += range(first, last + 1)
    return seeds


def values_to_try(options: list[str] | None) -> dict[str, list[float | str]]:
    """Parse the values of --sweep, by key; those that are numbers become numbers."""
    sweep: dict[str, list[float | str]] = {}
    for option in options or []:
        key, _, values = option.partition("=")
        key = key.strip().replace("-", "_")
        if not key or not words([values]):
            raise typer.BadParameter(f"--sweep: wanted KEY=VALUE,VALUE as in learning_rate=1e-5,2e-5, got {option!r}")
        if key in sweep:
            raise typer.BadParameter(f"--sweep: {key} is given twice; give all its values in one, separated by commas")
        sweep[key] = [_number(word) for word in words([values])]
    return sweep


def _number(word: str) -> float | str:
    for number in (int, float):
        with suppress(ValueError):
            return number(word)
    return word
