"""The gate's outcome → annotations and a step summary in the form that GitHub's runner reads.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands lists the commands, and
`ActionCommand.cs` of https://github.com/actions/runner shows how they are escaped.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xeval.judging.gate.findings import GateFinding, Outcome
from xeval.report.gate.text import headline
from xeval.support.errors import StoreError
from xeval.support.text import one_line

MAX_ANNOTATIONS = 10  # per level and step; GitHub silently drops more
MAX_SUMMARY_BYTES = 1024 * 1024  # per step; GitHub shows nothing of a longer one
CUT = "\n\n… cut here: GitHub shows 1 MiB of a step's summary. `xeval check --json FILE` writes all of it.\n"


def annotations(outcome: Outcome) -> list[str]:
    """Return workflow commands: an error for each failure, a warning for each drop within chance, and the headline."""
    doubtful = [finding for finding in outcome.findings if finding.kind == "drop within chance"]
    return [
        *_level("error", outcome.failures),
        *_level("warning", doubtful),
        _command("notice", "xeval check", headline(outcome)),
    ]


def _level(level: str, findings: list[GateFinding]) -> list[str]:
    shown = findings if len(findings) <= MAX_ANNOTATIONS else findings[: MAX_ANNOTATIONS - 1]
    lines = [_command(level, f"xeval: {finding.kind}", finding.sentence) for finding in shown]
    if len(shown) < len(findings):
        rest = f"and {len(findings) - len(shown)} more; the summary of this step lists them all"
        lines.append(_command(level, "xeval", rest))
    return lines


def _command(level: str, title: str, message: str) -> str:
    escaped = _escape(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={escaped}::{_escape(message)}"


def _escape(text: str) -> str:
    return one_line(text).replace("%", "%25")  # which leaves no line breaks to escape


@contextmanager
def commands_stopped() -> Iterator[None]:
    """Make the runner treat everything printed meanwhile as text, even if a model's name looks like a command."""
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}", flush=True)
    try:
        yield
    finally:
        print(f"::{token}::", flush=True)


def append_summary(path: Path, text: str) -> None:
    """Append `text` to the step's summary at `path`, cut to the room left. Raises StoreError if that fails."""
    content = text.encode()
    try:
        room = MAX_SUMMARY_BYTES - (path.stat().st_size if path.exists() else 0)
        if len(content) > room:
            kept = content[: max(0, room - len(CUT.encode()))]
            content = (kept[: kept.rfind(b"\n") + 1] + CUT.encode())[: max(0, room)]
        with path.open("ab") as file:
            file.write(content)
    except OSError as error:
        raise StoreError(f"{path}: the step's summary cannot be written: {error.strerror}") from error
