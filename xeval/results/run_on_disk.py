"""What there is of one run on disk, and where what is still to come is written.

Usually both are the run's own folder. When a training that was repeated gave other weights, the new record and
predictions grow in a successor's folder, and the old ones are kept until the new ones are all there.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from xeval.results.candidates import load_checkpoints
from xeval.results.predictions import load_predictions
from xeval.results.records import RunRecord
from xeval.results.store import load_record, replace_by_successor, save_record, successor_folder
from xeval.support.errors import StoreError


class RunOnDisk:
    """The run in `folder`, which one process at a time works in."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = self.writes_to = folder
        self._say = say

    def found(self, languages: Sequence[str]) -> tuple[RunRecord | None, Sequence[str]]:
        """What there is of this run, and the languages that it has to have in the end."""
        record, successor = load_record(self.folder), load_record(successor_folder(self.folder))
        if successor is None:
            return record, languages
        old = record.scores if record is not None else {}
        if old.keys() <= successor.scores.keys():
            return replace_by_successor(self.folder), languages
        self.writes_to = successor_folder(self.folder)
        return successor, list(dict.fromkeys([*old, *languages]))

    def is_finished(self, record: RunRecord | None, language: str) -> bool:
        if record is None or language not in record.scores:
            return False
        try:
            load_predictions(self.writes_to, language, record.scores[language].predictions_sha256)
        except StoreError as error:
            self._say(f"{language} is evaluated again: {error}")
            return False
        return True

    def known_at_checkpoints(self, record: RunRecord | None) -> list[str] | None:
        """The languages that every checkpoint of the run was evaluated in; None where its checkpoints are not known."""
        try:
            return load_checkpoints(self.writes_to, record).languages if record is not None else None
        except StoreError:
            return None

    def save(self, record: RunRecord) -> RunRecord:
        save_record(self.writes_to, record)
        return record

    def fail(self, why: str, empty: Callable[[], RunRecord]) -> RunRecord:
        """Note in the run's own record, or in an `empty` one, that it failed; scores that are there already stay."""
        self.writes_to = self.folder
        record = load_record(self.folder) or empty()
        return self.save(record.model_copy(update={"status": "failed", "failure": why}))

    def start_successor(self, record: RunRecord) -> list[str]:
        """From now on, write beside what there is; the languages that then have to be evaluated again."""
        old = load_record(self.folder) or record
        self.writes_to = successor_folder(self.folder)
        return list(old.scores)

    def finish(self, record: RunRecord) -> RunRecord:
        return record if self.writes_to == self.folder else replace_by_successor(self.folder)
