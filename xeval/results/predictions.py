"""Predictions of a run ↔ `predictions/<language>.parquet` in its folder: row, group, tally, and its kind's own columns.

`tally` holds a vector of counts for each row; scores are computed from sums of these vectors. Files of version 0.1.0,
which knew pairs only, have `premise` instead of `group` and no tally; both forms are read.
"""

import hashlib
import io
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xeval.support.errors import StoreError
from xeval.support.files import read_ordinary, safe_name, write_atomically

_MOST_LABELS = 5000  # tables of labels by labels are made of these
_REMEDY = "the command that made it writes it again"  # each looks for intact predictions, and makes up for others


def save_predictions(
    folder: Path,
    language: str,
    answers: pa.Table,
    tally: np.ndarray,
    groups: np.ndarray,
    places: np.ndarray | None = None,
) -> str:
    """Write `answers`, one line for each of N rows, with their (N, K) `tally` and (N,) `groups`; return the SHA-256.

    `groups` gives the same number to rows that depend on each other, which resampling needs. `places` are the numbers
    of these rows in the split; by default, the first N.
    """
    content = as_parquet(answers, tally, groups, places)
    write_atomically(predictions_path(folder, language), content)
    return hashlib.sha256(content).hexdigest()


def as_parquet(answers: pa.Table, tally: np.ndarray, groups: np.ndarray, places: np.ndarray | None = None) -> bytes:
    """Return the content of a predictions file. Equal predictions give equal bytes, in one version of pyarrow."""
    columns = {
        "row": pa.array(np.arange(len(answers)) if places is None else places, pa.int32()),
        "group": pa.array(groups, pa.int32()),
        "tally": pa.FixedSizeListArray.from_arrays(pa.array(tally.ravel(), pa.float64()), tally.shape[1]),
    }
    table = pa.table(columns | dict(zip(answers.column_names, answers.columns, strict=True)))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def are_stored(folder: Path, language: str, sha256: str, content: bytes) -> bool:
    """Return whether the file of `language`, whose hash the record has, holds the table of `content`, another such one.

    Versions of pyarrow write the same table in different bytes.
    """
    if hashlib.sha256(content).hexdigest() == sha256:
        return True
    try:
        both = (read_predictions(folder, language, sha256), content)
        mine, theirs = (pq.ParquetFile(pa.BufferReader(each)).read(use_threads=False) for each in both)
    except (StoreError, pa.ArrowException, OSError):
        return False
    return bool(mine.equals(theirs))


def load_predictions(
    folder: Path, language: str, sha256: str, only: Collection[str] | None = None, n_labels: int | None = None
) -> pa.Table:
    """Load the prediction table of `language`, and check its hash, which the record has, and its form.

    `only` limits it to those of these columns that it has, since decoding the others takes most of the time. `n_labels`
    is the number of labels, if it is known. Raises StoreError for a file that is absent, damaged, or has the right hash
    but content that xeval does not write.
    """
    path, content = predictions_path(folder, language), read_predictions(folder, language, sha256)
    try:
        file = pq.ParquetFile(pa.BufferReader(content))  # read_table would load pandas, and so would to_numpy
        schema = file.schema_arrow
        problem = _problem_in_names(schema)
        columns = None if only is None else [name for name in schema.names if name in only]
        table = file.read(columns=columns, use_threads=False) if not problem else None  # starting threads takes longer
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path}: not a readable Parquet file; {_REMEDY}") from error
    if problem := problem or _problem(schema, table, n_labels or _MOST_LABELS):
        raise StoreError(f"{path}: not what xeval writes: {problem}; {_REMEDY}")
    return table


def read_predictions(folder: Path, language: str, sha256: str) -> bytes:
    """Read the file of `language` and check its hash, which the record has. Raises StoreError if that fails."""
    path = predictions_path(folder, language)
    try:
        content = read_ordinary(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}; {_REMEDY}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(f"{path}: damaged (it is not what the record was made from); {_REMEDY}")
    return content


def _problem_in_names(schema: pa.Schema) -> str:
    """Return how the columns differ from what `save_predictions` writes, though the hash is right; "" if not at all."""
    is_old = "tally" not in schema.names
    needed = ("row", "label", "prediction", "logits") if is_old else ("row", "group", "tally", "prediction")
    for name in dict.fromkeys((*needed, *schema.names)):
        n_found = schema.names.count(name)
        if n_found != 1:
            return f"wanted one column {name}, found {n_found}"
    for name in ("row", "group", "premise"):
        if name in schema.names and schema.field(name).type != pa.int32():
            return f"wanted whole numbers of 32 bits in {name}"
    return ""


def _problem(schema: pa.Schema, table: pa.Table, n_labels: int) -> str:
    """Return the same for the values of `table`, which has some columns of this `schema`."""
    if not len(table):
        return "wanted at least one row"
    for name in table.column_names:
        if table[name].null_count:
            return f"wanted a value of {name} in each row"
    for name, kind in {"tally": pa.float64(), "logits": pa.float32()}.items():
        if name in table.column_names and (problem := _problem_in_lists(table, name, kind)):
            return problem
    if "logits" in schema.names:
        return _problem_in_labels(schema, table)
    return _problem_in_numbers(table, n_labels) if has_labels(table) else ""


def _problem_in_numbers(table: pa.Table, n_labels: int) -> str:
    """Return what is wrong with labels without logits, which must be numbers below `n_labels`; "" if nothing is."""
    numbers = [column(table, name) for name in ("label", "prediction")]
    if any(own.min() < 0 or own.max() >= n_labels for own in numbers):
        return f"wanted labels and predictions from 0 to {n_labels - 1:,}"
    return ""


def _problem_in_lists(table: pa.Table, name: str, value_type: pa.DataType) -> str:
    kind = table.schema.field(name).type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type != value_type or not kind.list_size:
        return f"wanted lists of one size of {value_type.bit_width}-bit numbers in {name}"
    if table[name].combine_chunks().flatten().null_count or not np.isfinite(column(table, name)).all():
        return f"wanted finite numbers in {name}"
    return ""


def _problem_in_labels(schema: pa.Schema, table: pa.Table) -> str:
    """Return what is wrong with labels and predictions, which must be numbers of logits; "" if nothing is."""
    n_labels = getattr(schema.field("logits").type, "list_size", 0)
    if n_labels > _MOST_LABELS:
        return f"wanted at most {_MOST_LABELS:,} logits per row"
    for name in ("label", "prediction"):
        if name not in schema.names:
            return f"wanted one column {name}, found 0"
        if schema.field(name).type != pa.int32():
            return f"wanted whole numbers of 32 bits in {name}"
        if name in table.column_names:
            numbers = column(table, name)
            if numbers.min() < 0 or numbers.max() >= n_labels:
                return f"wanted a {name} for which there is a logit"
    return ""


def column(table: pa.Table, name: str) -> np.ndarray:
    """Return (N,) numbers, or (N, C) if each row has a list of them."""
    values = table[name].combine_chunks()
    if pa.types.is_fixed_size_list(values.type):
        return np.from_dlpack(values.flatten()).reshape(len(table), values.type.list_size)
    return np.from_dlpack(values)


def has_labels(table: pa.Table) -> bool:
    """Return whether rows have a gold label and a predicted one, as numbers."""
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    return all(types.get(name) == pa.int32() for name in ("label", "prediction"))


def has_logits(table: pa.Table) -> bool:
    """Return whether there are such labels and also logits, which predictions computed elsewhere may lack."""
    return has_labels(table) and "logits" in table.column_names


def n_logits(table: pa.Table) -> int:
    """Return the number of labels in a table with logits."""
    return int(table.schema.field("logits").type.list_size)


def label_counts(table: pa.Table) -> np.ndarray:
    """Return the (C, C) numbers of rows by gold label, then by predicted label, in a table with logits."""
    n = n_logits(table)
    both = column(table, "label") * n + column(table, "prediction")
    return np.bincount(both, minlength=n * n).reshape(n, n)


def groups_of(table: pa.Table) -> np.ndarray | None:
    """Return (N,) int32: rows with the same number depend on each other. None if the table has no groups."""
    name = next((name for name in ("group", "premise") if name in table.column_names), None)
    return column(table, name) if name is not None else None


def ids_of(table: pa.Table) -> list[str] | None:
    """Return the names of the N questions, by which languages share them. None if the table has none.

    The ids of mined sentences are none: BUCC numbers the English ones of each language from 1 on, and they are others.
    """
    return table["id"].to_pylist() if {"id", "gold"}.issubset(table.column_names) else None


def tally_of(table: pa.Table) -> np.ndarray:
    """Return the (N, K) float64 tally. For a table of version 0.1.0, count now: right, and one, for each row."""
    if "tally" in table.column_names:
        return column(table, "tally")
    right = column(table, "label") == column(table, "prediction")
    return np.stack([right, np.ones(len(table))], axis=1)


def predictions_path(folder: Path, language: str) -> Path:
    return folder.joinpath("predictions", f"{safe_name(language)}.parquet")
