"""Logits ↔ `predictions/<language>.parquet` in a run's folder: row, premise, gold label, prediction, logits."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xeval.support.errors import StoreError
from xeval.support.files import safe_name, write_atomically


def save_predictions(
    folder: Path, language: str, logits: np.ndarray, labels: np.ndarray, premise_groups: np.ndarray | None = None
) -> str:
    """Write (N, C) logits in the task's order of labels beside (N,) gold labels; returns the file's SHA-256.

    `premise_groups` (N,) numbers the premises, for rows that have one: whoever resamples the rows needs them.
    """
    premises = {} if premise_groups is None else {"premise": pa.array(premise_groups, pa.int32())}
    table = pa.table(
        {
            "row": pa.array(np.arange(len(labels)), pa.int32()),
            **premises,
            "label": pa.array(labels, pa.int32()),
            "prediction": pa.array(logits.argmax(axis=1), pa.int32()),
            "logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel(), pa.float32()), logits.shape[1]),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    content = buffer.getvalue()
    write_atomically(_predictions_path(folder, language), content)
    return hashlib.sha256(content).hexdigest()


def load_predictions(folder: Path, language: str, sha256: str) -> pa.Table:
    """The prediction table of `language`, checked against the hash in the record and for being one.

    Raises StoreError for a file that is absent, damaged, or has the hash and yet other content than xeval writes.
    """
    path = _predictions_path(folder, language)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be read: {error.strerror}; remove the run's folder to compute it again"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(f"{path}: damaged, it is not what the record was made with; remove the run's folder")
    try:
        table = pq.ParquetFile(io.BytesIO(content)).read()  # read_table would load pandas, and so would to_numpy
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path}: no Parquet file that can be read; remove the run's folder") from error
    if problem := _problem(table):
        raise StoreError(f"{path}: not what xeval writes: {problem}; remove the run's folder")
    return table


def _problem(table: pa.Table) -> str:
    """What is not as `save_predictions` writes it, though the record has its hash; "" if nothing is."""
    for name in ("row", "premise", "label", "prediction"):
        places = table.schema.get_all_field_indices(name)
        if len(places) != 1 and (name != "premise" or places):
            return f"wanted one column {name}, found {len(places)}"
        if places and (table.schema.types[places[0]] != pa.int32() or table[name].null_count):
            return f"wanted whole numbers of 32 bits in {name}"
    places = table.schema.get_all_field_indices("logits")
    kind = table.schema.types[places[0]] if len(places) == 1 else None
    if kind is None or not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32() or not kind.list_size:
        return "wanted one column logits, of lists of one size of numbers of 32 bits"
    if not len(table) or table["logits"].null_count or table["logits"].combine_chunks().flatten().null_count:
        return "wanted at least one row, and logits in each"
    logits = column(table, "logits")
    if not np.isfinite(logits).all():
        return "wanted finite logits"
    for name in ("label", "prediction"):
        if not np.isin(column(table, name), np.arange(logits.shape[1])).all():
            return f"wanted a {name} for which there is a logit"
    return ""


def column(table: pa.Table, name: str) -> np.ndarray:
    """(N,) numbers, or (N, C) logits."""
    values = table[name].combine_chunks()
    if pa.types.is_fixed_size_list(values.type):
        return np.from_dlpack(values.flatten()).reshape(len(table), values.type.list_size)
    return np.from_dlpack(values)


def premise_groups(table: pa.Table) -> np.ndarray | None:
    """(N,) int32 numbers of the premises in a prediction table; None for one written before they were kept."""
    return column(table, "premise") if "premise" in table.column_names else None


def _predictions_path(folder: Path, language: str) -> Path:
    return folder / "predictions" / f"{safe_name(language)}.parquet"
