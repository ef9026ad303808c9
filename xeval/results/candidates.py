"""Predictions of every checkpoint of a training run ↔ disk: gathered during the training, sealed when it has ended.

During the training, `step-<number>/checkpoint.json` and `step-<number>/predictions/<language>.parquet` are written next
to the snapshots that the training resumes from. In the end they are in the run's folder, as the sealed folder
`checkpoints/`. Its `checkpoints.json` has the hash of the weights that the run's scores come from.
"""

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from xeval.definitions.toml import first_complaint
from xeval.results import old_records
from xeval.results.predictions import load_predictions, save_predictions
from xeval.results.records import MAX_RECORD_BYTES, CheckpointRecord, CheckpointScore, CheckpointsRecord, RunRecord
from xeval.support.errors import StoreError
from xeval.support.files import copy_file, found_in, is_there, read_ordinary, write_atomically
from xeval.support.sealed import checksums, copy_sealed, finish_sealing, sealing

MOST_PREDICTIONS = 100_000  # files of one training's checkpoints; up to here, their record and checksums are readable
_AGAIN = "xeval run with --every-checkpoint trains it again for them"


def checkpoints_of(folder: Path) -> Path:
    """Return where the run in `folder` keeps the predictions of its checkpoints."""
    return folder / "checkpoints"


def step_folder(folder: Path, step: int) -> Path:
    """Return where the predictions of the checkpoint at `step` are below `folder`."""
    return folder / f"step-{step:06}"


class GatheredPredictions:
    """The predictions of a training run in progress, in `folder`. One process at a time works in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def at(self, step: int) -> CheckpointRecord | None:
        """Return the record of the checkpoint at `step`; None if there is none or it cannot be read."""
        try:
            content = read_ordinary(self._record_path(step), MAX_RECORD_BYTES)
            return CheckpointRecord.model_validate_json(content)
        except (OSError, ValidationError):
            return None

    def has(self, step: int, language: str, rows_sha256: str) -> bool:
        """Return whether `language` is done at `step`: it failed, or its predictions on these rows are intact."""
        record = self.at(step)
        if record is None or language not in record.scores:
            return record is not None and language in record.failures
        score = record.scores[language]
        try:
            load_predictions(step_folder(self.folder, step), language, score.predictions_sha256)
        except StoreError:
            return False
        return score.rows_sha256 == rows_sha256

    def start(self, step: int, weights_sha256: str) -> None:
        """Forget what other weights predicted at `step`: a training run on several threads may not repeat exactly."""
        record = self.at(step)
        if record is None or record.weights_sha256 != weights_sha256:
            self._save(CheckpointRecord(step=step, weights_sha256=weights_sha256, scores={}, failures={}))

    def add(  # noqa: PLR0913  columns of a table, and what is made of them
        self,
        step: int,
        language: str,
        answers: pa.Table,
        tally: np.ndarray,
        groups: np.ndarray,
        value: float,
        rows_sha256: str,
        places: np.ndarray | None = None,
    ) -> None:
        """Keep the answers on N rows of `language`, with their (N, K) `tally`, (N,) `groups` and the metric's value.

        `places` are the numbers of these rows in the split; by default, the first N.
        """
        sha256 = save_predictions(step_folder(self.folder, step), language, answers, tally, groups, places)
        score = CheckpointScore(
            value=value,
            n_rows=len(tally),
            rows_sha256=rows_sha256,
            predictions_sha256=sha256,
        )
        record = self._started(step)
        self._save(record.model_copy(update={"scores": record.scores | {language: score}}))

    def add_failure(self, step: int, language: str, why: str) -> None:
        record = self._started(step)
        self._save(record.model_copy(update={"failures": record.failures | {language: why}}))

    def _started(self, step: int) -> CheckpointRecord:
        record = self.at(step)
        if record is None:
            raise StoreError(f"{self._record_path(step)}: missing or damaged; run the command again")
        return record

    def seal(self, steps: Sequence[int], languages: Sequence[str], weights_sha256: str, run_folder: Path) -> None:
        """Put the checkpoints of `steps` into the run's folder, as those of the training that gave these weights.

        They replace any that are there, in one step. Raises StoreError if they cannot be written.
        """
        target = checkpoints_of(run_folder)
        records = [record for step in steps if (record := self.at(step)) is not None]
        whole = CheckpointsRecord(weights_sha256=weights_sha256, languages=list(languages), checkpoints=records)
        try:
            with sealing(target) as partial:
                for record in records:
                    _copy_predictions(step_folder(self.folder, record.step), step_folder(partial, record.step))
                _write(partial, whole)
        except OSError as error:
            raise StoreError(f"{target}: cannot be written: {error.strerror}; run the command again") from error

    def clear(self) -> None:
        """Forget everything that was gathered."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _save(self, record: CheckpointRecord) -> None:
        write_atomically(self._record_path(record.step), (record.model_dump_json(indent=1) + "\n").encode())

    def _record_path(self, step: int) -> Path:
        return step_folder(self.folder, step) / "checkpoint.json"


def _copy_predictions(source: Path, target: Path) -> None:
    """Copy the predictions in each language for which `target` has none yet."""
    (target / "predictions").mkdir(parents=True, exist_ok=True)
    for path in found_in(source, "predictions/*.parquet"):
        if not (target / "predictions" / path.name).exists():
            copy_file(path, target / "predictions" / path.name)


def _write(folder: Path, known: CheckpointsRecord) -> None:
    content = (known.model_dump_json(indent=1) + "\n").encode()
    if len(content) > MAX_RECORD_BYTES:
        raise OSError(errno.EFBIG, f"its record would have more than {MAX_RECORD_BYTES:,} bytes")
    (folder / "checkpoints.json").write_bytes(content)


def join_checkpoints(source: Path, folder: Path, record: RunRecord) -> None:
    """Add the checkpoints of the run in `source` to those of the run in `folder`; `record` has the training of both.

    For a language that both have, the predictions in `folder` stay. Raises StoreError if the checkpoints in `source`
    cannot be used or are of a different training run, and OSError if something cannot be written.
    """
    theirs, target = load_checkpoints(source, record), checkpoints_of(folder)
    finish_sealing(target)
    try:
        mine = load_checkpoints(folder, record)
    except StoreError:
        copy_sealed(checkpoints_of(source), target)
        return
    if set(theirs.languages) <= set(mine.languages):
        return
    if [(each.step, each.weights_sha256) for each in mine.checkpoints] != [
        (each.step, each.weights_sha256) for each in theirs.checkpoints
    ]:
        raise StoreError(f"{checkpoints_of(source)}: from a different training run than {target}, which is kept")
    joined = [_joined(*both) for both in zip(mine.checkpoints, theirs.checkpoints, strict=True)]
    languages = list(dict.fromkeys([*mine.languages, *theirs.languages]))
    with sealing(target) as partial:
        for each in joined:
            for known in (target, checkpoints_of(source)):
                _copy_predictions(step_folder(known, each.step), step_folder(partial, each.step))
        _write(partial, mine.model_copy(update={"languages": languages, "checkpoints": joined}))


def _joined(mine: CheckpointRecord, theirs: CheckpointRecord) -> CheckpointRecord:
    scores = theirs.scores | mine.scores
    failures = {key: why for key, why in (theirs.failures | mine.failures).items() if key not in scores}
    return mine.model_copy(update={"scores": scores, "failures": failures})


def load_checkpoints(folder: Path, record: RunRecord) -> CheckpointsRecord:
    """Read every checkpoint of the training of the run in `folder`, in order.

    Raises StoreError if they are absent, damaged, or of another training.
    """
    path = checkpoints_of(folder)
    if not is_there(path):
        raise StoreError(f"{folder}: this run has kept only the chosen checkpoint; {_AGAIN}")
    if checksums(path) is None:
        raise StoreError(f"{path}: damaged (its files do not match SHA256SUMS); {_AGAIN}")
    try:
        content = read_ordinary(path / "checkpoints.json", MAX_RECORD_BYTES)
        known = _read(content)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}; {_AGAIN}") from error
    except ValidationError as error:
        raise StoreError(f"{path}: {first_complaint(error)}; {_AGAIN}") from error
    if record.training is None or known.weights_sha256 != record.training.weights_sha256:
        raise StoreError(f"{path}: from another training run than the run's scores; {_AGAIN}")
    return known


def _read(content: bytes) -> CheckpointsRecord:
    try:
        return old_records.read_checkpoints(content)
    except ValidationError:
        return CheckpointsRecord.model_validate_json(content)
