"""What `run` and `reproduce` return: the records, which a notebook shows as a table."""

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Self

from xeval.report.frame import to_frame
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun
from xeval.support.errors import XevalError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from xeval.report.matrix import Matrix


class Runs(list[RunRecord]):
    """The records of a grid, one per model and seed, in the order requested.

    A notebook shows them next to the published table, as `xeval run` does; `plot` draws the comparison.
    """

    def __init__(self, stored: list[StoredRun], reference: str | None = None) -> None:
        super().__init__(run.record for run in stored)
        self._known = list(stored)
        self._reference = reference

    @property
    def stored(self) -> list[StoredRun]:
        """The records with their folders, as they are in the list now.

        Raises XevalError for a record that was put into the list by itself, whose folder is not known.
        """
        folders = {id(run.record): run.folder for run in self._known}
        if any(id(record) not in folders for record in self):
            raise XevalError(
                "runs: one was put in without its folder; add what xeval.run returns: runs += xeval.run(…)"
            )
        return [StoredRun(folders[id(record)], record) for record in self]

    def extend(self, more: Iterable[RunRecord]) -> None:
        """Add records; those of other `Runs` come with their folders."""
        if isinstance(more, Runs):
            self._known = self._known + more._known
        super().extend(more)

    def __iadd__(self, more: Iterable[RunRecord]) -> Self:  # type: ignore[misc, override]
        self.extend(more)
        return self

    def frame(self) -> "pd.DataFrame":
        """Return a frame with one row per run and language, like that of `load_results`."""
        return to_frame(self.stored)

    def plot(self) -> "Figure":
        """Draw ours minus published by language, or our scores if nothing is published; needs the extra `plot`.

        Raises XevalError without matplotlib, and if there are several tasks or no scores.
        """
        from xeval.report.plot import draw

        matrices = self._matrices()
        if len(matrices) != 1:
            raise XevalError(f"a plot is of one task; these runs have scores of {len(matrices)}")
        return draw(matrices[0])

    def _repr_html_(self) -> str:
        """Return the table of each task, as the command prints it."""
        from xeval.report.formats import terminal

        return "\n".join(map(terminal.as_html, self._matrices())) or f"<p>{escape(repr(self))}</p>"

    def _repr_markdown_(self) -> str:
        """Return the report of each task, for notebooks that do not show HTML."""
        from xeval.report.formats import markdown

        return "\n".join(map(markdown.render, self._matrices())) or repr(self)

    def _matrices(self) -> "list[Matrix]":
        """Return a matrix for each task that has scores, with its failed runs too."""
        from xeval.report.from_folder import matrix_of

        stored = self.stored
        tasks = dict.fromkeys(run.record.task for run in stored if run.record.scores)
        return [matrix_of(stored, task, self._reference) for task in tasks]
