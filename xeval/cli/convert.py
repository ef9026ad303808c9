"""`xeval convert`: pickled weights → safetensors, without running code in the pickle."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from xeval.cli.screen import loading, say


def convert(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder, alias or hub id (id@revision pins it) of a pickled model.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder to write to.")],
) -> None:
    """Convert a model's pickled weights to safetensors, and add tokenizer.json if it is missing, for --model DIR.

    Reads only numbers, in a process with limits and without network; a file that holds anything else is refused.
    """
    with loading():
        from xeval.data.model_files import find_pickled
        from xeval.engine.convert import convert as convert_model

    conversion = convert_model(find_pickled(model), folder)
    if conversion.n_tensors is not None:
        say(f"{conversion.n_tensors:,} tensors written as safetensors, with unchanged values")
    if conversion.made_tokenizer:
        say("tokenizer.json made; it splits samples in eight scripts as the vocabulary does")
    say(f"Use it with: --model {shlex.quote(str(folder))}")
