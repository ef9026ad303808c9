"""Records → one tidy pandas frame, a row per run and language."""

import os
from pathlib import Path

import pandas as pd

from xeval.records import RunRecord
from xeval.store import load_records

COLUMNS = [
    "task",
    "model",
    "revision",
    "configuration",
    "recipe",
    "seed",
    "language",
    "accuracy",
    "n_examples",
    "n_correct",
    "ci95_low",
    "ci95_high",
    "truncated_share",
    "unknown_piece_share",
    "pieces_per_word",
    "pieces_per_pair",
    "status",
    "folder",
]


def load_results(results: str | os.PathLike[str]) -> pd.DataFrame:
    """Every score under the folder `results`, one row per run and language.

    `accuracy`, the interval and the shares are fractions. Runs that differ only in their seed (and language) share a
    `configuration`. A run without scores has no row. Raises StoreError for a damaged record.
    """
    return to_frame(load_records(Path(results)))


def to_frame(records: list[tuple[Path, RunRecord]]) -> pd.DataFrame:
    rows = [
        {
            "task": record.task,
            "model": record.model.id,
            "revision": record.model.revision,
            "configuration": record.configuration(),
            "recipe": record.recipe.name,
            "seed": record.seed,
            "language": language,
            **score.model_dump(exclude={"predictions_sha256"}),
            "status": record.status,
            "folder": str(folder),
        }
        for folder, record in records
        for language, score in record.scores.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
