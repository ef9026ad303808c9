"""RunRecord ↔ disk.

`results/<task>/<model>/<recipe>-seed<N>-<hash8>/` holds `record.json` and `predictions/<language>.parquet`, and also
`checkpoints/` if every checkpoint of the training was evaluated (`xeval.results.candidates`). Trials of sweeps are
below `results/<task>/<model>/trials/`, each in a `trial.json`, so that none is mistaken for a run. A file appears
complete or not at all, and a prediction file is in place before the record mentions it. The second line of
`record.json` is the SHA-256 of all its other lines: `grep -v '^ "content_sha256"' record.json | sha256sum`.
"""

import hashlib
import re
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from xeval.definitions.toml import first_complaint
from xeval.results.records import MAX_RECORD_BYTES, SCHEMA_VERSION, CheckpointsRecord, RunRecord
from xeval.support.cache import kept_weights, weights_in
from xeval.support.errors import StoreError
from xeval.support.files import found_in, is_there, read_ordinary, retried, safe_name, write_atomically
from xeval.support.garbage import without_collection
from xeval.support.sealed import copy_sealed

if TYPE_CHECKING:
    import pyarrow as pa


RECORD, TRIAL = "record.json", "trial.json"
_OF_TODAY = f'{{\n "schema_version": {SCHEMA_VERSION},\n'.encode()
_SUCCESSOR = "successor"
_NAME = re.compile(r"-seed\d+-([0-9a-f]{8})$")
_CHECKSUM_LINE = re.compile(rb'\{\n "content_sha256": "([0-9a-f]{64})",\n')


def run_folder(results: Path, task: str, model_id: str, recipe: str, seed: int, identity: str) -> Path:
    """Return the folder of the run with this identity."""
    return results / safe_name(task) / safe_name(model_id) / f"{safe_name(recipe)}-seed{seed}-{identity[:8]}"


def trial_folder(results: Path, task: str, model_id: str, recipe: str, seed: int, identity: str) -> Path:
    """Return the folder of the trial with this identity."""
    run = run_folder(results, task, model_id, recipe, seed, identity)
    return run.parent / "trials" / run.name


def save_trial(folder: Path, record: RunRecord) -> None:
    """Write `record`, of a training run that no evaluation followed."""
    save_record(folder, record, TRIAL)


def load_trial(folder: Path) -> RunRecord | None:
    """Load the trial in `folder`; None if there is none yet. Raises StoreError for a damaged one."""
    return load_record(folder, TRIAL)


def known_trials(results: Path, task: str) -> list["StoredRun"]:
    """Return the trials of `task` below `results`, without damaged ones."""
    return _loaded(found_in(results / safe_name(task), f"*/trials/*/{TRIAL}"))[0]


def known_runs(results: Path, task: str) -> list["StoredRun"]:
    """Return the runs of `task` below `results`, without damaged ones."""
    return _loaded(found_in(results / safe_name(task), f"*/*/{RECORD}"))[0]


def _loaded(paths: Iterable[Path]) -> tuple[list["StoredRun"], dict[Path, StoreError]]:
    """Load the records at `paths`, and return them with the folders of damaged ones and what is wrong with them."""
    runs: list[StoredRun] = []
    damaged: dict[Path, StoreError] = {}
    for path in paths:
        try:
            record = load_record(path.parent, path.name)
        except StoreError as error:
            damaged[path.parent] = error
        else:
            runs += [StoredRun(path.parent, record)] if record is not None else []
    return runs, damaged


def save_record(folder: Path, record: RunRecord, name: str = RECORD) -> None:
    """Write `record` with its checksum. Raises StoreError if it cannot be written or would be too large to be read."""
    plain = (record.model_dump_json(indent=1) + "\n").encode()
    line = f' "content_sha256": "{hashlib.sha256(plain).hexdigest()}",\n'.encode()
    if len(plain) + len(line) > MAX_RECORD_BYTES:
        raise StoreError(f"{folder / name}: would have more than {MAX_RECORD_BYTES:,} bytes; evaluate fewer languages")
    write_atomically(folder / name, plain.replace(b"{\n", b"{\n" + line, 1))


def load_record(folder: Path, name: str = RECORD) -> RunRecord | None:
    """Load the record in `folder`; None if there is none yet. Raises StoreError for a damaged one."""
    content = read_content(folder, name)
    if content is None:
        return None
    return parse_record(content, folder / name)


def _refuse_exchanged(record: RunRecord, folder: Path) -> None:
    """Raise StoreError if, by the folder's name, another run should be in it."""
    named = _NAME.search((folder.parent if folder.name == _SUCCESSOR else folder).name)
    if named and named[1] != record.identity[:8]:
        raise StoreError(
            f"{folder}: holds a different run than its name says: that of {record.name_of_run}, whose identity is"
            f" {record.identity[:8]}; give each folder its own name again, or remove this one"
        )


def read_content(folder: Path, name: str = RECORD) -> bytes | None:
    """Read the file of the record in `folder`; None if there is none yet. Raises StoreError for an unreadable one.

    Git may write its line ends as CRLF (core.autocrlf, usual on Windows). They are read as LF: JSON's strings have no
    line ends, so the record is the same.
    """
    path = folder / name
    try:
        return read_ordinary(path, MAX_RECORD_BYTES).replace(b"\r\n", b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def parse_record(content: bytes, path: Path) -> RunRecord:
    """Parse `content`, from `path`, as a record. Raises StoreError for a damaged one, and for another run's."""
    line = _CHECKSUM_LINE.match(content)
    plain = b"{\n" + content[line.end() :] if line else content
    # A program that formats JSON in its own way moves the checksum out of its line.
    if hashlib.sha256(plain).hexdigest() != line[1].decode() if line else b'"content_sha256"' in plain:
        raise StoreError(
            f"{path}: damaged or edited (it no longer matches the checksum it was written with); restore it, or remove"
            " the folder to compute this run again"
        )
    version = SCHEMA_VERSION if plain.startswith(_OF_TODAY) else _version(plain)  # `_version` parses all of it
    try:
        if version in (1, 2):
            from xeval.results import old_records  # its own classes take time to build

            record = old_records.read_record(plain, path.parent)
        else:
            record = RunRecord.model_validate_json(plain)
    except ValidationError as error:
        fix = (
            "another version of xeval wrote it: read it with that one"
            if line
            else "remove the folder to compute this run again"
        )
        raise StoreError(f"{path}: {first_complaint(error)}; {fix}") from error
    if not line and version != 1:
        raise StoreError(f"{path}: damaged (its checksum is missing); remove the folder to compute this run again")
    _refuse_exchanged(record, path.parent)
    return record


class _Versioned(BaseModel):
    schema_version: int


def _version(content: bytes) -> int | None:
    """Return the schema version of a record; None if it states none, which reading the record then reports."""
    try:
        return _Versioned.model_validate_json(content, strict=True).schema_version
    except ValidationError:
        return None


@dataclass(frozen=True)
class StoredRun:
    """A run on disk: its record, and access to its predictions."""

    folder: Path
    record: RunRecord

    def predictions(self, language: str, only: Collection[str] | None = None) -> "pa.Table":
        """Load the predictions that the score of `language` comes from, or `only` some of their columns.

        Raises StoreError if they are absent or damaged.
        """
        from xeval.results.predictions import load_predictions

        sha256, n_labels = self.record.scores[language].predictions_sha256, len(self.record.labels or ())
        return load_predictions(self.folder, language, sha256, only, n_labels)

    def check_predictions(self, language: str) -> None:
        """Raise StoreError if the file of these predictions is absent or has changed. It is not decoded."""
        from xeval.results.predictions import read_predictions

        read_predictions(self.folder, language, self.record.scores[language].predictions_sha256)

    def candidates(self) -> CheckpointsRecord:
        """Read every checkpoint of its training, in order. Raises StoreError if they are not known."""
        from xeval.results.candidates import load_checkpoints

        return load_checkpoints(self.folder, self.record)

    def candidate_predictions(self, step: int, language: str, sha256: str) -> "pa.Table":
        """Load the predictions of the checkpoint at `step` in `language`. Raises StoreError if that fails."""
        from xeval.results.candidates import checkpoints_of, step_folder
        from xeval.results.predictions import load_predictions

        return load_predictions(step_folder(checkpoints_of(self.folder), step), language, sha256)


def load_run(folder: Path) -> StoredRun | None:
    """Load the run in `folder`; None if there is none yet. Raises StoreError for a damaged record."""
    record = load_record(folder)
    return StoredRun(folder, record) if record is not None else None


def load_runs(results: Path) -> list[StoredRun]:
    """Load every run under `results`, in the order of the folders' names. Raises StoreError for what is unreadable."""
    runs, damaged = readable_runs(results)
    if damaged:
        raise next(iter(damaged.values()))
    return runs


def readable_runs(results: Path) -> tuple[list[StoredRun], dict[Path, StoreError]]:
    """Load the runs under `results`, and return them with the folders of damaged records and what is wrong with them.

    Raises StoreError for a folder that cannot be read.
    """
    with without_collection():
        return _loaded(path for path in records_in(results) if path.name == RECORD)


def records_in(results: Path) -> list[Path]:
    """Return the paths of the records of trials and runs below `results`.

    Raises StoreError for a folder that cannot be read, whose records would otherwise be missing silently.
    """
    models = [model for task in _folders_in(results) for model in _folders_in(task)]
    runs = [run / RECORD for model in models for run in _folders_in(model)]  # first, so that errors name this folder
    trials = [trial / TRIAL for model in models for trial in _folders_in(model / "trials")]
    return [path for path in [*trials, *runs] if _is_readable(path)]


def tasks_in(results: Path) -> list[str]:
    """Return the names of the folders of tasks with runs below `results`. Raises StoreError as `records_in` does."""
    folders = {path.relative_to(results).parts[0] for path in records_in(results) if path.name == RECORD}
    return sorted(folders)


def _folders_in(folder: Path) -> list[Path]:
    try:
        return retried(lambda: sorted(path for path in folder.iterdir() if path.is_dir()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read: {error.strerror}; wanted a results folder") from error


def _is_readable(path: Path) -> bool:
    """Return whether the file exists. Raises StoreError if that cannot be determined."""
    try:
        return is_there(path)
    except OSError as error:
        raise StoreError(f"{path.parent}: cannot be read: {error.strerror}; wanted a run's folder") from error


def own_weights(folder: Path) -> Path:
    """Return where the run in `folder` keeps its fine-tuned weights, if it was told to."""
    return folder / "weights"


def weights_of(run: StoredRun) -> Path | None:
    """Return where the fine-tuned weights of `run` are, in its own folder or in the cache; None if they are kept in
    neither."""
    training = run.record.training
    if training is None:
        return None
    own = weights_in(own_weights(run.folder), training.weights_sha256)
    return own or kept_weights(run.record.identity, training.weights_sha256)


# If training a run again gives other weights, it is evaluated again from the start. Its new record and predictions go
# into a folder of their own, so that a crash does not lose the old ones, and replace those once they cover all of their
# languages.


def successor_folder(folder: Path) -> Path:
    """Return where the new results of the run in `folder` are collected until they replace the old ones."""
    return folder / _SUCCESSOR


def supersedes(successor: RunRecord, record: RunRecord | None) -> bool:
    """Return whether the successor has all of the languages that the run has, so that it can replace it."""
    return record is None or record.scores.keys() <= successor.scores.keys()


def replace_by_successor(folder: Path) -> RunRecord:
    """Replace the run in `folder` by its finished successor. This can be repeated after a crash in the middle."""
    successor = successor_folder(folder)
    record = load_record(successor)
    if record is None:
        raise StoreError(f"{successor}: wanted a record, found none; remove this folder")
    for path in found_in(successor / "predictions", "*.parquet"):
        write_atomically(folder / "predictions" / path.name, read_ordinary(path))
    for part in ("checkpoints", own_weights(folder).name):
        _replace_part(successor / part, folder / part)
    save_record(folder, record)
    shutil.rmtree(successor)
    return record


def _replace_part(source: Path, target: Path) -> None:
    """Replace a sealed part of the old training, which no score comes from any more, by the new training's.

    Remove it if the new training has no such part.
    """
    if not is_there(source):
        shutil.rmtree(target, ignore_errors=True)
        return
    try:
        copy_sealed(source, target)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror}; run the command again") from error
