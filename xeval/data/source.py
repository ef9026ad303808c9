"""(task, language, split) → checked rows, from the hub or from a local copy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from xeval.data.embedded import corpus_folder
from xeval.data.hub import cached_folder, fetch, missing_bytes
from xeval.data.layouts import Reader, Role, read_hub, recognise
from xeval.definitions.task import DEFAULT, Task
from xeval.kinds.labels import LabelMatcher, is_missing, whole_number
from xeval.kinds.rows import ID, Rows, Table
from xeval.support.errors import CopyError, DataError, NoRowsError
from xeval.support.text import one_line


@dataclass(frozen=True)
class DataSource:
    """An opened copy of a task's data."""

    task: Task
    folder: Path
    read: Reader
    name: str  # for the record: the hub id, or "local copy (<layout> layout)"
    revision: str | None
    is_own: bool = False  # whether the copy is in a folder of the user's
    # By column: a table whose numbers have names in another order than the labels, and a table with numbers alone.
    _named: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    _bare: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def remedy(self) -> str:
        """What to do about a file that cannot be used."""
        return "correct the file, or fetch it again if it was downloaded" if self.is_own else "fetch the file again"

    def check_numbering(self, table: Table) -> None:
        """Raise DataError if one table's numbers have names in another order than the task's labels and another's none.

        The same numbers would then mean different labels.
        """
        kind = self.task.of_kind
        matcher = LabelMatcher(kind.labels, kind.label_aliases)
        for column in kind.gold_columns if kind.labels else ():
            names = table.value_names.get(column)
            if names is not None and not matcher.is_in_order(names):
                self._named[column] = f"{table.where} have {one_line(', '.join(names))[:120]}"
            elif names is None and _has_numbers(table.columns.get(column, ()), matcher):
                self._bare[column] = table.where
            if column in self._named and column in self._bare:
                raise DataError(
                    f"{self._bare[column]} have numbers without names in column {column!r}, and {self._named[column]},"
                    " in another order than the task file, so it is not certain what the numbers mean; write labels as"
                    " text, or give them names in every file"
                )


def _has_numbers(values: Sequence[Any], matcher: LabelMatcher) -> bool:
    """Return whether cells are numbers that are not names of labels, judging by the first one that is not missing."""
    cells = chain.from_iterable(value if isinstance(value, list) else [value] for value in values)
    first = next((cell for cell in cells if not is_missing(cell)), None)
    return whole_number(first) is not None and matcher.of_name(first) is None


def open_source(task: Task, folder: Path | None, languages: Iterable[str], training: bool = True) -> DataSource:
    """Open the local copy in `folder`, or fetch from the hub what a zero-shot run over `languages` reads.

    Training and selection rows are fetched only in the training language, and only if there is `training` to do.
    """
    if folder is not None:
        layout, reader = recognise(folder, task)
        return DataSource(task, folder, reader, f"local copy ({layout} layout)", None, is_own=True)
    if task.embedded:
        return DataSource(task, corpus_folder(task), read_hub, "embedded", None)
    if task.hub is None:
        raise DataError(
            f"task {task.name} names no hub data set; pass --data DIR with a local copy (see {task.source_url})"
        )
    cached, commit = fetch("dataset", task.hub.id, task.hub.revision, hub_patterns(task, languages, training))
    return DataSource(task, cached, read_hub, task.hub.id, commit)


def missing_data_bytes(task: Task, languages: Iterable[str], training: bool = True) -> int | None:
    """Return how many bytes `open_source` would download of the hub's copy; None if that is unknown."""
    if task.embedded or task.hub is None:
        return 0
    patterns = hub_patterns(task, languages, training)
    if cached_folder("dataset", task.hub.id, task.hub.revision, patterns) is not None:
        return 0
    return missing_bytes("dataset", task.hub.id, task.hub.revision, patterns)


def hub_patterns(task: Task, languages: Iterable[str], training: bool = True) -> list[str]:
    """Return patterns of the files that a run over `languages` reads, in the hub's layout."""
    english = task.configuration(task.training_language)
    roles = task.training_roles if training else ()
    patterns = [f"{english}/{getattr(task.splits, role)}*.parquet" for role in roles]
    return patterns + [f"{task.configuration(language)}/{task.splits.test}*.parquet" for language in languages]


def load_rows(source: DataSource, language: str, role: Role) -> Rows:
    """Load all rows of `role` ("train", "selection" or "test") in `language`, with their right answers.

    Raises DataError for missing files, answers or rows: selection and test splits must have exactly the number of rows
    that the task file states.
    """
    task = source.task
    if role == "selection" and not task.has_selection:
        raise DataError(f"task {task.name} has no rows to select a checkpoint on; keep the last (--selection last)")
    try:
        table = source.read(task, source.folder, language, role)
        _check_count(source, table, language, role)
        rows = replace(task.of_kind.read(table), ids=_ids(table))
    except CopyError as error:
        raise DataError(f"{error}; {source.remedy}") from error
    source.check_numbering(table)
    return rows


def _check_count(source: DataSource, table: Table, language: str, role: Role) -> None:
    task = source.task
    n_rows, expected, stated = len(table), task.expected_rows.of(role, language), getattr(task.expected_rows, role)
    if n_rows and (role == "train" or expected in (None, n_rows)):
        return
    problem = f"{table.where}: wanted {f'{expected:,}' if expected is not None else 'some'}, found {n_rows:,}"
    if not n_rows:
        raise NoRowsError(f"{problem}; {source.remedy}")
    others = "" if isinstance(stated, dict) else f"{DEFAULT} = {stated}, "
    into = f"{role} = {{ {others}{language} = {n_rows} }} under [expected_rows]"
    raise CopyError(f"{problem} (if that is right, say {into} in the task file)")


def _ids(table: Table) -> list[str] | None:
    """Return the id of each row if the file gives one for every row; None otherwise."""
    values = table.columns.get(ID, ())
    return [str(value) for value in values] if values and all(value not in (None, "") for value in values) else None
