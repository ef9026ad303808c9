"""Prediction files of pair classification, as a run writes them and as version 0.1.0 wrote them."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xeval.results import predictions


def answers_of(logits: np.ndarray, labels: np.ndarray) -> pa.Table:
    """The answers of (N, C) `logits`, with (N,) gold `labels`."""
    return pa.table(
        {
            "label": pa.array(labels, pa.int32()),
            "prediction": pa.array(logits.argmax(axis=1), pa.int32()),
            "logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel(), pa.float32()), logits.shape[1]),
        }
    )


def save_predictions(
    folder: Path, language: str, logits: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
) -> str:
    """Write the file and return its SHA-256. Without `groups`, every row is independent."""
    tally = np.stack([logits.argmax(axis=1) == labels, np.ones(len(labels))], axis=1)
    groups = np.arange(len(labels)) if groups is None else groups
    return predictions.save_predictions(folder, language, answers_of(logits, labels), tally, groups)


def save_old_predictions(folder: Path, language: str, logits: np.ndarray, labels: np.ndarray) -> str:
    """Write the file as 0.1.0 did before it kept premises, and return its SHA-256."""
    rows = pa.table({"row": pa.array(np.arange(len(labels)), pa.int32())})
    answers = answers_of(logits, labels)
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(dict(zip(rows.column_names + answers.column_names, rows.columns + answers.columns, strict=True))),
        buffer,
    )
    path = folder / "predictions" / f"{language}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()
