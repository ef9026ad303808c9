"""The results of one run that are on disk, and where its further results are written.

Usually both are in the run's own folder. If a repeated training gave other weights, the new record and predictions go
into a successor's folder, and the old ones are kept until the new ones are complete.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xeval.results.candidates import load_checkpoints
from xeval.results.predictions import load_predictions
from xeval.results.records import Failure, Invocation, RunRecord
from xeval.results.store import load_record, replace_by_successor, save_record, successor_folder, supersedes
from xeval.support.errors import StoreError


class RunOnDisk:
    """The run in `folder`. One process at a time works in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.writes_to = folder

    def newest(self) -> RunRecord | None:
        """Return the record of the successor, if there is one, or else of this run. Nothing is written."""
        return load_record(successor_folder(self.folder)) or load_record(self.folder)

    def languages(self) -> list[str]:
        """Return every language that the run, its successor or its checkpoints have been evaluated in."""
        records = [load_record(folder) for folder in (self.folder, successor_folder(self.folder))]
        scored = [language for record in records if record is not None for language in record.scores]
        return list(dict.fromkeys([*scored, *(self.known_at_checkpoints(self.newest()) or ())]))

    def resume(self, languages: Sequence[str]) -> tuple[RunRecord | None, Sequence[str]]:
        """Return the record to continue, and the languages that it must have in the end.

        A complete successor replaces the run first; an incomplete one is continued.
        """
        record, successor = load_record(self.folder), load_record(successor_folder(self.folder))
        if successor is None:
            return record, languages
        if supersedes(successor, record):
            return replace_by_successor(self.folder), languages
        old = record.scores if record is not None else {}
        self.writes_to = successor_folder(self.folder)
        return successor, list(dict.fromkeys([*old, *languages]))

    def unfinished(self, record: RunRecord | None, languages: Sequence[str]) -> dict[str, str]:
        """Return those of `languages` that lack a score with intact predictions, each with what is wrong.

        That is "" for a language without a score.
        """
        problems = {}
        for language in languages:
            try:
                if record is None or language not in record.scores:
                    problems[language] = ""
                else:
                    load_predictions(self.writes_to, language, record.scores[language].predictions_sha256)
            except StoreError as error:
                problems[language] = str(error)
        return problems

    def known_at_checkpoints(self, record: RunRecord | None) -> list[str] | None:
        """Return the languages that every checkpoint of the run was evaluated in; None if they are not known."""
        try:
            return load_checkpoints(self.writes_to, record).languages if record is not None else None
        except StoreError:
            return None

    def save(self, record: RunRecord) -> RunRecord:
        record = record.without_idle_invocations()
        save_record(self.writes_to, record)
        return record

    def fail(
        self,
        failures: Mapping[str, Failure],
        invocations: Mapping[str, Invocation],
        empty: Callable[[], RunRecord],
    ) -> RunRecord:
        """Note what failed in the run's own record, or in an `empty` one; existing scores stay."""
        self.writes_to = self.folder
        record = load_record(self.folder) or empty()
        return self.save(
            record.model_copy(
                update={
                    "status": "incomplete" if record.scores else "failed",
                    "failures": record.failures | dict(failures),
                    "invocations": record.invocations | dict(invocations),
                }
            )
        )

    def start_successor(self, record: RunRecord) -> list[str]:
        """Write into the successor's folder from now on, and return the languages that must be evaluated again."""
        old = load_record(self.folder) or record
        self.writes_to = successor_folder(self.folder)
        return list(old.scores)

    def finish(self, record: RunRecord) -> RunRecord:
        return record if self.writes_to == self.folder else replace_by_successor(self.folder)
