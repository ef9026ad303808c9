"""Layouts of copies of a task's data on disk, each read into a table. Values are left as they are found.

- hub: a folder for each language, `<configuration>/<split>-*.parquet`, or `<configuration>/<split>/*.parquet` as in the
  hub's own conversions (refs/convert/parquet); the data of any task can have this layout, and `<split>.parquet`,
  `.tsv`, `.csv` and `.jsonl` work as well.
- XTREME: `train-en.tsv`, `dev-<language>.tsv`, `test-<language>.tsv`, as its download script writes them.
- the authors': wherever the task's `files` say, in tables or in a format of the task's kind, such as CoNLL-U.
- XNLI-1.0: `xnli.dev.tsv`, `xnli.test.tsv`, `multinli.train.<language>.tsv`, as the authors of XNLI distribute it.
"""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from xeval.data import tables
from xeval.data.tables import Columns, Wanted
from xeval.definitions.task import DEV, Files, Task
from xeval.kinds.rows import ID, LANGUAGE, Table
from xeval.support.errors import CopyError, DataError, NoRowsError
from xeval.support.files import visible

Role = str  # "train", "selection" or "test"
Reader = Callable[[Task, Path, str, Role], Table]

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?\.parquet$")
MANY_ROWS = 1_000_000  # assumed if nothing says how many there should be
SUFFIXES = (".parquet", ".tsv", ".csv", ".jsonl")


def local_copy(data: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder with a local copy of the data: `data`, or else what XEVAL_DATA names; None if neither does."""
    named = data or os.environ.get("XEVAL_DATA")
    return Path(named) if named else None


def recognise(folder: Path, task: Task) -> tuple[str, Reader]:
    """Return the name of the layout that `folder` has, and its reader. Raises DataError if there is none."""
    if not folder.is_dir():
        raise NoRowsError(
            f"{folder}: wanted a folder with a copy of {task.name}, found none; check --data or XEVAL_DATA"
        )
    if task.files and any(_fitting(folder, patterns, name) for patterns in _all(task.files) for name in task.languages):
        return "authors'", read_files
    if _can_be_official(task) and (_official_file(folder, "xnli.test.tsv") or _official_file(folder, "xnli.dev.tsv")):
        return "XNLI-1.0", read_official
    if any(folder.glob("test-*.tsv")) or any(folder.glob("dev-*.tsv")):
        return "XTREME", read_xtreme
    below = [f"*/*{suffix}" for suffix in (*SUFFIXES, *task.of_kind.native)]
    below += [f"*/{split}/*.parquet" for split in (task.splits.test, task.splits.selection, task.splits.train)]
    if any(next(folder.glob(pattern), None) for pattern in below):
        return "hub", read_hub
    raise NoRowsError(
        f"{folder}: no copy of {task.name} recognised; wanted <language>/<split>-*.parquet (the hub's layout; .tsv,"
        f" .csv and .jsonl work too){_other_layouts(task)} or test-<language>.tsv (XTREME)"
    )


def _other_layouts(task: Task) -> str:
    """Return, for a list, what a copy of `task` may hold in the layout of its authors."""
    named = task.files.test[:1] if task.files else ()  # none for a split that the task file does not know
    own = "".join(f", {path.replace('{language}', '<language>')} (its authors' layout)" for path in named)
    return own + (", xnli.test.tsv (XNLI-1.0)" if _can_be_official(task) else "")


def wanted_of(task: Task, language: str, role: Role) -> Wanted:
    kind, expected = task.of_kind, task.expected_rows.of(role, language)
    most_rows = 10 * (expected or task.expected_rows.train or MANY_ROWS)
    return Wanted(kind.text_columns, kind.gold_columns, most_rows, (ID, *LANGUAGE))


def _table(task: Task, path: Path, language: str, role: Role, columns: Columns) -> Table:
    split = getattr(task.splits, role)
    where = f"{path}: {split} rows of {language!r}"
    return Table(language, split, where, columns.values, columns.value_names)


def _read(task: Task, paths: list[Path], language: str, role: Role) -> Table:
    """Read the rows of files of one format, one after the other."""
    kind, wanted, suffix = task.of_kind, wanted_of(task, language, role), paths[0].suffix
    if suffix not in SUFFIXES or suffix in kind.native:
        columns = Columns(kind.columns_in({str(path): tables.read_text(path) for path in paths}), {})
    elif other := next((path for path in paths if path.suffix != suffix), None):
        raise DataError(f"{paths[0]} and {other}: wanted the {role} rows of {language!r} in files of one format")
    elif suffix == ".parquet":
        columns = tables.read_parquet(paths, wanted)
    elif suffix == ".jsonl":
        columns = tables.joined(paths, [tables.read_json_lines(path, wanted) for path in paths])
    else:
        columns = tables.joined(paths, [tables.read_delimited(path, wanted) for path in paths])
    table = _table(task, paths[0], language, role, columns)
    _check_language(task, table)
    return table


def _check_language(task: Task, table: Table) -> None:
    """Raise DataError if a column says that a row is in another of the task's languages.

    Any other value may be the file's own name for the table's language, such as `German` or `de-AT`.
    """
    others = {*task.languages, task.training_language} - {table.language}
    for name in LANGUAGE:
        for number, value in enumerate(table.columns.get(name, ()), start=1):
            if isinstance(value, str) and value in others:
                raise DataError(
                    f"{table.where}: row {number:,} has {value!r} in column {name!r}; wanted one language in a file"
                )


# ── a folder for each language ──


def read_hub(task: Task, folder: Path, language: str, role: Role) -> Table:
    configuration, split = task.configuration(language), getattr(task.splits, role)
    inside = folder / configuration
    suffixes = dict.fromkeys((*SUFFIXES, *task.of_kind.native))
    names = (f"{split}-*.parquet", f"{split}/*.parquet", *(f"{split}{suffix}" for suffix in suffixes))
    forms = [paths for name in names if (paths := visible(inside, name))]
    if len(forms) > 1:
        several = " and ".join(str(paths[0].relative_to(inside)) for paths in forms)
        raise DataError(f"{inside}: {several} both hold the {role} rows of {language!r}; keep only one of them")
    if forms:
        _check_shards(forms[0])
        return _read(task, forms[0], language, role)
    raise NoRowsError(
        f"{folder}: no {configuration}/{split}-*.parquet, which the {role} rows of {language!r} are read from;"
        f" add it, or {split}.tsv, .csv or .jsonl"
    )


def _check_shards(paths: list[Path]) -> None:
    """Raise CopyError if names such as `test-00000-of-00002.parquet` imply files that are not there.

    Raise DataError if they imply files of two versions, which a download into one folder leaves beside each other.
    """
    numbers = [(path.name, *match.groups()) for path in paths if (match := _SHARD.search(path.name))]
    for _, _, n_shards in numbers[:1]:
        missing = sorted(set(range(int(n_shards))) - {int(number) for _, number, _ in numbers})
        if missing:
            raise CopyError(
                f"{paths[0].parent}: wanted {int(n_shards):,} files numbered like {paths[0].name},"
                f" {len(missing):,} of them missing (first number {missing[0]:05})"
            )
    named: dict[str, str] = {}
    for name, number, _ in numbers:
        if named.setdefault(number, name) != name:
            raise DataError(
                f"{paths[0].parent}: {named[number]} and {name} are one part of the split in two versions; keep only"
                " the files of one version"
            )


# ── where the task file says ──


def read_files(task: Task, folder: Path, language: str, role: Role) -> Table:
    patterns: tuple[str, ...] = getattr(task.files, role)
    if not patterns:
        split, remedy = getattr(task.splits, role), "leave out --test-split" if role == "test" else "add them there"
        raise NoRowsError(
            f"{folder}: the task file names no files of the split {split!r} under [files], which the {role} rows of"
            f" {language!r} are read from; {remedy}"
        )
    paths = _fitting(folder, patterns, language)
    if not paths:
        names = " or ".join(pattern.format(language=language) for pattern in patterns)
        raise NoRowsError(f"{folder}: no {names}, which the {role} rows of {language!r} are read from; add it")
    return _read(task, paths, language, role)


def _all(files: Files) -> tuple[tuple[str, ...], ...]:
    return files.test, files.selection, files.train


def _fitting(folder: Path, patterns: tuple[str, ...], language: str) -> list[Path]:
    """Return the files that match the first of `patterns` that matches any. A folder is not one, whatever its name."""
    fits = (visible(folder, pattern.format(language=language)) for pattern in patterns)
    files = ([path for path in paths if not path.is_dir()] for paths in fits)
    return next((paths for paths in files if paths), [])


# ── XTREME ──


def read_xtreme(task: Task, folder: Path, language: str, role: Role) -> Table:
    part = {"train": "train", "selection": "dev"}.get(role) or task.test_split or "test"
    path = folder / f"{part}-{language}.tsv"
    if not path.is_file():
        raise NoRowsError(f"{folder}: no {path.name}, which the {role} rows of {language!r} are read from; add it")
    if path.suffix in task.of_kind.native:
        return _read(task, [path], language, role)
    # Written by csv.writer, so a field with a quotation mark is quoted and the mark doubled.
    return _table(task, path, language, role, tables.read_headless(path, wanted_of(task, language, role)))


# ── XNLI-1.0 ──


def _can_be_official(task: Task) -> bool:
    """Return whether rows are two texts and one label, which is all that these files hold."""
    kind = task.of_kind
    return bool(kind.labels) and (len(kind.text_columns), len(kind.gold_columns)) == (2, 1)


def _official_file(folder: Path, name: str) -> Path | None:
    """Find the file in `folder` or up to two levels below it; None if it is not there.

    The archives unpack to XNLI-1.0/ and XNLI-MT-1.0/multinli/, and users keep either level.
    """
    return next((path for pattern in ("", "*/", "*/*/") for path in sorted(folder.glob(pattern + name))), None)


def read_official(task: Task, folder: Path, language: str, role: Role) -> Table:
    part = "selection" if (role, task.test_split) == ("test", DEV) else role
    name = {"train": f"multinli.train.{language}.tsv", "selection": "xnli.dev.tsv", "test": "xnli.test.tsv"}[part]
    if part == "test" and task.test_split:
        name = f"xnli.{task.test_split}.tsv"
    path = _official_file(folder, name)
    if path is None:
        raise NoRowsError(f"{folder}: no {name}, which the {role} rows of {language!r} are read from; add it")
    if role == "train":
        rows = _official_rows(path, ("premise", "hypo", "label"))
    else:
        all_rows = _kept_rows(path, ("sentence1", "sentence2", "gold_label", "language"), path.stat().st_mtime_ns)
        rows = [row[:3] for row in all_rows if row[3] == language]
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    values = {name: list(column) for name, column in zip(wanted_of(task, language, role).columns, columns, strict=True)}
    return _table(task, path, language, role, Columns(values, {}))


def _official_rows(path: Path, named: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return what each row has in the columns `named`. A quotation mark is a character like any other."""
    text = tables.read_text(path)
    header, *rows = tables.lines_of(path, text, "\t", tables.other_length, may_be_quoted=False) or [[]]
    lacking = [column for column in named if column not in header]
    if lacking:
        raise CopyError(f"{path}: no column {lacking[0]!r} in its first line")
    places = [header.index(column) for column in named]
    return [tuple(row[place] for place in places) for row in rows]


@lru_cache(maxsize=1)
def _kept_rows(path: Path, named: tuple[str, ...], changed_ns: int) -> list[tuple[str, ...]]:
    """Return the rows of a file of all languages, which is read for one after the other.

    `changed_ns`, the time of the last change, makes an edited file be read again.
    """
    return _official_rows(path, named)
