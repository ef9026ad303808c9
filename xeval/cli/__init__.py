"""The command line: each command parses, makes one library call and prints. Here, errors become exit codes.

0: success. 1: the work was done and its outcome is bad. 2: the input was wrong, with one line on standard error.
129: the terminal was closed. 130: interrupted. 143: terminated by SIGTERM, to be started again.
"""

import inspect
import io
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Annotated, Any, NoReturn

import typer

from xeval.cli import (
    audit,
    bless,
    bundle,
    cache,
    cell,
    check,
    check_submission,
    compare,
    convert,
    diagnose,
    doctor,
    export,
    init,
    list_names,
    merge,
    plan,
    probe,
    push,
    rank,
    report,
    reproduce,
    run,
    score,
    site,
)
from xeval.cli.other_ranks import with_other_ranks
from xeval.cli.screen import make_help_legible
from xeval.support.errors import XevalError
from xeval.support.files import in_home
from xeval.support.freed_memory import keep_freed_memory
from xeval.support.idle_threads import let_idle_threads_sleep
from xeval.support.streams import lasting, lead_nowhere, open_closed
from xeval.support.termination import Terminated, ended_by, listen
from xeval.support.text import one_line
from xeval.support.version import VERSION

app = typer.Typer(
    name="xeval",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"xeval {VERSION}")
        raise typer.Exit


_Version = typer.Option(
    "--version", metavar="", help="Print the version and exit.", is_eager=True, callback=_print_version
)


@app.callback()
def every_command(version: Annotated[bool, _Version] = False) -> None:
    """How well does an encoder transfer across languages, and is the published table true?"""


_COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run.run,
    "plan": plan.plan,
    "reproduce": reproduce.reproduce,
    "init": init.init,
    "score": score.score,
    "merge": merge.merge,
    "bundle": bundle.bundle,
    "convert": convert.convert,
    "report": report.report,
    "site": site.site,
    "compare": compare.compare,
    "rank": rank.rank,
    "export": export.export,
    "push": push.push,
    "probe": probe.probe,
    "doctor": doctor.doctor,
    "diagnose": diagnose.diagnose,
    "bless": bless.bless,
    "check": check.check,
    "check-submission": check_submission.check_submission,
    "audit": audit.audit,
    "cell": cell.cell,
    "list": list_names.list_names,
    "cache": cache.cache,
}
for _name, _command in _COMMANDS.items():
    # One line per paragraph: help wraps it at the terminal's width, but would keep the docstring's line breaks.
    _paragraphs = (inspect.getdoc(_command) or "").split("\n\n")
    app.command(_name, help="\n\n".join(paragraph.replace("\n", " ") for paragraph in _paragraphs))(_command)

_INTERRUPTED = 130
_KEPT = "finished and saved work is kept, and the same command resumes from there"

# The base class of all errors in the command line itself. typer does not export it, but it has everything of
# BadParameter that is used here.
_CommandLineError: type[typer.BadParameter] = typer.BadParameter.__mro__[2]


def main() -> NoReturn:
    """Run the command line and exit."""
    if sys.platform == "win32":  # which cannot flush a folder's names to disk, and has other signals
        sys.exit(_complain("wanted Linux or macOS, got Windows; install xeval in WSL, learn.microsoft.com/windows/wsl"))
    open_closed()
    listen()
    keep_freed_memory()
    let_idle_threads_sleep()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a character that the locale cannot write is shown as its code point
        sys.stdout.reconfigure(errors="backslashreplace")
    if {"--help", "-h"} & set(sys.argv) or len(sys.argv) == 1:
        make_help_legible()
    with lasting():
        code = _run_command()
    sys.exit(code)


@lru_cache(maxsize=1)
def _command_line() -> Callable[..., Any]:
    """Return what parses the arguments and calls the command; made once, since that takes longer than many commands."""
    return typer.main.get_command(app)


def _run_command() -> int:
    """Run the command, print an error as one line, and return the exit code."""
    try:
        code = with_other_ranks(partial(_command_line(), _words(), standalone_mode=False))
        if code == _INTERRUPTED:  # typer keeps Ctrl-C to itself
            raise KeyboardInterrupt
        print(end="", flush=True)  # now, while a full disk can still be reported
        return code if isinstance(code, int) else 0
    except XevalError as error:
        return _complain(str(error))
    except _CommandLineError as error:
        wrong = error.format_message().replace(": Value error, ", ": ", 1)  # pydantic's wording, which typer passes on
        command = f"xeval {error.ctx.info_name}" if error.ctx and error.ctx.parent else "xeval"
        return _complain(f"{wrong.rstrip('.')} (see {command} --help)") if str(error) else 2
    except (KeyboardInterrupt, typer.Abort):
        return _complain(f"interrupted; {_KEPT}", _INTERRUPTED)
    except Terminated:
        by, code = ended_by()
        return _complain(f"{by}; {_KEPT}", code)
    except OSError as error:
        if error.filename is None:
            lead_nowhere(sys.stdout)  # standard output is most likely what failed
        return _complain(_in_words(error))


def _words() -> list[str]:
    """Return the words after the command's name. Replace the ~ in --results=~/runs, which shells do not."""
    words = []
    for word in sys.argv[1:]:
        option, equals, value = word.partition("=")
        is_home = option.startswith("--") and value.startswith("~")
        words.append(f"{option}{equals}{in_home(value)}" if is_home else word)
    return words


def _in_words(error: OSError) -> str:
    """Describe an error of the operating system that no function has explained better."""
    place = error.filename if error.filename is not None else "standard output"
    return f"{place}: {error.strerror or error}; fix that, or name another place"


def _complain(message: str, code: int = 2) -> int:
    print(f"xeval: {one_line(message)}", file=sys.stderr)
    return code
