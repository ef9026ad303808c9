"""(task, language, split) → checked rows, from the hub or from a local copy."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from xeval.data.embedded import corpus_folder
from xeval.data.hub import fetch
from xeval.data.layouts import Reader, Role, read_hub, recognise
from xeval.definitions.task import Task
from xeval.kinds.rows import ID, Rows, Table
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
        raise DataError(
            f"task {task.name} names no hub data set; pass --data DIR with a local copy (see {task.source_url})"
        )
    cached, commit = fetch("dataset", task.hub.id, task.hub.revision, hub_patterns(task, languages, training))
    return DataSource(task, cached, read_hub, task.hub.id, commit)


def hub_patterns(task: Task, languages: Iterable[str], training: bool = True) -> list[str]:
    """Which files a run over `languages` reads, in the hub's layout."""
    english = task.configuration(task.training_language)
    roles = task.training_roles if training else ()
    patterns = [f"{english}/{getattr(task.splits, role)}*.parquet" for role in roles]
    return patterns + [f"{task.configuration(language)}/{task.splits.test}*.parquet" for language in languages]


def load_rows(source: DataSource, language: str, role: Role) -> Rows:
    """The rows of `role` ("train", "selection" or "test") in `language`, all of them with their right answers.

    Raises DataError for missing files, answers or rows: selection and test splits must have exactly the number of rows
    that the task file states.
    """
    task = source.task
    if role == "selection" and not task.has_selection:
        raise DataError(f"task {task.name} has no rows to select a checkpoint on; take the last (--selection last)")
    table = source.read(task, source.folder, language, role)
    expected = task.expected_rows.of(role, language)
    if not len(table) or (role != "train" and expected is not None and len(table) != expected):
        wanted = f"{expected:,}" if expected is not None else "some"
        raise DataError(
            f"{table.where}: wanted {wanted}, found {len(table):,}; fetch it again, or mend expected_rows.{role}"
            " in the task file, which may be a table by language"
        )
    return replace(task.of_kind.read(table), ids=_ids(table))


def _ids(table: Table) -> list[str] | None:
    """The name of each row, where the file names every one."""
    values = table.columns.get(ID, ())
    return [str(value) for value in values] if values and all(value not in (None, "") for value in values) else None
