"""`xeval probe`: how surprised a masked language model is by each language, and how that correlates with transfer."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.options import Data, Device, Dtype, Languages, Quiet, Results, TasksDirs, words
from xeval.cli.screen import loading, screen, write
from xeval.definitions.registry import check_names


class Format(StrEnum):
    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"
    json = "json"


class MaskingName(StrEnum):
    word_l2r = "word-l2r"
    piece = "piece"


def probe(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Alias, hub id (id@revision pins it) or folder.")],
    task: Annotated[
        str, typer.Option("--task", metavar="TASK", help="Task whose test sentences are read: name or path.")
    ] = "xnli",
    text: Annotated[
        str | None,
        typer.Option(
            "--text", metavar="NAME", help="Which text of a row to read; default: the first, such as the premise."
        ),
    ] = None,
    language: Languages = None,
    masking: Annotated[
        MaskingName, typer.Option("--masking", help="Mask a piece and those after it in its word, or the piece alone.")
    ] = MaskingName.word_l2r,
    max_rows: Annotated[
        int,
        typer.Option("--max-rows", min=1, metavar="N", help="Number of sentences in each language, drawn at random."),
    ] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="SEED", help="Seed of the random draw.")] = 0,
    data: Data = None,
    results: Results = Path("results"),
    output_format: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(Format)}.")
    ] = Format.terminal,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tasks_dir: TasksDirs = None,
    quiet: Quiet = False,
) -> None:
    """Measure how well a masked language model predicts a task's sentences, and correlate that with its transfer.

    The checkpoint must still have its masked-LM head. Transfer is what its finished runs in --results scored.
    """
    check_names(task, [model], words(language), tasks_dirs=tasks_dir or ())
    with loading(quiet):
        from xeval.report import probe as probe_report
        from xeval.runs.probe import probe as probe_model
    from xeval.support.progress import reporter

    result = probe_model(
        model,
        task,
        text=text,
        languages=words(language),
        masking=masking,
        max_rows=max_rows,
        seed=seed,
        data=data,
        results=results,
        device=device,
        dtype=dtype,
        tasks_dirs=tasks_dir or (),
        reporter=reporter(quiet),
    )
    if output_format is Format.terminal:
        probe_report.show(result, screen())
        return
    render = {
        Format.markdown: probe_report.markdown,
        Format.csv: probe_report.as_csv,
        Format.json: probe_report.as_json,
    }[output_format]
    write(render(result))
