"""Where commands print their tables and lines."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

from xeval.support.files import write_output
from xeval.support.garbage import without_collection
from xeval.support.text import one_line

_WIDER_THAN_ANY_TABLE = 10_000  # columns


def screen() -> Console:
    """Return a console for standard output. Lines are folded at a terminal's width, but never in a pipe or file."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDER_THAN_ANY_TABLE)


def say(line: str) -> None:
    """Print one line of text without interpreting markup; on a narrower terminal, it is folded between words.

    A line with a word that is wider is left to the terminal, from which a URL can then be copied in one piece.
    """
    console, text = screen(), Text(one_line(line))
    longest_word = Measurement.get(console, console.options.update(width=_WIDER_THAN_ANY_TABLE), text).minimum
    console.print(text, soft_wrap=longest_word > console.width)


def write(document: str, output: Path | None = None) -> None:
    """Write a document in UTF-8 to the file `output` or to standard output; a terminal gets it in its own encoding.

    HTML and JSON say or imply that they are in UTF-8, so in a pipe or file the locale must not choose another.
    """
    if output is not None:
        return write_output(output, document.encode(errors="backslashreplace"))  # paths may be any bytes
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None and not sys.stdout.isatty():
        reconfigure(encoding="utf-8", errors="backslashreplace")
    print(document, end="")


@contextmanager
def loading(quiet: bool = False) -> Iterator[None]:
    """Show on a terminal that torch and transformers are being loaded, which takes seconds."""
    console = Console(stderr=True)
    is_silent = quiet or not console.is_terminal or console.is_dumb_terminal
    were_loaded = "torch" in sys.modules
    with without_collection(), nullcontext() if is_silent else console.status("loading torch and transformers"):
        yield
        if not were_loaded:
            gc.freeze()  # libraries made nearly a million lasting objects, which no collection need go through


def make_help_legible() -> None:
    """Remove the colours from typer's help: its yellow and cyan can hardly be read on white."""
    from typer import rich_utils  # a tenth of a second, only for --help

    for name in ("OPTION", "SWITCH", "NEGATIVE_OPTION", "NEGATIVE_SWITCH", "USAGE", "COMMANDS_TABLE_FIRST_COLUMN"):
        setattr(rich_utils, f"STYLE_{name}", "bold")
    rich_utils.STYLE_TYPES = rich_utils.STYLE_OPTION_ENVVAR = "dim"
