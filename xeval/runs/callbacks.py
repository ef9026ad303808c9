"""Callbacks, by which programs follow runs, and how they are called so that none can harm a run.

A callback gets numbers and names, but neither model nor rows. A callback that raises an exception is reported and
skipped for the rest of the run. The random numbers that it draws do not affect the training.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xeval.results.records import RunRecord, Score
from xeval.support.errors import XevalError
from xeval.support.text import one_line


@dataclass(frozen=True)
class RunBegun:
    """The run that has begun."""

    name: str  # as in messages
    task: str
    metric: str
    model: str
    recipe: str
    values: dict[str, Any]  # of the recipe, including those that were replaced
    seed: int | None  # None if nothing is trained
    identity: str
    folder: Path  # where its record will be


class Callback:
    """Follow each run for which something is computed. Subclass this, and write the methods that you need.

    An exception in a method does not harm the run: it is reported, and this callback is skipped until the next run
    begins. The run waits until a method returns. Interrupted training resumes with the step after its last snapshot.
    """

    def on_begin(self, run: RunBegun) -> None:
        """Handle the start or continuation of a run: its name, task, metric, model, recipe, values, seed, identity
        and folder."""

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        """Handle an optimizer step that was taken; on a GPU, this is called some steps later."""

    def on_selection(self, step: int, score: float) -> None:
        """Handle the metric measured on the training language's selection rows, as a fraction."""

    def on_score(self, language: str, score: Score) -> None:
        """Handle the score of a language that was evaluated; `score.value` is a fraction."""

    def on_end(self, record: RunRecord | None) -> None:
        """Handle the end of the run. The `status` of `record` says how it ended; `record` is None if the run was
        interrupted before it had one."""


class Listeners:
    """The callbacks of one run, and how they are called."""

    def __init__(self, callbacks: Sequence[Callback], device: torch.device, say: Callable[[str], None]) -> None:
        self._callbacks, self._device, self._say = tuple(callbacks), device, say
        self._listening: list[Callback] = []

    @contextmanager
    def following(self, begun: Callable[[], RunBegun], newest: Callable[[], RunRecord | None]) -> Iterator[None]:
        """Call `on_begin` and `on_end` around the run, and listen to `tell` in between."""
        self._listening = list(self._callbacks)
        if not self._listening:
            yield
            return
        self.tell("on_begin", begun())
        started = list(self._listening)
        try:
            yield
        finally:
            record = None
            with suppress(XevalError):
                record = newest()
            failed = [callback for callback in started if callback not in self._listening]
            self.tell("on_end", record)
            for callback in failed:  # it may have something to close
                with suppress(Exception):
                    callback.on_end(record)
            self._listening = []

    def tell(self, method: str, *values: Any) -> None:
        """Call this method of each callback that listens. One that fails is reported, and no longer listens."""
        for callback in list(self._listening):
            before = self._random_states()
            try:
                getattr(callback, method)(*values)
            except Exception as error:
                self._listening.remove(callback)
                what = f"{type(callback).__name__}.{method} failed ({type(error).__name__}: {one_line(error)[:200]})"
                self._say(f"{what}; the run continues, and this callback is told nothing more")
            self._restore(before)

    def _random_states(self) -> list[torch.Tensor]:
        on_device = [torch.cuda.get_rng_state(self._device)] if self._device.type == "cuda" else []
        return [torch.get_rng_state(), *on_device]

    def _restore(self, before: Sequence[torch.Tensor]) -> None:
        """Restore the random states if the callback has changed them; otherwise touch nothing."""
        if all(map(torch.equal, before, self._random_states())):
            return
        torch.set_rng_state(before[0])
        if len(before) > 1:
            torch.cuda.set_rng_state(before[1], self._device)
