"""`xeval doctor`: find out before a run what could make it worthless."""

from typing import Annotated

import typer

from xeval.cli.options import Bundle, Data, Device, Dtype, Languages, RecipeName, TasksDirs, TestSplit, words
from xeval.cli.screen import loading, say
from xeval.data.bundle import using
from xeval.definitions.registry import check_names


def doctor(
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Task name or path; without it, only the machine is checked.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="Alias, hub id (id@revision pins it) or folder; repeatable."
        ),
    ] = None,
    language: Languages = None,
    recipe: RecipeName = None,
    no_train: Annotated[
        bool,
        typer.Option("--no-train", metavar="", help="Check fine-tuned checkpoints, to be evaluated as they are."),
    ] = False,
    test_split: TestSplit = None,
    data: Data = None,
    bundle: Bundle = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tasks_dir: TasksDirs = None,
) -> None:
    """Check the machine, rows and tokenizers before a run: one line for each check, and how to fix what is wrong.

    Exits with 1 if something would make the run worthless (✗); warnings (!) alone exit with 0.
    """
    languages = words(language)
    of_task = {"--model": model, "--language": languages, "--recipe": recipe, "--test-split": test_split}
    for option, value in (of_task | {"--no-train": no_train}).items():
        if value and task is None:
            raise typer.BadParameter(f"{option}: wanted a task as well, as in: xeval doctor xnli")
    with using(bundle):
        if task is not None:
            check_names(task, model or [], languages, recipe, tasks_dir or ())
        with loading():
            from xeval.runs import preflight
        findings = preflight.doctor(
            task,
            model or [],
            languages=languages,
            recipe=recipe,
            train=not no_train,
            test_split=test_split,
            data=data,
            device=device,
            dtype=dtype,
            tasks_dirs=tasks_dir or (),
        )
    for subject, finding in findings:
        say(f"{subject}: {finding.line}")
    if any(finding.severity == "error" for _, finding in findings):
        raise typer.Exit(1)
