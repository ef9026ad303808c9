"""Merging of results folders, from machines without a common disk, into one.

A run is copied whole: first its predictions, each checked against the record, then its checkpoints and weights if they
were kept, and last its record, which makes the folder a run. A process that is killed in between therefore leaves a
readable folder, and merging again completes the work. If the destination already has the run with the same weights,
the languages that it lacks are added. A run with other weights stays where it is and is reported. The sources are only
read.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from xeval.results.candidates import checkpoints_of, join_checkpoints
from xeval.results.configurations import Configuration, sweep_of
from xeval.results.predictions import are_stored, predictions_path, read_predictions
from xeval.results.records import RunRecord, Score
from xeval.results.run_on_disk import RunOnDisk
from xeval.results.store import (
    RECORD,
    TRIAL,
    load_record,
    own_weights,
    parse_record,
    read_content,
    records_in,
    run_folder,
    save_record,
    successor_folder,
    supersedes,
    trial_folder,
)
from xeval.support.arguments import checked_arguments
from xeval.support.cache import WEIGHTS
from xeval.support.errors import StoreError
from xeval.support.files import end_of_links, is_there, write_atomically
from xeval.support.locks import locked
from xeval.support.progress import Reporter, Silent
from xeval.support.sealed import checksums, copy_sealed, finish_sealing

Outcome = Literal["new", "added to", "there already", "left out", "damaged"]
PathLike = str | os.PathLike[str]
_Key = tuple[str, Configuration, int | None]  # whether a run or a trial, and which; the same in every results folder


@dataclass
class MergedRun:
    """The outcome of merging one run of a source, or one trial of a sweep."""

    source: Path  # the results folder that it was found in
    folder: Path  # its own folder there
    outcome: Outcome = "there already"
    languages: list[str] = field(default_factory=list)  # whose scores were taken
    notes: list[str] = field(default_factory=list)  # one line for each thing that was not taken, with the reason
    damage: list[str] = field(default_factory=list)  # one line for each thing that is unreadable or has been changed


@checked_arguments
def merge(sources: Sequence[PathLike], destination: PathLike, *, reporter: Reporter | None = None) -> list[MergedRun]:
    """Merge the runs of several results folders into one, which may already hold runs.

    If several folders have a run with the same weights, the scores of all languages are joined; for a language that
    several have, the first score stays. If the weights differ, the first run stays as it is. Nothing is taken from a
    run whose record or predictions are damaged. Merging again changes nothing, or completes an interrupted merge.

    Args:
        sources: results folders, each with at least one run; nothing is written to them.
        destination: the folder to merge the runs into.
        reporter: receives progress; silent by default.

    Raises StoreError, before anything is written, for folders that cannot be read, hold no runs, or hold the
    destination.
    """
    reporter, target = reporter or Silent(), Path(destination)
    records = []
    for root in dict.fromkeys(map(Path, sources)):
        _check(root, target)
        paths = records_in(root)
        if not paths:
            expected = f"wanted a results folder, which has <task>/<model>/<run>/{RECORD} in it"
            raise StoreError(f"{root}: there are no runs in it; {expected}")
        records += [(root, path) for path in paths]
    places, merged = _Places(target), []
    with reporter.phase("merge", len(records), "runs") as phase:
        for root, path in records:
            run = MergedRun(root, path.parent)
            _merge_one(run, path.name, places, reporter)
            merged.append(run)
            phase.advance()
    return merged


# ── where runs are, and where they go ──


def _check(source: Path, target: Path) -> None:
    try:
        own, its = Path(os.path.realpath(source, strict=True)), end_of_links(target)
        is_same = its.exists() and own.samefile(its)
        if its.exists() and not its.is_dir():
            raise StoreError(f"{target}: wanted a folder to merge into, got a file; name another")
    except OSError as error:
        raise StoreError(f"{source}: cannot be read: {error.strerror}; wanted a results folder") from error
    if is_same or own in its.parents:
        lies = "is" if is_same else "lies in"
        raise StoreError(f"{target}: {lies} {source}, which is to be merged into it; name another folder to merge into")


def _key(name: str, record: RunRecord) -> _Key:
    return name, Configuration.of(record), record.seed if record.has_seed else None


class _Places:
    """Where the runs of the destination are, and where others go."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._known: dict[_Key, Path] = {}
        self._damaged: set[Path] = set()
        for path in records_in(target):
            try:
                record = load_record(path.parent, path.name)
            except StoreError:
                self._damaged.add(path.parent)
                continue
            if record is not None:
                self._known.setdefault(_key(path.name, record), path.parent)

    def of(self, name: str, record: RunRecord, relative: Path) -> Path | None:
        """Return the folder for this run: where it already is, else the one as in its source, else `xeval run`'s.

        None if other runs are in both of the latter.
        """
        key = _key(name, record)
        if key in self._known:
            return self._known[key]
        called = trial_folder if name == TRIAL else run_folder
        usual = called(self._target, record.task, record.model.id, record.recipe.name, record.seed, record.identity)
        for folder in (self._target / relative, usual):
            if folder in self._damaged:  # most likely this run; what is wrong is reported when its record is read
                return folder
            if folder not in self._known.values():
                self._known[key] = folder
                return folder
        return None


# ── one run ──


@dataclass
class _Given:
    """A run as read from its source, with all its predictions intact."""

    name: str  # file name of its record
    folder: Path
    content: bytes  # of that file
    record: RunRecord
    predictions: dict[str, bytes]  # by language


def _read(folder: Path, name: str) -> _Given:
    content = read_content(folder, name)
    if content is None:
        raise StoreError(f"{folder / name}: disappeared before it could be read")
    record = parse_record(content, folder / name)
    predictions = {
        language: read_predictions(folder, language, score.predictions_sha256)
        for language, score in record.scores.items()
    }
    return _Given(name, folder, content, record, predictions)


def _source_of(folder: Path, name: str) -> Path:
    """Return where the run in `folder` is complete: in its successor, if that may have begun to replace it."""
    successor = successor_folder(folder)
    record = load_record(successor) if name == RECORD else None
    return successor if record is not None and supersedes(record, load_record(folder)) else folder


def _merge_one(run: MergedRun, name: str, places: _Places, reporter: Reporter) -> None:
    try:
        source_run = _read(_source_of(run.folder, name), name)
    except StoreError as error:
        run.outcome, run.damage = "damaged", [str(error)]
        return
    folder = places.of(name, source_run.record, run.folder.relative_to(run.source))
    if folder is None:
        run.outcome, run.notes = "left out", [f"{run.folder}: not merged, since other runs are where it would go"]
        return
    with locked(folder, reporter.say):
        try:
            record = _there(folder, name)
        except StoreError as error:
            run.outcome, run.damage = "damaged", [f"{error}; nothing from {run.folder} is added to it"]
            return
        if record is None or _weights(record) is None:
            _add_whole(run, source_run, folder)
        else:
            _add_to(run, source_run, folder, record)


def _there(folder: Path, name: str) -> RunRecord | None:
    """Return the run's record, if there is one, after a complete successor has replaced it."""
    if name == RECORD:
        RunOnDisk(folder).resume(())
    return load_record(folder, name)


def _weights(record: RunRecord) -> str | None:
    """Return the hash of the weights that its scores come from; None if its training has not ended."""
    if record.training is not None:
        return record.training.weights_sha256
    return record.model.sha256 if record.is_as_it_was or record.computed_elsewhere else None


def _add_whole(run: MergedRun, source_run: _Given, folder: Path) -> None:
    """Add a run that the destination does not have yet, or has only without an ended training."""
    if _weights(source_run.record) is None and is_there(folder / source_run.name):
        return
    for language, content in source_run.predictions.items():
        write_atomically(predictions_path(folder, language), content)
    _add_parts(run, source_run, folder)
    if source_run.name == RECORD and is_there(successor_folder(source_run.folder) / RECORD):
        try:
            _add_whole(run, _read(successor_folder(source_run.folder), RECORD), successor_folder(folder))
        except StoreError as error:
            run.damage.append(str(error))
    write_atomically(folder / source_run.name, source_run.content)
    run.outcome, run.languages = "new", list(source_run.record.scores)


def _add_to(run: MergedRun, source_run: _Given, folder: Path, record: RunRecord) -> None:
    """Add what the destination's `record` of the run lacks."""
    if _weights(source_run.record) is None:
        return
    if why := _difference(folder, record, source_run):
        run.outcome = "left out"
        run.notes = [f"{source_run.folder}: not merged, since {folder} has {why} and came first"]
        return
    for language, content in source_run.predictions.items():
        mine, its = record.scores.get(language), source_run.record.scores[language]
        if mine is None or (
            mine.predictions_sha256 == its.predictions_sha256 and not _is_whole(folder, language, mine)
        ):
            write_atomically(predictions_path(folder, language), content)
        elif source_run.record.data.sha256["test"].get(language) != record.data.sha256["test"].get(language):
            run.notes.append(f"{source_run.folder}: {language} was scored on other rows in {folder}, which came first")
    _add_parts(run, source_run, folder)
    joined = _join(record, source_run.record)
    if joined != record:
        save_record(folder, joined, source_run.name)
    run.languages = [language for language in joined.scores if language not in record.scores]
    run.outcome = "added to" if run.languages else "there already"


def _difference(folder: Path, mine: RunRecord, source_run: _Given) -> str:
    """Return why the scores of two records of one run must not be joined; "" if they may. `mine` is in `folder`."""
    its = source_run.record
    if mine.metric != its.metric:
        return f"scores in {mine.metric}, not in {its.metric},"
    if _weights(mine) != _weights(its):
        return "other weights"
    if mine.computed_elsewhere:
        for language, score in mine.scores.items():
            its_own = source_run.predictions.get(language)
            if its_own is not None and not are_stored(folder, language, score.predictions_sha256, its_own):
                return f"other predictions in {language!r}"
    return ""


def _is_whole(folder: Path, language: str, score: Score) -> bool:
    try:
        read_predictions(folder, language, score.predictions_sha256)
    except StoreError:
        return False
    return True


def _join(mine: RunRecord, its: RunRecord) -> RunRecord:
    """Return `mine` with the languages that only the other record has."""
    scores = its.scores | mine.scores
    failures = its.failures | mine.failures
    failures = {phase: why for phase, why in failures.items() if phase.removeprefix("evaluate/") not in scores}
    data, tests = mine.data.sha256, its.data.sha256["test"] | mine.data.sha256["test"]
    most = max(record.limits.max_eval or 0 for record in (mine, its)) or None  # differs if computed elsewhere
    joined = mine.model_copy(
        update={
            "limits": mine.limits.model_copy(update={"max_eval": most}),
            "scores": mine.scores | {key: score for key, score in scores.items() if key not in mine.scores},
            "status": "incomplete" if failures or _is_open(mine, its) or _is_open(its, mine) else "complete",
            "failures": failures,
            "data": mine.data.model_copy(update={"sha256": data | {"test": tests}}),
            "timing": its.timing | mine.timing,
            "float32_checks": its.float32_checks | mine.float32_checks,
            "invocations": its.invocations | mine.invocations,
            "sweep": sweep_of([mine, its]),
        }
    )
    return joined.without_idle_invocations()


def _is_open(one: RunRecord, other: RunRecord) -> bool:
    """Return whether languages asked of `one` may be missing: it was interrupted, and `other` does not complete it."""
    was_interrupted = one.status != "complete" and not one.failures
    return was_interrupted and not (other.status == "complete" and supersedes(other, one))


def _add_parts(run: MergedRun, source_run: _Given, folder: Path) -> None:
    """Add what was kept in addition to the predictions: the training's intermediate checkpoints, and the weights."""
    for add in (_add_checkpoints, _add_weights):
        try:
            add(source_run, folder)
        except StoreError as error:
            run.damage.append(str(error))
        except OSError as error:
            run.damage.append(f"{source_run.folder}: not all of it could be copied to {folder}: {error.strerror}")


def _add_checkpoints(source_run: _Given, folder: Path) -> None:
    if is_there(checkpoints_of(source_run.folder)):
        join_checkpoints(source_run.folder, folder, source_run.record)


def _add_weights(source_run: _Given, folder: Path) -> None:
    source, target = own_weights(source_run.folder), own_weights(folder)
    if not is_there(source):
        return
    finish_sealing(target)
    sha256 = _weights(source_run.record)
    if (checksums(target) or {}).get(WEIGHTS) == sha256:
        return
    if (checksums(source) or {}).get(WEIGHTS) != sha256:
        raise StoreError(f"{source}: damaged, they are not the weights of the record; remove this folder")
    copy_sealed(source, target)
