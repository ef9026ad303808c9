"""Checks of a submitted results folder: whether its files are those of runs, and its numbers are true.

Nothing in it is trusted: neither the names of its files, nor that its scores follow from its predictions.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xeval.data.corpus import Corpus
from xeval.data.source import open_source
from xeval.definitions.task import Task
from xeval.judging.score import interval
from xeval.kinds.kind import Kind
from xeval.kinds.registry import get_kind
from xeval.kinds.rows import Rows
from xeval.results.configurations import by_configuration
from xeval.results.predictions import column, groups_of, has_labels, predictions_path, tally_of
from xeval.results.records import Limits, RunRecord, Score
from xeval.results.store import RECORD, StoredRun, load_run, run_folder
from xeval.support.errors import StoreError, XevalError
from xeval.support.text import one_line

MOST_FILES = 10_000
MOST_BYTES = {RECORD: 5_000_000, ".parquet": 200_000_000, ".lock": 1_000}
MOST_BYTES_TOGETHER = 2_000_000_000
MOST_BYTES_UNPACKED = 2_000_000_000
MOST_VALUES = 100_000_000  # in a file of predictions; a few kilobytes can unpack to more
LONGEST_NAME = 120
ROUNDING = 1e-9

_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ +-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_LOCK = re.compile(r"([^/]+/){3}\.lock")  # left by a run
_RECORD, _PREDICTIONS = (
    re.compile(r"[^/]+/[^/]+/[^/]+/record\.json"),
    re.compile(r"([^/]+/){3}predictions/[^/]+\.parquet"),
)
# What xeval itself writes next to them: trials of sweeps, the checkpoints and weights of a run.
_MORE = re.compile(r"(([^/]+/){2}trials|([^/]+/){3}(checkpoints|weights))/.+")


@dataclass
class Submission:
    """The findings on a submitted folder."""

    problems: list[str] = field(default_factory=list)  # one line each, naming the file
    n_runs: int = 0
    n_scores: int = 0
    without_rows: set[str] = field(default_factory=set)  # tasks whose rows were not available

    def add(self, path: Path, what: object) -> None:
        text = str(what)
        self.problems.append(one_line(text if text.startswith(str(path)) else f"{path}: {text}"))


def check(folder: Path, tasks: Mapping[str, Task], data: Path | None = None) -> Submission:
    """Check everything in `folder`, a results folder of runs of `tasks`.

    Scores are computed again from the predictions, and predictions are compared with a task's rows if available: in
    `data`/<the task's name>, in `data` itself, or embedded. Raises StoreError if `folder` does not exist.
    """
    if not folder.is_dir():
        raise StoreError(f"{folder}: wanted a results folder, found none")
    submission = Submission()
    if not _check_files(folder, submission):
        return submission  # open nothing in it
    runs = list(_runs(folder, submission))
    if not runs and not submission.problems:
        submission.add(folder, "no run in it; wanted TASK/MODEL/RUN/record.json, as xeval run leaves it in --results")
    try:
        by_configuration(runs)
    except StoreError as error:
        submission.add(folder, error)
    rows = _RowsAtHand(data)
    for run in runs:
        _check_run(run, folder, tasks.get(run.record.task), rows, submission)
    return submission


def _check_run(run: StoredRun, folder: Path, task: Task | None, rows: "_RowsAtHand", submission: Submission) -> None:
    submission.n_runs += 1
    for problem in _problems_of_record(run, folder, task):
        submission.add(run.folder / RECORD, problem)
    for language, score in run.record.scores.items():
        submission.n_scores += 1
        path = predictions_path(run.folder, language)
        try:
            for problem in _problems_of_score(run, language, score, task, rows, submission):
                submission.add(path, problem)
        except XevalError as error:
            submission.add(path, error)


# ── files ──


def _check_files(folder: Path, submission: Submission) -> bool:
    """Return whether everything in `folder` may be opened: ordinary files in their places, few and small enough."""
    total, n_before, more = 0, len(submission.problems), set[Path]()
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if number >= MOST_FILES:
            submission.add(folder, f"more than {MOST_FILES:,} files and folders")
            break
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            continue
        name = path.relative_to(folder).as_posix()
        total += status.st_size
        if match := _MORE.fullmatch(name):
            more.add(folder / match[1])
        elif problem := _problem_of_file(name, status):
            submission.add(path, problem)
    for own in sorted(more):
        submission.add(own, "leave this folder out; a submission has records and predictions only")
    if total > MOST_BYTES_TOGETHER:
        submission.add(folder, f"{total:,} bytes together; wanted at most {MOST_BYTES_TOGETHER:,}")
    return len(submission.problems) == n_before


def _problem_of_file(name: str, status: os.stat_result) -> str:
    """Return why the file with this path in the submission may not be opened, or ""."""
    if not stat.S_ISREG(status.st_mode):
        return "not an ordinary file; wanted no links or devices"
    if _LOCK.fullmatch(name):
        most = MOST_BYTES[".lock"]
    elif _RECORD.fullmatch(name):
        most = MOST_BYTES[RECORD]
    elif _PREDICTIONS.fullmatch(name):
        most = MOST_BYTES[".parquet"]
    else:
        return "not part of a run; wanted TASK/MODEL/RUN/record.json and predictions/LANGUAGE.parquet only"
    return f"{status.st_size:,} bytes; wanted at most {most:,}" if status.st_size > most else ""


def _runs(folder: Path, submission: Submission) -> Iterator[StoredRun]:
    """Yield the runs whose records can be read; report predictions that no record mentions."""
    for own in sorted({_run_of(path) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}):
        try:
            run = load_run(own)
        except StoreError as error:
            submission.add(own / RECORD, error)
            continue
        if run is None:
            submission.add(own, "predictions without a record.json")
            continue
        named = {predictions_path(own, language) for language in run.record.scores}
        for path in sorted((own / "predictions").glob("*")):
            if path not in named:
                submission.add(path, "its record has no score in this language; remove the file")
        yield run


def _run_of(path: Path) -> Path:
    """Return the folder of the run that a record or a file of predictions belongs to."""
    return path.parent if path.name == RECORD else path.parents[1]


# ── records ──


def _problems_of_record(run: StoredRun, folder: Path, task: Task | None) -> Iterator[str]:
    record = run.record
    names = {"model": record.model.id, "recipe": record.recipe.name, "published_as": record.model.published_as}
    for what, name in names.items():
        if name is not None and not _is_sane(name):
            yield f"{what} is called {name[:60]!r}; wanted letters, digits, spaces and . _ - + with one / at most"
    where = run_folder(folder, record.task, record.model.id, record.recipe.name, record.seed, record.identity)
    if run.folder != where:
        yield f"is in the wrong folder; wanted {where.relative_to(folder)}"
    if record.status != "complete" or record.failures:
        yield f"the run is {record.status}: {record.failure or 'not all languages have a score'}"
    elif not record.scores:
        yield "no score in it"
    if task is None:
        yield f"task {record.task[:60]!r} is not known here; name the folder of its file with --tasks-dir"
    else:
        yield from _other_than_task(record, task)


def _is_sane(name: str) -> bool:
    return len(name) <= LONGEST_NAME and _MODEL_ID.fullmatch(name) is not None


def _other_than_task(record: RunRecord, task: Task) -> Iterator[str]:
    """Yield where the record contradicts the file of its task."""
    expected = {
        "kind": task.kind,
        "metric": task.metric,
        "labels": list(task.labels) or None,
        "chance": task.of_kind.chance,
        "training_language": task.training_language,
    }
    for key, value in expected.items():
        own = getattr(record, key)
        if own != value and own is not None:
            yield f"{key} is {own!r}; the task {task.name} has {value!r}"
    strays = [language for language in record.scores if language not in task.languages]
    if strays:
        yield f"scores in {', '.join(map(repr, strays[:5]))}, not among the languages of the task {task.name}"


# ── scores ──


class _RowsAtHand:
    """The available rows of tasks, each read once."""

    def __init__(self, data: Path | None) -> None:
        self.data = data
        self._corpora: dict[tuple[str, str | None], Corpus] = {}

    def of(self, record: RunRecord, task: Task, language: str) -> Rows | None:
        """Return the rows that `record` was evaluated on in `language`; None if they are not available.

        Raises DataError if there is a copy that cannot be used.
        """
        if self.data is None and not task.embedded:
            return None
        split, limits = record.limits.test_split, record.limits
        if (task.name, split) not in self._corpora:
            own = self.data and (self.data / task.name if (self.data / task.name).is_dir() else self.data)
            folder = None if task.embedded else own
            source = open_source(task.tested_on(split), folder, record.scores, training=False)
            self._corpora[task.name, split] = Corpus(source, Limits(test_split=split))
        rows = self._corpora[task.name, split].test(language)
        if record.computed_elsewhere or limits.max_eval is None:
            return rows
        if limits.eval_seed is None:
            return rows.first(limits.max_eval)
        return task.of_kind.draw(rows, limits.max_eval, limits.eval_seed)


def _problems_of_score(
    run: StoredRun, language: str, score: Score, task: Task | None, at_hand: _RowsAtHand, submission: Submission
) -> Iterator[str]:
    """Yield where the score does not follow from its predictions, or they are not of the task's rows."""
    _check_unpacked(predictions_path(run.folder, language))
    table, kind = run.predictions(language), get_kind(run.record.kind)
    tally, groups = tally_of(table), groups_of(table)
    places = column(table, "row")
    if tally.shape[1] != len(kind.counts):
        yield f"{tally.shape[1]} counts per row; wanted {', '.join(kind.counts)}"
        return
    if len(np.unique(places)) != len(places):
        yield "a row occurs twice"
    if has_labels(table) and kind.measure(run.record.metric).metric.is_share_of_rows:
        right = column(table, "label") == column(table, "prediction")
        if not np.array_equal(right, tally[:, 0] > 0):
            yield "rows whose prediction is not the label are counted as right, or the other way round"
    yield from _other_score(run.record, score, kind, tally, groups if groups is not None else np.arange(len(tally)))
    rows = at_hand.of(run.record, task, language) if task is not None and language in task.languages else None
    if rows is None:
        submission.without_rows.add(run.record.task)
        return
    sha256 = run.record.data.sha256.get("test", {}).get(language)
    if sha256 != rows.sha256:
        yield "the rows that it was scored on are not the task's, according to their hash in the record"
    elif len(rows) != len(table):
        yield f"{len(table):,} predictions; the task has {len(rows):,} rows"
    elif task is not None and not _gives(task, table, rows, tally):
        yield "its counts do not match its predictions on the task's rows"


def _gives(task: Task, answers: pa.Table, rows: Rows, tally: np.ndarray) -> bool:
    """Return whether `answers` on `rows` give the (N, K) `tally`."""
    try:
        counted = np.asarray(task.of_kind.tally(answers, rows), dtype=np.float64)
    except (KeyError, TypeError, ValueError, IndexError) as error:  # the columns may be anything
        raise StoreError(f"not valid predictions for {task.of_kind.in_words}: {one_line(error)[:80]}") from error
    return np.array_equal(counted, tally)


def _check_unpacked(path: Path) -> None:
    """Raise StoreError if a file declares more than fits in memory; a damaged file is reported when it is read."""
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return
    chunks = [
        metadata.row_group(group).column(place)
        for group in range(metadata.num_row_groups)
        for place in range(metadata.num_columns)
    ]
    n_bytes, n_values = (
        sum(chunk.total_uncompressed_size for chunk in chunks),
        sum(chunk.num_values for chunk in chunks),
    )
    if n_bytes > MOST_BYTES_UNPACKED or n_values > MOST_VALUES:
        raise StoreError(
            f"{path}: unpacks to {n_bytes:,} bytes and {n_values:,} values; wanted at most {MOST_BYTES_UNPACKED:,} and"
            f" {MOST_VALUES:,}"
        )


def _other_score(
    record: RunRecord, score: Score, kind: type[Kind], tally: np.ndarray, groups: np.ndarray
) -> Iterator[str]:
    """Yield the numbers of the score that the (N, K) tally does not give."""
    measure = kind.measure(record.metric)
    of_predictions = {"value": measure.over(tally), "n_rows": len(tally)}
    of_record = {"value": score.value, "n_rows": score.n_rows}
    low, high = interval(measure, tally, groups)
    of_predictions |= {"the lower end of ci95": low, "the upper end of ci95": high}
    of_record |= {"the lower end of ci95": score.ci95[0], "the upper end of ci95": score.ci95[1]}
    totals = dict(zip(kind.counts, tally.sum(axis=0).tolist(), strict=True))
    of_predictions |= {f"the sum of {name}": totals[name] for name in score.totals if name in totals}
    of_record |= {f"the sum of {name}": total for name, total in score.totals.items()}
    known = {metric.name for metric in kind.metrics}
    of_predictions |= {name: kind.measure(name).over(tally) for name in score.more if name in known}
    of_record |= dict(score.more)
    for name, number in of_record.items():
        if name not in of_predictions:
            yield f"{name} is {number:.6g} in the record, but predictions of this kind do not give it"
        elif abs(number - of_predictions[name]) > ROUNDING:
            yield f"{name} is {number:.6g} in the record, but the predictions give {of_predictions[name]:.6g}"
