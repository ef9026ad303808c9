"""The progress of a run as people see it, on standard error.

On a terminal: a bar per phase with rate and remaining time. Elsewhere, or if TERM is dumb: one line at the end of each
phase, and during a long one also a line after one minute, two, four, eight …, and then every half hour. With `--quiet`:
nothing. Stages know nothing of this; they call plain functions that the pipeline gets from here.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from rich.theme import Theme

from xeval.support.text import counted, duration, one_line


class Reporter(Protocol):
    """Receives the pipeline's progress."""

    draws_bars: bool

    def say(self, line: str) -> None: ...

    def phase(self, name: str, total: int, unit: str) -> "AbstractContextManager[Phase]": ...


@dataclass
class Phase:
    """A piece of work of known size that is in progress."""

    name: str
    total: int
    unit: str
    on_change: Callable[["Phase"], None] = lambda phase: None
    done: int = 0
    done_before: int = 0  # part of `done` that took none of this phase's time
    note: str = ""
    started: float = field(default_factory=time.monotonic)

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        self.done += amount
        if note is not None:
            self.note = note
        self.on_change(self)

    def skip(self, amount: int) -> None:
        """Count work that was done before, by an earlier process or from a cache."""
        self.done_before += amount
        self.advance(amount)

    @property
    def was_done_before(self) -> bool:
        """Whether all of the work was done before, so that there is nothing to report."""
        return self.done == self.done_before > 0

    def so_far(self) -> str:
        elapsed_s, now = time.monotonic() - self.started, self.done - self.done_before
        estimate = f", about {duration(elapsed_s / now * (self.total - self.done))} left" if now else ""
        note = f", {self.note}" if self.note else ""
        return f"{self.name}: {self.done:,} of {counted(self.total, self.unit)}{estimate}{note}"

    def summary(self) -> str:
        elapsed_s, now = time.monotonic() - self.started, self.done - self.done_before
        note = f", {self.note}" if self.note else ""
        before = f"{counted(self.done_before, self.unit)} done before" if self.done_before else ""
        if before and not now:
            return f"{self.name}: {before}{note}"
        after = f", after {before}" if before else ""
        rate = f" ({now / elapsed_s:,.1f} {self.unit}/s)" if elapsed_s >= 0.05 else ""  # in 0.0 s, a rate means little
        return f"{self.name}: {counted(now, self.unit)} in {elapsed_s:.1f} s{rate}{after}{note}"


class Silent:
    """Reports nothing; for `--quiet` and for programs."""

    draws_bars = False

    def say(self, line: str) -> None:
        pass

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Phase]:
        yield Phase(name, total, unit)


_FIRST_LINE_S, _LONGEST_SILENCE_S = 60.0, 1800.0


class Lines:
    """One line per phase, and now and then a line during a long phase, for logs and pipes."""

    draws_bars = False

    def say(self, line: str) -> None:
        print(one_line(line), file=sys.stderr, flush=True)

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Phase]:
        next_line_s = _FIRST_LINE_S

        def say_now_and_then(phase: Phase) -> None:
            nonlocal next_line_s
            elapsed_s = time.monotonic() - phase.started
            if elapsed_s >= next_line_s and phase.done < phase.total:
                while next_line_s <= elapsed_s:
                    next_line_s += min(next_line_s, _LONGEST_SILENCE_S)
                self.say(phase.so_far())

        phase = Phase(name, total, unit, say_now_and_then)
        yield phase
        if not phase.was_done_before:
            self.say(phase.summary())


# rich's own green, red and cyan for these numbers are hardly legible on white.
_NUMBERS = ("progress.download", "progress.data.speed", "progress.remaining", "progress.elapsed")
_LEGIBLE = Theme(dict.fromkeys(_NUMBERS, "none"))


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


class Bars:
    """A bar per phase; a finished one leaves its line on the screen."""

    draws_bars = True

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, theme=_LEGIBLE)

    def say(self, line: str) -> None:
        self._console.print(escape(one_line(line)))

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Phase]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(escape(one_line(name)), total=total, unit=unit, note="")
            phase = Phase(
                name, total, unit, lambda now: bars.update(task, completed=now.done, note=escape(one_line(now.note)))
            )
            yield phase
        if not phase.was_done_before:
            self.say(phase.summary())


def reporter(quiet: bool) -> Reporter:
    """Return the reporter that suits where standard error goes."""
    if quiet:
        return Silent()
    return Bars() if can_draw() else Lines()


def can_draw() -> bool:
    """Return whether standard error is a terminal that can be drawn on."""
    return sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal
