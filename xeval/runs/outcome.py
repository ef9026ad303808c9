"""What `run` and `reproduce` give to programs: the records, which a notebook shows as a table."""

from typing import TYPE_CHECKING

from xeval.report.frame import to_frame
from xeval.results.records import RunRecord
from xeval.results.store import StoredRun

if TYPE_CHECKING:
    import pandas as pd


class Runs(list[RunRecord]):
    """The records of a grid, one per model and seed, in the order asked for.

    In a notebook it shows itself beside the published table, as `xeval report` does.
    """

    def __init__(self, stored: list[StoredRun], reference: str | None = None) -> None:
        super().__init__(run.record for run in stored)
        self.stored = stored  # the records with their folders
        self._reference = reference

    def frame(self) -> "pd.DataFrame":
        """One row per run and language, as `load_results` has them."""
        return to_frame(self.stored)

    def _repr_markdown_(self) -> str:
        """The matrix of each task, for a notebook."""
        from xeval.report.formats import markdown
        from xeval.report.from_folder import matrix_of

        scored = [run for run in self.stored if run.record.scores]
        tasks = dict.fromkeys(run.record.task for run in scored)
        return "\n".join(markdown.render(matrix_of(scored, task, self._reference)) for task in tasks) or repr(self)
