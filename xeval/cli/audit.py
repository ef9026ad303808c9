"""`xeval audit`: decide on a fine-tuned checkpoint's claimed score, on as few rows as that takes."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from xeval.cli.options import Bundle, Data, Device, Dtype, HowToShow, OutcomeFormat, Quiet, TasksDirs
from xeval.cli.screen import loading, say, write
from xeval.data.bundle import using
from xeval.definitions.registry import check_names
from xeval.judging.verdict import Tolerance


def audit(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Name or path of a task.")],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="Fine-tuned checkpoint: hub id (id@revision pins it) or folder."
        ),
    ],
    language: Annotated[str, typer.Option("--language", "-l", metavar="LANGUAGE", help="Language code, such as ur.")],
    claimed: Annotated[
        float, typer.Option("--claimed", min=0, max=100, metavar="SCORE", help="The claimed score, in %.")
    ],
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", min=0.01, max=100, metavar="POINTS", help="Points by which the score may differ."),
    ] = Tolerance.cell,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, metavar="SEED", help="Seed of the order of rows; printed.")
    ] = None,
    data: Data = None,
    bundle: Bundle = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tasks_dir: TasksDirs = None,
    quiet: Quiet = False,
    output_format: HowToShow = OutcomeFormat.terminal,
) -> None:
    """Check a claimed score on rows in random order until it is confirmed or refuted; exits with 1 if refuted.

    Trains nothing and writes nothing. A true claim is refuted in at most 5 % of audits, and a false one confirmed in at
    most 5 %.
    """
    if bundle is None:  # a bundle may have names of its own
        check_names(task, [model], [language], tasks_dirs=tasks_dir or ())
    with loading(quiet):
        from xeval.runs.audit import SEED
        from xeval.runs.audit import audit as audit_claim
    from xeval.support.progress import reporter

    with using(bundle):
        result = audit_claim(
            task,
            model,
            language,
            claimed / 100,
            tolerance=tolerance / 100,
            seed=SEED if seed is None else seed,
            data=data,
            device=device,
            dtype=dtype,
            tasks_dirs=tasks_dir or (),
            reporter=reporter(quiet),
        )
    if output_format is OutcomeFormat.json:
        content = asdict(result) | {"conclusion": result.conclusion}
        write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    else:
        say(result.conclusion)
        say(f"Rows were drawn in random order, seed {result.seed}; the probability of a wrong outcome is at most 5 %.")
    if result.looked.outcome == "refuted":
        raise typer.Exit(1)
