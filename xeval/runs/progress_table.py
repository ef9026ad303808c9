"""The progress of several runs at once, on standard error: one table on a terminal, lines elsewhere.

The process that executes a run reports to a `Sender`, the engine carries its messages, a `ProgressTable` shows them.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xeval.runs.requests import Outcome, RunRequest
from xeval.support.progress import Phase, can_draw
from xeval.support.text import counted, one_line

Kind = Literal["says", "does", "has done"]  # a line to keep, what is going on now, a phase that has ended
SENT_EVERY_S = 0.5
MOST_ROWS = 24  # of runs in progress


class Sender:
    """A reporter that passes on what it is told, by `send`."""

    draws_bars = False

    def __init__(self, send: Callable[[Kind, str], None]) -> None:
        self._send = send
        self._sent_s = 0.0

    def say(self, line: str) -> None:
        self._send("says", line)

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Phase]:
        phase = Phase(name, total, unit, self._on_change)
        yield phase
        self._send("has done", phase.summary())

    def _on_change(self, phase: Phase) -> None:
        now_s = time.monotonic()
        if now_s - self._sent_s >= SENT_EVERY_S:
            self._sent_s = now_s
            note = f", {phase.note}" if phase.note else ""
            self._send("does", f"{phase.name}: {phase.done:,} of {counted(phase.total, phase.unit)}{note}")


class ProgressTable:
    """Shows the runs of one grid: which are in progress and where, how many wait or have ended. A context manager."""

    def __init__(self, requests: Sequence[RunRequest], quiet: bool = False) -> None:
        self._names = [request.in_words for request in requests]
        self._quiet = quiet
        self._going_on: dict[int, list[str]] = {}  # number → where it is, and what it does
        self._started_s: dict[int, float] = {}
        self._n_ended = self._n_failed = 0
        self._live: Live | None = None
        if not quiet and can_draw():
            console = Console(stderr=True, highlight=False)
            self._live = Live(get_renderable=self._rendered, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "ProgressTable":
        (self._live or nullcontext()).__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        (self._live or nullcontext()).__exit__(*raised)

    def start(self, number: int, where: str) -> None:
        """Note that the run of this number starts, or starts again, on `where`."""
        self._started_s.setdefault(number, time.monotonic())
        self._going_on[number] = [where, "starts"]
        self._keep(number, f"{self._names[number]} starts on {where}")

    def tell(self, number: int, kind: Kind, text: str) -> None:
        """Show what a `Sender` has sent about the run of this number."""
        if number in self._going_on and kind != "says":
            self._going_on[number][1] = text
        if kind != "does" and self._live is None:
            self._keep(number, text)

    def lose(self, number: int, why: str) -> None:
        """Note that the run of this number has lost its process and waits for another one."""
        self._going_on.pop(number, None)
        self._keep(number, f"{self._names[number]}: {why}; restarting it")

    def end(self, number: int, outcome: Outcome) -> None:
        """Note that the run of this number has ended."""
        self._going_on.pop(number, None)
        self._n_ended += 1
        self._n_failed += outcome.problem is not None
        took = f"{time.monotonic() - self._started_s.get(number, time.monotonic()):.0f} s"
        self._keep(number, f"{self._names[number]}: {outcome.problem or f'ended after {took}'}")

    def say(self, line: str) -> None:
        """Print a line, above the table if there is one."""
        if self._live is not None:
            self._live.console.print(Text(one_line(line)))
        elif not self._quiet:
            print(one_line(line), file=sys.stderr, flush=True)

    def _keep(self, number: int, line: str) -> None:
        self.say(f"[{number + 1}/{len(self._names)}] {line}")

    def _rendered(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for number, (where, doing) in list(self._going_on.items())[:MOST_ROWS]:
            cells = (self._names[number], where, doing)
            table.add_row(*(Text(one_line(cell), no_wrap=True, overflow="ellipsis") for cell in cells))
        n_waiting = len(self._names) - self._n_ended - len(self._going_on)
        failed = f" ({self._n_failed} could not be completed)" if self._n_failed else ""
        counts = f"{self._n_ended} of {counted(len(self._names), 'runs')} ended{failed}"
        return Group(table, Text(f"{counts}, {len(self._going_on)} running, {n_waiting} waiting"))
