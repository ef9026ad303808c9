"""The three shapes in which copies of XNLI lie on disks, each read into raw rows. Labels are left as they are found.

- hub: `<configuration>/<split>-*.parquet`, as on the hub; any task's own data can be laid out so.
- XNLI-1.0: `xnli.dev.tsv`, `xnli.test.tsv`, `multinli.train.<language>.tsv`, as the authors distribute it.
- XTREME: `train-en.tsv`, `dev-<language>.tsv`, `test-<language>.tsv`, as its download script writes them.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xeval.definitions.task import Task
from xeval.support.errors import DataError
from xeval.support.files import check_ordinary
from xeval.support.text import one_line

# A file of a few kilobytes can stand for terabytes of rows, so what it says is looked at before it is unpacked.
MAX_FILE_BYTES = 4_000_000_000
MAX_TEXT_BYTES = 100_000

Role = str  # "train", "selection" or "test"


@dataclass(frozen=True)
class RawPairs:
    """Rows as the file has them; a label is a name, a number, or None where the file carries none."""

    path: Path
    premises: list[str]
    hypotheses: list[str]
    labels: list[str | int | None]
    label_names: list[str] | None = None  # what the numbers stand for, where the file says so


Reader = Callable[[Task, Path, str, Role], RawPairs]


def recognise(folder: Path, task: Task) -> tuple[str, Reader]:
    """The name of the layout that `folder` is in, and its reader."""
    if not folder.is_dir():
        raise DataError(f"{folder}: wanted a folder with a copy of {task.name}, found none; check --data or XEVAL_DATA")
    if _official_file(folder, "xnli.test.tsv") or _official_file(folder, "xnli.dev.tsv"):
        return "XNLI-1.0", read_official
    if any(folder.glob("test-*.tsv")) or any(folder.glob("dev-*.tsv")):
        return "XTREME", read_xtreme
    if any(folder.glob("*/*.parquet")):
        return "hub", read_hub
    raise DataError(
        f"{folder}: no copy of {task.name} recognised; wanted <language>/<split>-*.parquet (the hub's layout),"
        " xnli.test.tsv (XNLI-1.0) or test-<language>.tsv (XTREME)"
    )


def read_hub(task: Task, folder: Path, language: str, role: Role) -> RawPairs:
    configuration, split = task.configuration(language), getattr(task.splits, role)
    paths = sorted((folder / configuration).glob(f"{split}-*.parquet")) or sorted(
        (folder / configuration).glob(f"{split}.parquet")
    )
    if not paths:
        raise DataError(
            f"{folder}: no {configuration}/{split}-*.parquet, which the {role} rows of {language!r} are read from;"
            " add it"
        )
    most_rows = 10 * getattr(task.expected_rows, role)
    try:
        return _read_parquet(task, paths, most_rows)
    except DataError:
        raise
    except Exception as error:  # a damaged file surfaces in dozens of ways
        raise DataError(f"{paths[0]}: not readable as parquet ({one_line(error)[:120]}); fetch it again") from error


def _read_parquet(task: Task, paths: list[Path], most_rows: int) -> RawPairs:
    columns = task.columns
    texts = [columns.premise, columns.hypothesis]
    table = pa.concat_tables([_table(path, texts, columns.label, most_rows) for path in paths])
    return RawPairs(
        paths[0],
        _values(table[columns.premise], paths[0], columns.premise),
        _values(table[columns.hypothesis], paths[0], columns.hypothesis),
        _values(table[columns.label], paths[0], columns.label)
        if columns.label in table.column_names
        else [None] * len(table),
        _label_names(table.schema, columns.label),
    )


def _table(path: Path, texts: list[str], label: str, most_rows: int) -> pa.Table:
    """The columns `texts` of the file at `path`, with every text in memory once, however often it is repeated, and the
    column `label` if there is one. No other column is read.
    """
    try:
        check_ordinary(path, MAX_FILE_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    schema = pq.read_schema(path)
    lacking = [name for name in texts if name not in schema.names]
    if lacking:
        raise DataError(f"{path}: no column {lacking[0]!r}; it has {one_line(', '.join(schema.names))[:200]}")
    metadata = pq.read_metadata(path)
    if metadata.num_rows > most_rows:
        raise DataError(
            f"{path}: {metadata.num_rows:,} rows, more than ten times what the task file says; mend one of the two"
        )
    wanted = [name for name in (*texts, label) if name in schema.names]
    unpacked = _unpacked_bytes(metadata, wanted)
    if unpacked > MAX_FILE_BYTES:
        raise DataError(f"{path}: unpacks to {unpacked:,} bytes; wanted at most {MAX_FILE_BYTES:,}")
    repeated = [name for name in wanted if _is_text(schema.field(name).type)]
    return pq.read_table(path, columns=wanted, read_dictionary=repeated)


def _unpacked_bytes(metadata: pq.FileMetaData, names: list[str]) -> int:
    """What the columns of these names unpack to, as the file says."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    inside = tuple(f"{name}." for name in names)  # of a nested column
    return sum(column.total_uncompressed_size for column in columns if f"{column.path_in_schema}.".startswith(inside))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _values(column: pa.ChunkedArray, path: Path, name: str) -> list[Any]:
    """The values of a column as Python's, after a look at how much that will be."""
    kind = column.type
    if pa.types.is_nested(kind):
        raise DataError(f"{path}: column {name!r} holds {one_line(kind)[:80]}; wanted text")
    if pa.types.is_dictionary(kind):
        _refuse_huge(column, path, name)
        column = column.cast(kind.value_type)
    values: list[Any] = column.to_pylist()
    return values


def _refuse_huge(column: pa.ChunkedArray, path: Path, name: str) -> None:
    total = 0
    for chunk in column.chunks:
        lengths = pc.fill_null(pc.binary_length(chunk.dictionary), 0)
        longest = pc.max(lengths).as_py() or 0
        if longest > MAX_TEXT_BYTES:
            raise DataError(
                f"{path}: column {name!r} has a text of {longest:,} bytes; wanted {MAX_TEXT_BYTES:,} at most"
            )
        total += pc.sum(lengths.cast(pa.int64()).take(chunk.indices)).as_py() or 0
    if total > MAX_FILE_BYTES:
        raise DataError(f"{path}: column {name!r} unpacks to {total:,} bytes; wanted at most {MAX_FILE_BYTES:,}")


def _label_names(schema: pa.Schema, column: str) -> list[str] | None:
    feature = datasets.Features.from_arrow_schema(schema).get(column)
    return feature.names if isinstance(feature, datasets.ClassLabel) else None


def _official_file(folder: Path, name: str) -> Path | None:
    """The archives unpack to XNLI-1.0/ and XNLI-MT-1.0/multinli/; users keep either level."""
    return next((path for pattern in ("", "*/", "*/*/") for path in sorted(folder.glob(pattern + name))), None)


def read_official(task: Task, folder: Path, language: str, role: Role) -> RawPairs:
    name = {"train": f"multinli.train.{language}.tsv", "selection": "xnli.dev.tsv", "test": "xnli.test.tsv"}[role]
    path = _official_file(folder, name)
    if path is None:
        raise DataError(f"{folder}: no {name}, which the {role} rows of {language!r} are read from; add it")
    # No quoting in these files: a quotation mark is a character like any other.
    header, *rows = _tab_separated(path, quoted=False) or [[]]
    wanted = ["premise", "hypo", "label"] if role == "train" else ["sentence1", "sentence2", "gold_label", "language"]
    lacking = [column for column in wanted if column not in header]
    if lacking:
        raise DataError(f"{path}: no column {lacking[0]!r} in its first line; fetch the file again")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DataError(
                f"{path}: line {number} has {len(row)} fields; its first line names {len(header)}; fetch the file again"
            )
    premise, hypothesis, label = (header.index(column) for column in wanted[:3])
    kept = rows if role == "train" else [row for row in rows if row[header.index("language")] == language]
    return RawPairs(path, [r[premise] for r in kept], [r[hypothesis] for r in kept], [r[label] for r in kept])


def read_xtreme(task: Task, folder: Path, language: str, role: Role) -> RawPairs:
    path = folder / f"{'dev' if role == 'selection' else role}-{language}.tsv"
    if not path.is_file():
        raise DataError(f"{folder}: no {path.name}, which the {role} rows of {language!r} are read from; add it")
    # Written by csv.writer, so a field with a quotation mark is quoted and the mark doubled.
    rows = _tab_separated(path, quoted=True)
    for number, row in enumerate(rows, start=1):
        if len(row) not in (2, 3):
            raise DataError(f"{path}: row {number} has {len(row)} fields; wanted premise, hypothesis and label")
    return RawPairs(path, [r[0] for r in rows], [r[1] for r in rows], [r[2] if len(r) == 3 else None for r in rows])


def _tab_separated(path: Path, quoted: bool) -> list[list[str]]:
    """The rows of a tab-separated file, blank lines left out."""
    try:
        check_ordinary(path, MAX_FILE_BYTES)
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
            return [row for row in rows if row]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; fetch the file again") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table: {one_line(error)}") from error
