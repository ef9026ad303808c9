"""Records → one tidy table, a row per run and language: as dictionaries, or as a pandas frame."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xeval.results.records import RunRecord
from xeval.results.store import load_records

if TYPE_CHECKING:
    import pandas as pd

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
    "n_most_predicted",
    "status",
    "folder",
]


def load_results(results: str | os.PathLike[str]) -> "pd.DataFrame":
    """Every score under the folder `results`, one row per run and language.

    `accuracy`, the interval and the shares are fractions. Runs that differ only in their seed (and language) share a
    `configuration`. A run without scores has no row. Raises StoreError for a damaged record.
    """
    return to_frame(load_records(Path(results)))


def to_frame(records: list[tuple[Path, RunRecord]]) -> "pd.DataFrame":
    import pandas as pd  # half a second

    return pd.DataFrame(tidy_rows(records), columns=COLUMNS)


def tidy_rows(records: list[tuple[Path, RunRecord]]) -> list[dict[str, Any]]:
    """A dictionary with COLUMNS as its keys for each run and language."""
    return [
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
