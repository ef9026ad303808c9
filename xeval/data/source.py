"""(task, language, split) → checked rows, from the hub or from a local copy."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xeval.data.embedded import corpus_folder
from xeval.data.hub import fetch
from xeval.data.xnli_copies import RawPairs, Reader, Role, read_hub, recognise
from xeval.definitions.task import Task
from xeval.kinds.pairs import LabelledPairs
from xeval.support.errors import DataError


@dataclass(frozen=True)
class DataSource:
    """An opened copy of a task's data."""

    task: Task
    folder: Path
    read: Reader
    name: str  # for the record: the hub id, or "local copy (<layout> layout)"
    revision: str | None


def open_source(task: Task, folder: Path | None, languages: Iterable[str], training: bool = True) -> DataSource:
    """Open the local copy in `folder`, or fetch from the hub what a zero-shot run over `languages` reads.

    Only the training language's training and selection rows are fetched, never another language's, and not even those
    unless there is `training` to be done.
    """
    if folder is not None:
        layout, reader = recognise(folder, task)
        return DataSource(task, folder, reader, f"local copy ({layout} layout)", None)
    if task.embedded:
        return DataSource(task, corpus_folder(task), read_hub, "embedded", None)
    if task.hub is None:
        raise DataError(f"task {task.name} names no hub data set; pass --data DIR with a local copy")
    cached, commit = fetch("dataset", task.hub.id, task.hub.revision, hub_patterns(task, languages, training))
    return DataSource(task, cached, read_hub, task.hub.id, commit)


def hub_patterns(task: Task, languages: Iterable[str], training: bool = True) -> list[str]:
    """Which files a run over `languages` reads, in the hub's layout."""
    english = task.configuration(task.training_language)
    splits = (task.splits.train, task.splits.selection) if training else ()
    patterns = [f"{english}/{split}*.parquet" for split in splits]
    return patterns + [f"{task.configuration(language)}/{task.splits.test}*.parquet" for language in languages]


def load_pairs(source: DataSource, language: str, role: Role) -> LabelledPairs:
    """The rows of `role` ("train", "selection" or "test") in `language`, all of them labelled.

    Raises DataError for missing files, labels or rows: selection and test splits must have exactly the number of rows
    that the task file states, and no split may have one label throughout.
    """
    task = source.task
    raw = source.read(task, source.folder, language, role)
    split = getattr(task.splits, role)
    where = f"{raw.path}: {split} rows of {language!r}"
    expected = getattr(task.expected_rows, role)
    if not raw.labels or (role != "train" and len(raw.labels) != expected):
        raise DataError(
            f"{where}: wanted {expected:,}, found {len(raw.labels):,}; fetch the file again or mend the task file"
        )
    for column in (raw.premises, raw.hypotheses):
        for number, text in enumerate(column, start=1):
            if not isinstance(text, str):
                raise DataError(f"{where}: row {number} has no text, got {repr(text)[:80]}; fetch the file again")
    labels = _label_indices(task, raw, where)
    return LabelledPairs(language, split, raw.premises, raw.hypotheses, labels)


def _label_indices(task: Task, raw: RawPairs, where: str) -> np.ndarray:
    """(N,) int64 indices into the task's labels; names decide wherever the file has them, never their order."""
    index_of: dict[str | int | None, int] = {label: index for index, label in enumerate(task.labels)}
    index_of |= {alias: index_of[label] for alias, label in task.label_aliases.items()}
    names = raw.label_names if raw.label_names is not None else list(task.labels)
    index_of_value = index_of | {number: index_of[name] for number, name in enumerate(names) if name in index_of}

    for number, value in enumerate(raw.labels, start=1):
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise DataError(
                f"{where}: row {number} has label {repr(value)[:80]}; wanted one of {', '.join(task.labels)}"
            )
    counts = Counter(raw.labels)
    if counts.keys() <= {None, "", "-", -1, "-1"}:
        raise DataError(
            f"{where} carry no labels (XTREME and some mirrors strip them), so they cannot be scored;"
            " use the hub's copy or XNLI-1.0"
        )
    strays = [value for value in counts if value not in index_of_value]
    if strays:
        number = raw.labels.index(strays[0]) + 1
        raise DataError(
            f"{where}: row {number} has label {repr(strays[0])[:80]}; wanted one of {', '.join(task.labels)}"
        )
    if len(counts) == 1 and len(raw.labels) >= 10:
        raise DataError(
            f"{where} are all labelled {next(iter(counts))!r}, a placeholder; use a copy that carries the labels"
        )
    return np.array([index_of_value[value] for value in raw.labels], dtype=np.int64)
